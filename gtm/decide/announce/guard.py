"""What automatics may never do: take away the last PoP of a service, two at once, or announce what is not allowed.

All that is known of others is as old as a lease: a PoP that has died counts as there until its lease in the store is
over. Everything else here holds exactly, provided Sight keeps what it promises.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gtm.decide.announce.rpki import Validity
from gtm.decide.announce.sight import OtherSpeaker, Permit, Sight
from gtm.model.address import IPNetwork
from gtm.model.anycast import Anycast, ExitPolicy, Guard, RpkiMode, Service, Speaker, WithoutStore


class Leave(StrEnum):
    """Whether a speaker may withdraw: now, not before somebody has answered, or not as things are."""

    FREE = "free"
    ASK = "ask"
    HOLD = "hold"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """Whether a speaker may withdraw, why in words, and whether the permit would help."""

    leave: Leave
    reason: str
    permit: bool = False


def may_leave(anycast: Anycast, speaker: Speaker, sight: Sight, *, told: bool) -> Ruling:
    """Whether the speaker may withdraw a service now.

    An instance may while another one of its region announces and is not about to leave, once it has told that it is
    leaving itself: `told` is that others know, and that nothing that was seen of them is older. The last one of a
    region needs another region that announces, and the permit.
    """
    if sight.store is not True:
        away = "no shared store" if sight.store is None else "the shared store is away"
        if anycast.guard.without_store is WithoutStore.WITHDRAW:
            return Ruling(leave=Leave.FREE, reason=f"{away}: as if alone")
        return Ruling(leave=Leave.HOLD, reason=f"{away}: others are not known to announce")
    here = [each for each in _standing(speaker, sight) if each.region == speaker.region and not each.leaving]
    if here and told:
        return Ruling(leave=Leave.FREE, reason=f"{here[0].node} announces for {speaker.region}")
    elsewhere = sorted({each.region for each in _standing(speaker, sight)} - {speaker.region})
    if not elsewhere:
        if here:
            return Ruling(leave=Leave.ASK, reason=f"until {here[0].node} knows")
        return Ruling(leave=Leave.HOLD, reason="the last PoP that announces")
    match sight.permit:
        case Permit.HELD:
            return Ruling(leave=Leave.FREE, reason=f"permit held, {elsewhere[0]} announces", permit=True)
        case _ if here:
            return Ruling(leave=Leave.ASK, reason=f"until {here[0].node} knows")
        case Permit.REFUSED:
            why = sight.permit_reason or "another PoP has the permit to leave"
            return Ruling(leave=Leave.HOLD, reason=why, permit=True)
        case _:
            return Ruling(leave=Leave.ASK, reason="until the permit to leave is there", permit=True)


def alone(speaker: Speaker, sight: Sight) -> bool:
    """Whether the store is there and says that no other speaker announces the service."""
    return sight.store is True and not _standing(speaker, sight)


def on_expiry(anycast: Anycast, speaker: Speaker, service: Service, sight: Sight) -> ExitPolicy:
    """What becomes of the speaker's routes if its lease is over: the exit policy, but for the one that must stay.

    Whoever no longer thinks can ask for no permit, and a fault may end all thinkers at once. So of the speakers that
    announce, the very last one in the order of (the service's regions, node) keeps its routes: all others may go, and
    the service is never gone. Where others are not known, `without_store` decides.
    """
    policy = anycast.lease.exit
    if policy is ExitPolicy.KEEP:
        return policy
    if sight.store is not True:
        return policy if anycast.guard.without_store is WithoutStore.WITHDRAW else ExitPolicy.KEEP
    mine = (_rank(service, speaker.region), speaker.node)
    stays = any((_rank(service, each.region), each.node) > mine for each in _standing(speaker, sight))
    return policy if stays else ExitPolicy.KEEP


def not_allowed(guard: Guard, prefix: IPNetwork) -> str | None:
    """Why a prefix must never be announced, by the allow-list; None: it may be."""
    if guard.allowed is None:
        return None
    for each in guard.allowed:
        same = each.prefix.version == prefix.version
        if same and prefix.prefixlen <= each.length_max and prefix.subnet_of(each.prefix):  # type: ignore[arg-type]
            return None
    return f"{prefix} is not allowed by the guard"


def barred(anycast: Anycast, service: Service, sight: Sight) -> str | None:
    """Why the service must not begin to be announced: the allow-list, or RPKI where it refuses; None: it may.

    What is announced already stays so when RPKI changes its mind: a validator's fault must not take a PoP away.
    """
    for prefix in service.prefixes:
        if (why := not_allowed(anycast.guard, prefix)) is not None:
            return why
        if anycast.guard.rpki is RpkiMode.REFUSE and sight.rpki.get(prefix) is Validity.INVALID:
            return f"RPKI calls {prefix} invalid"
    return None


def warnings(anycast: Anycast, service: Service, sight: Sight) -> tuple[str, ...]:
    """What RPKI has against the prefixes, where it is asked at all."""
    if anycast.guard.rpki is RpkiMode.OFF:
        return ()
    invalid = [prefix for prefix in service.prefixes if sight.rpki.get(prefix) is Validity.INVALID]
    return tuple(f"RPKI calls {prefix} invalid" for prefix in invalid)


def _standing(speaker: Speaker, sight: Sight) -> list[OtherSpeaker]:
    """The others whose routes stand, as far as their leases tell."""
    return [each for each in sight.others if each.fresh and each.announcing and each.node != speaker.node]


def _rank(service: Service, region: str) -> int:
    return service.regions.index(region) if region in service.regions else -1
