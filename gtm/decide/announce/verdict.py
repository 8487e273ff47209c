"""What the service's own checks and the plan's word on the region come to, for one speaker at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gtm.decide.announce.sight import Sight
from gtm.model.anycast import Anycast, ExitPolicy, Service, Speaker
from gtm.model.check import Check, Composed, PushProbe, Target
from gtm.model.health import Health, Judgement


class Tendency(StrEnum):
    """GOOD and BAD are verdicts; STARTING, WEAK and RECOVERING are on the way to one; UNKNOWN changes nothing.

    STARTING: good, but not `rise` times yet since the first result. WEAK: a verdict that is good, and failures since.
    RECOVERING: DOWN, and good results since.
    """

    UNKNOWN = "unknown"
    STARTING = "starting"
    GOOD = "good"
    WEAK = "weak"
    RECOVERING = "recovering"
    BAD = "bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Where a service stands, and why in words."""

    tendency: Tendency
    reason: str


def judge(
    anycast: Anycast, speaker: Speaker, service: Service, sight: Sight, *, trusted: bool, proved: bool
) -> Verdict:
    """The verdict on a service: one local check that is DOWN is enough, as is its region being down in the plan.

    A judgement that was made DOWN by its very first result (gtm.decide.health.fold) counts as WEAK until `fall` of
    them failed while the service is `trusted`, announced as good: after a restart, too, one lost probe says nothing.
    `proved`: there was a verdict before.
    """
    silent_s = silence_max_s(anycast)
    if silent_s is not None and sight.controller_age_s is not None and sight.controller_age_s > silent_s:
        return Verdict(tendency=Tendency.BAD, reason=f"no word of the controller for {silent_s:g} s")
    if service.pool is not None and sight.region_up is False:
        return Verdict(tendency=Tendency.BAD, reason=f"the plan has region {speaker.region} of {service.pool} down")
    found = [
        _one(target, check, sight.local.get(target), trusted=trusted, proved=proved)
        for target, check in service.local.items()
    ]
    for tendency in (Tendency.BAD, Tendency.RECOVERING, Tendency.UNKNOWN, Tendency.WEAK, Tendency.STARTING):
        for one in found:
            if one.tendency is tendency:
                return one
    if service.pool is not None and sight.region_up is None and not service.local:
        return Verdict(tendency=Tendency.UNKNOWN, reason=f"no word of the plan on {service.pool} yet")
    return Verdict(tendency=Tendency.GOOD, reason=_good(service, sight, speaker))


def silence_max_s(anycast: Anycast) -> float | None:
    """How long the controller may be silent before its announcements go, by the lease; None: for ever."""
    match anycast.lease.exit:
        case ExitPolicy.KEEP:
            return None
        case ExitPolicy.HAND_OVER:
            return 2 * anycast.lease.controller_s  # the time in which the next one must have come
        case _:
            return anycast.lease.controller_s


def _one(target: Target, check: Check, judgement: Judgement | None, *, trusted: bool, proved: bool) -> Verdict:
    if judgement is None or judgement.health is Health.UNKNOWN:
        return Verdict(tendency=Tendency.UNKNOWN, reason=f"{target} not judged yet")
    counted = not isinstance(check.probe, PushProbe | Composed)  # their first word is their whole word
    said = f": {judgement.last.detail}" if judgement.last is not None and judgement.last.detail else ""
    if judgement.health is Health.DOWN:
        if judgement.streak:
            return Verdict(tendency=Tendency.RECOVERING, reason=f"{target} DOWN, good results since")
        if trusted and counted and 0 < judgement.failures < check.cadence.fall:
            return Verdict(tendency=Tendency.WEAK, reason=f"{target} fails{said}")
        return Verdict(tendency=Tendency.BAD, reason=f"{target} DOWN{said}")
    if judgement.failures:
        return Verdict(tendency=Tendency.WEAK, reason=f"{target} fails{said}")
    if not proved and counted and good_run(judgement.history) < check.cadence.rise:
        return Verdict(tendency=Tendency.STARTING, reason=f"{target} good, not {check.cadence.rise} times yet")
    return Verdict(tendency=Tendency.GOOD, reason=f"{target} {judgement.health}")


def good_run(history: int) -> int:
    """How many of the latest results of a judgement's history were good in a row."""
    return (history & -history).bit_length() - 1


def _good(service: Service, sight: Sight, speaker: Speaker) -> str:
    parts = []
    if service.local:
        parts.append(f"{len(service.local)} local check{'s'[: len(service.local) > 1]} good")
    if service.pool is not None and sight.region_up:
        parts.append(f"region {speaker.region} of {service.pool} up")
    return ", ".join(parts) or "nothing is asked of it"
