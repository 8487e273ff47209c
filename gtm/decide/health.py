"""Folding results into a verdict, with hysteresis: one lost probe never moves a client."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from gtm.model.check import WINDOW_MAX, Cadence, Check, Degraded, PushProbe, Target
from gtm.model.health import Health, Judgement, Result

NEVER = Degraded()
PUSHED = Cadence(fall=1, rise=1)  # what is pushed has been weighed already: a word counts at once
_VERDICTS = frozenset({Health.UP, Health.DEGRADED, Health.DOWN})
_HISTORY_END = 1 << WINDOW_MAX


def fold(judgement: Judgement, result: Result, cadence: Cadence, degraded: Degraded = NEVER) -> Judgement:
    """The judgement after one more result.

    The first result of an UNKNOWN target decides at once. Afterwards it takes a run of results that contradict the
    verdict: `fall` failures make UP or DEGRADED into DOWN, `fall` results that are bad or poor make UP into DEGRADED,
    `rise` good ones make DEGRADED into UP, and `rise` good or poor ones end DOWN. Any result that agrees with the
    verdict starts the count again. A result that ended before the last one is ignored, so late arrivals change nothing.
    """
    if judgement.last is not None and result.at_s < judgement.last.at_s:
        return judgement
    health = judgement.health
    # What failed while it was down says nothing of how it serves once it is back.
    history = 1 if health is Health.DOWN else _remember(judgement.history, result)
    failures = 0 if result.ok else judgement.failures + 1
    wanted = _wanted(result, history, degraded)
    streak = judgement.streak + 1 if _contradicts(health, wanted) else 0
    if health not in _VERDICTS:
        health = wanted
    elif failures >= cadence.fall and health is not Health.DOWN:
        health = Health.DOWN
    elif health is Health.UP and streak >= cadence.fall:
        health = Health.DEGRADED
    elif health is not Health.UP and streak >= cadence.rise:
        health = wanted
    else:
        return replace(judgement, streak=streak, failures=failures, history=history, last=result, stale=False)
    return Judgement(health=health, since_s=result.at_s, failures=failures, history=history, last=result)


def fold_all(
    judgements: Mapping[Target, Judgement], results: Iterable[tuple[Target, Result]], checks: Mapping[Target, Check]
) -> dict[Target, Judgement]:
    """The judgements of those targets that had results, after all of a tick's; their order does not matter.

    Results are taken by the time at which they ended. Those of targets that have no check (any more) are dropped.
    """
    changed: dict[Target, Judgement] = {}
    for target, result in sorted(results, key=_when):
        check = checks.get(target)
        if check is not None:
            before = changed.get(target) or judgements.get(target) or Judgement()
            cadence = PUSHED if isinstance(check.probe, PushProbe) else check.cadence
            changed[target] = fold(before, result, cadence, check.degraded)
    return changed


def failed_share(history: int, window: int) -> float:
    """The share of failures among the last `window` results; 0 until there are that many."""
    if history.bit_length() - 1 < window:
        return 0.0
    return (history & ((1 << window) - 1)).bit_count() / window


def _when(one: tuple[Target, Result]) -> tuple[float, bool, bool, float, str]:
    result = one[1]
    return result.at_s, result.ok, result.poor, result.took_s, result.detail


def _contradicts(health: Health, wanted: Health) -> bool:
    """Whether a result that wants one verdict counts against another."""
    match health:
        case Health.UP:
            return wanted is not Health.UP
        case Health.DEGRADED:
            return wanted is Health.UP
        case _:
            return wanted is not Health.DOWN


def _wanted(result: Result, history: int, degraded: Degraded) -> Health:
    """The verdict that this result alone speaks for."""
    if not result.ok:
        return Health.DOWN
    slow = degraded.latency_s is not None and result.took_s > degraded.latency_s
    if result.poor or slow:
        return Health.DEGRADED
    if degraded.errors is not None and failed_share(history, degraded.window) >= degraded.errors:
        return Health.DEGRADED
    return Health.UP


def _remember(history: int, result: Result) -> int:
    """The history with one more result; its leading 1 marks where it begins."""
    history = history << 1 | (not result.ok)
    return history if history < _HISTORY_END << 1 else history & (_HISTORY_END - 1) | _HISTORY_END
