"""Flap damping in the manner of RFC 2439: a figure of merit that grows with each fall and decays by half-lives."""

from __future__ import annotations

from dataclasses import replace
from math import exp2, log2

from gtm.decide.announce.memory import Memory
from gtm.model.anycast import Damping

FALL_PENALTY = 1000.0


def penalty_at(damping: Damping, memory: Memory, now_s: float) -> float:
    """The penalty at `now_s`; a clock that went back lets nothing decay."""
    passed_s = max(0.0, now_s - memory.penalty_at_s)
    return memory.penalty * exp2(-passed_s / damping.half_life_s)


def fallen(damping: Damping | None, memory: Memory, now_s: float) -> Memory:
    """The memory after one more fall.

    The penalty has a ceiling, from which it decays to `reuse` in `max_s` (RFC 2439 section 4.2): however often a
    service fell, it is announced again that long after the last fall.
    """
    if damping is None:
        return memory
    ceiling = damping.reuse * exp2(min(damping.max_s / damping.half_life_s, 64.0))
    penalty = min(penalty_at(damping, memory, now_s) + FALL_PENALTY, ceiling)
    suppressed = memory.suppressed or penalty >= damping.suppress
    return replace(memory, penalty=penalty, penalty_at_s=now_s, suppressed=suppressed)


def released(damping: Damping | None, memory: Memory, now_s: float) -> Memory:
    """The memory with the suppression taken off where the penalty is below `reuse`, or damping no longer wanted."""
    if not memory.suppressed or (damping is not None and penalty_at(damping, memory, now_s) >= damping.reuse):
        return memory
    return replace(memory, suppressed=False)


def reuse_s(damping: Damping, memory: Memory, now_s: float) -> float:
    """The moment at which a suppressed service may be announced again if it does not fall any more."""
    penalty = penalty_at(damping, memory, now_s)
    if penalty < damping.reuse:
        return now_s
    # A little later than the exact moment: a step that comes at it must find the penalty below the mark.
    return now_s + damping.half_life_s * log2(penalty / damping.reuse) + 0.001
