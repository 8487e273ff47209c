"""Which announcements a drain takes down the ladder, and how long that takes at most."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gtm.app.announce.follow import drain_of
from gtm.decide.announce.ladder import first_withdrawn, longest_s, rungs
from gtm.model.address import IPNetwork
from gtm.model.anycast import Rung
from gtm.model.deployment import Deployment
from gtm.model.override import Override


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderStep:
    """A rung: what it does, in words, and how long it lasts at most (None: until its connections are gone)."""

    rung: str
    what: str
    longest_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedAnnouncement:
    """A service whose announcement moves: by which speakers, down which rungs.

    `withdrawn_s` is how long after the order it is withdrawn at the latest; None: a rung before that has no deadline.
    `last`: no other region may announce it, so that the guard will not let it go.
    """

    service: str
    prefixes: tuple[IPNetwork, ...]
    speakers: tuple[str, ...]
    steps: tuple[LadderStep, ...]
    withdrawn_s: float | None
    last: bool


def moved_by(deployment: Deployment, order: Override) -> tuple[MovedAnnouncement, ...]:
    """The announcements that a drain moves, by service in file order."""
    return tuple(_moved(deployment, order))


def _moved(deployment: Deployment, order: Override) -> Iterator[MovedAnnouncement]:
    anycast = deployment.anycast
    if anycast is None:
        return
    ladder = rungs(anycast)
    steps = tuple(LadderStep(rung=rung.name, what=rung_words(rung), longest_s=longest_s(rung)) for rung in ladder)
    times = [step.longest_s for step in steps[: first_withdrawn(ladder)]]
    withdrawn_s = None if None in times else sum(time for time in times if time is not None)
    for service in anycast.services.values():
        serving = [one for one in anycast.speakers.values() if one.region in service.regions]
        moving = [one for one in serving if drain_of((order,), one, service, order.since_s) is not None]
        if moving:
            yield MovedAnnouncement(
                service=service.name,
                prefixes=service.prefixes,
                speakers=tuple(one.node for one in moving),
                steps=steps,
                withdrawn_s=withdrawn_s,
                last=len(moving) == len(serving),
            )


def rung_words(rung: Rung) -> str:
    """What a rung does."""
    treatment, parts = rung.treatment, []
    if treatment.med is not None:
        parts.append(f"MED {treatment.med}")
    if treatment.prepend:
        parts.append(f"{treatment.prepend} times prepended")
    if treatment.local_pref is not None:
        parts.append(f"local preference {treatment.local_pref}")
    communities = treatment.communities
    parts += map(str, (*communities.standard, *communities.extended, *communities.large))
    parts += treatment.words
    if not rung.announce:
        parts.append("withdrawn" if rung.address else "withdrawn, addresses removed")
    if rung.connections is not None:
        parts.append(f"until at most {rung.connections} connections are left")
    return ", ".join(parts) or "announced as before"
