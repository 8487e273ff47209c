"""Folding results into a verdict, with hysteresis: one lost probe never moves a client."""

from __future__ import annotations

from dataclasses import replace

from gtm.model.check import Cadence
from gtm.model.health import Health, Judgement, Result

_VERDICTS = frozenset({Health.UP, Health.DEGRADED, Health.DOWN})


def fold(judgement: Judgement, result: Result, cadence: Cadence) -> Judgement:
    """The judgement after one more result.

    The first result of an UNKNOWN target decides at once. Afterwards `fall` failures in a row turn UP (or DEGRADED)
    into DOWN and `rise` successes in a row turn DOWN into UP; any result that agrees with the verdict starts the
    count again. A result that ended before the last one is ignored, so late arrivals change nothing.
    """
    if judgement.last is not None and result.at_s < judgement.last.at_s:
        return judgement
    verdict = Health.UP if result.ok else Health.DOWN
    if judgement.health not in _VERDICTS:
        return Judgement(health=verdict, since_s=result.at_s, streak=0, last=result)
    if result.ok == (judgement.health is not Health.DOWN):
        return replace(judgement, streak=0, last=result)
    streak = judgement.streak + 1
    if streak < (cadence.rise if result.ok else cadence.fall):
        return replace(judgement, streak=streak, last=result)
    return Judgement(health=verdict, since_s=result.at_s, streak=0, last=result)
