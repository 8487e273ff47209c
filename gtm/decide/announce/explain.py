"""Why an announcement is what it is, in words."""

from __future__ import annotations

from gtm.decide.announce import damping
from gtm.decide.announce.memory import Memory
from gtm.decide.announce.wish import Wish
from gtm.model.anycast import Anycast, ExitPolicy, Neighbour, Phase, Service, Speaker
from gtm.model.route import WELL_KNOWN, Attributes, Communities

_NAMES = {community: name for name, community in WELL_KNOWN.items()}
_ON_EXPIRY = {
    ExitPolicy.WITHDRAW: "withdrawn",
    ExitPolicy.KEEP: "kept",
    ExitPolicy.HAND_OVER: "kept for the next announcer",
}


def explain(
    anycast: Anycast, speaker: Speaker, service: Service, memory: Memory, wish: Wish, now_s: float
) -> tuple[str, ...]:
    """What a service's announcement at a speaker is and why, a sentence a line; `now_s` of the clock of its steps."""
    since_s = max(0.0, now_s - memory.since_s)
    lines = [
        f"{service.name} at {speaker.node} ({speaker.region}): {wish.phase} for {since_s:.0f} s",
        f"because: {wish.reason}",
        _announced(service, wish),
    ]
    if wish.rung is not None:
        lines.append(_on_ladder(wish))
    if wish.leaving:
        lines.append(
            "is about to leave, " + ("asks for the permit" if wish.wants_permit else "as far as others let it")
        )
    lines += _damped(anycast, memory, now_s)
    if wish.announce:
        lines.append(f"if nobody thinks any more: {_ON_EXPIRY[wish.on_expiry]}")
    return (*lines, *wish.warnings)


def attribute_words(anycast: Anycast, neighbour: Neighbour, attributes: Attributes) -> tuple[str, ...]:
    """A route's attributes, one each, with communities by their names where they have one.

    Names are the well-known ones, and the words of the neighbour's provider whose communities are all there.
    """
    found = []
    if attributes.next_hop is not None:
        found.append(f"next hop {attributes.next_hop}")
    if attributes.med is not None:
        found.append(f"MED {attributes.med}")
    if attributes.local_pref is not None:
        found.append(f"local preference {attributes.local_pref}")
    if attributes.as_path:
        found.append("AS path " + " ".join(map(str, attributes.as_path)))
    return (*found, *_community_words(anycast, neighbour, attributes.communities))


def _announced(service: Service, wish: Wish) -> str:
    prefixes = ", ".join(map(str, service.prefixes))
    if not wish.announce:
        return f"not announced: {prefixes}" + ("" if wish.address else "; addresses removed")
    look = Phase.DOWN if wish.phase is Phase.HELD else wish.look
    treated = "" if look is Phase.UP else f" with the treatment of {look}"
    return f"announced: {prefixes}{treated}" + (", GRACEFUL_SHUTDOWN" if wish.phase is Phase.HELD else "")


def _on_ladder(wish: Wish) -> str:
    left = f", then {', '.join(wish.rungs_left)}" if wish.rungs_left else ""
    most = f", at most {wish.eta_s:.0f} s" if wish.eta_s is not None and wish.rungs_left else ""
    return f"on the ladder: {wish.rung}{left}{most}"


def _damped(anycast: Anycast, memory: Memory, now_s: float) -> list[str]:
    settings = anycast.guard.damping
    if settings is None or not memory.suppressed:
        return []
    penalty = damping.penalty_at(settings, memory, now_s)
    left_s = max(0.0, damping.reuse_s(settings, memory, now_s) - now_s)
    return [f"damped: penalty {penalty:.0f}, announced again below {settings.reuse:.0f}, in {left_s:.0f} s at best"]


def _community_words(anycast: Anycast, neighbour: Neighbour, communities: Communities) -> list[str]:
    found = []
    provider = anycast.providers.get(neighbour.provider) if neighbour.provider is not None else None
    if provider is not None:
        found = [
            f"{word} ({provider.name})"
            for word, meant in provider.words.items()
            if meant != Communities() and communities | meant == communities
        ]
    for standard in communities.standard:
        name = _NAMES.get(standard)
        found.append(f"community {standard}" + (f" ({name})" if name else ""))
    found += [f"extended community {each}" for each in communities.extended]
    found += [f"large community {each}" for each in communities.large]
    return found
