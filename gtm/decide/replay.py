"""Replay: what verdicts would have been under other settings, from the runs of results that were seen.

Results are rebuilt from runs, evenly spaced, and folded by the functions that decide now. A run that goes on for longer
than any setting looks back is cut short: a month of equal results costs as much as a dozen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil, floor, inf
from statistics import median

from gtm.decide.health import fold
from gtm.decide.quorum import agree
from gtm.model.check import Check
from gtm.model.chronicle import Outcome, Run
from gtm.model.health import Health, Judgement, Result, Vote

SILENT_AFTER = 3.0  # intervals without a result; then a vantage point's word does not count
SLACK = 0.45  # of an interval: a result that comes this much early, by jitter, is still the one that was due

Told = tuple[float, Health]  # from this moment on it is so; UNKNOWN: nothing is known any more


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What could be set otherwise: the check's `interval`, `fall` and `rise`, and its `quorum`, a share."""

    interval_s: float
    fall: int
    rise: int
    quorum: float

    @classmethod
    def of(cls, check: Check) -> Setting:
        """What a check has now."""
        cadence = check.cadence
        return cls(interval_s=cadence.interval_s, fall=cadence.fall, rise=cadence.rise, quorum=check.quorum)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """Bad results on end, as the quorum in force saw them at once; `until_s`: the first result that ended it."""

    from_s: float
    until_s: float

    @property
    def length_s(self) -> float:
        """How long it was."""
        return self.until_s - self.from_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """Seconds from an outage's first bad result to DOWN, over the outages that were found."""

    min_s: float
    median_s: float
    p95_s: float
    max_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What a setting would have made of what was seen, all targets together.

    failovers     verdicts that became DOWN and had not been
    false         those of them behind which there was no outage, or a shorter one than counts
    missed        outages long enough to count through which the verdict was never DOWN
    detection     how long it took to find the others; None where there were none
    down_s        time spent DOWN, summed up over targets
    flaps_per_day verdicts that became DOWN or were DOWN no more, in a day
    extrapolated  the interval is shorter than the recorded one: results were taken to stand until the next
    """

    setting: Setting
    failovers: int
    false: int
    missed: int
    detection: Detection | None
    down_s: float
    flaps_per_day: float
    extrapolated: bool


Seen = Mapping[str, Sequence[Run]]  # one target's runs by vantage point, in the order of their beginning


def score(targets: Iterable[Seen], check: Check, setting: Setting, outage_s: float) -> Score:
    """What a setting would have made of these targets of a check, where outages of `outage_s` and longer count."""
    tally = _Tally(check, setting, outage_s)
    for seen in targets:
        if any(seen.values()):
            tally.add(seen)
    days = (tally.end_s - tally.begin_s) / 86400
    return Score(
        setting=setting,
        failovers=tally.failovers,
        false=tally.false,
        missed=tally.missed,
        detection=_detection(tally.found),
        down_s=tally.down_s,
        flaps_per_day=tally.flaps / days if days > 0 else 0.0,
        extrapolated=setting.interval_s < check.cadence.interval_s,
    )


class _Tally:
    """What is counted of one target after the other."""

    def __init__(self, check: Check, setting: Setting, outage_s: float) -> None:
        self._check = check
        self._setting = setting
        self._outage_s = outage_s
        # A verdict of several vantage points may come a little after the results that it follows from.
        self._late_s = setting.rise * max(setting.interval_s, check.cadence.interval_s)
        self.failovers = self.false = self.missed = self.flaps = 0
        self.down_s, self.begin_s, self.end_s = 0.0, inf, -inf
        self.found: list[float] = []

    def add(self, seen: Seen) -> None:
        end_s = max(run.last_at_s for runs in seen.values() for run in runs)
        self.begin_s = min(self.begin_s, *(run.first_at_s for runs in seen.values() for run in runs))
        self.end_s = max(self.end_s, end_s)
        verdicts = replayed(seen, self._check, self._setting)
        downs = down_times(verdicts, end_s)
        turns = [(at_s, was, now) for (_, was), (at_s, now) in pairwise(verdicts)]
        falls = [at_s for at_s, was, now in turns if now is Health.DOWN and _served(was)]
        self.down_s += sum(until_s - from_s for from_s, until_s in downs)
        self.flaps += len(falls) + sum(was is Health.DOWN for _, was, _ in turns)
        self._compare(outages(seen, self._check), falls, downs)

    def _compare(
        self, troubles: Sequence[Outage], falls: Sequence[float], downs: Sequence[tuple[float, float]]
    ) -> None:
        long = [one for one in troubles if one.length_s >= self._outage_s]
        self.failovers += len(falls)
        for at_s in falls:
            self.false += not any(one.from_s <= at_s <= one.until_s + self._late_s for one in long)
        for one in long:
            first_s = next((from_s for from_s, until_s in downs if until_s > one.from_s), inf)
            self.missed += first_s > one.until_s + self._late_s
            if one.from_s <= first_s <= one.until_s + self._late_s:
                self.found.append(first_s - one.from_s)


def replayed(seen: Seen, check: Check, setting: Setting) -> list[Told]:
    """The verdicts on a target that all its vantage points would have agreed on, each from its moment on."""
    return _together([_verdicts(runs, check, setting) for runs in seen.values()], setting.quorum)


def outages(seen: Seen, check: Check) -> list[Outage]:
    """When enough of a target's vantage points, by the quorum in force, saw bad results at once."""
    told = _together([_raw(runs, check) for runs in seen.values()], check.quorum)
    end_s = max((run.last_at_s for runs in seen.values() for run in runs), default=0.0)
    return [Outage(from_s=from_s, until_s=until_s) for from_s, until_s in down_times(told, end_s)]


def down_times(told: Sequence[Told], end_s: float) -> list[tuple[float, float]]:
    """From when until when it was DOWN, for what was so up to `end_s`."""
    ends = [*(at_s for at_s, _ in told[1:]), end_s]
    return [
        (at_s, max(at_s, until_s)) for (at_s, health), until_s in zip(told, ends, strict=False) if health is Health.DOWN
    ]


def results(runs: Iterable[Run]) -> Iterator[Result]:
    """Every result of these runs, evenly spaced, as long as it took on average."""
    for run in runs:
        step_s = _step_s(run)
        yield from (_result(run, run.first_at_s + number * step_s) for number in range(run.count))


def changes(some: Iterable[Result], check: Check) -> list[Told]:
    """The verdicts that results come to, each from its moment on."""
    told: list[Told] = []
    judgement = Judgement()
    for one in some:
        judgement = fold(judgement, one, check.cadence, check.degraded)
        _tell(told, one.at_s, judgement.health)
    return told


def in_order(runs: Iterable[Run]) -> list[Run]:
    """The runs by their beginning. Of times that are there twice, as the clock was set back, the first word stands:
    results older than the last one are left out, as they are when they are folded.
    """
    kept: list[Run] = []
    for run in sorted(runs, key=lambda run: (run.first_at_s, run.last_at_s)):
        past_s, step_s = kept[-1].last_at_s if kept else -inf, _step_s(run)
        if run.first_at_s >= past_s:
            kept.append(run)
        elif run.last_at_s > past_s:
            gone = floor((past_s - run.first_at_s) / step_s) + 1
            if gone < run.count:
                kept.append(replace(run, first_at_s=run.first_at_s + gone * step_s, count=run.count - gone))
    return kept


def _verdicts(runs: Sequence[Run], check: Check, setting: Setting) -> list[Told]:
    """One vantage point's verdicts; UNKNOWN from when it was not heard of any more."""
    vantage = _Vantage(check, setting)
    for run, after in _with_next(in_order(runs)):
        end_s, silent = _end_s(run, after, check)
        vantage.follow(run, end_s)
        if silent:
            _tell(vantage.told, end_s, Health.UNKNOWN)
    return vantage.told


def _raw(runs: Sequence[Run], check: Check) -> list[Told]:
    """What one vantage point's latest result said at every moment."""
    told: list[Told] = []
    for run, after in _with_next(in_order(runs)):
        _tell(told, run.first_at_s, Health.DOWN if run.outcome is Outcome.BAD else Health.UP)
        end_s, silent = _end_s(run, after, check)
        if silent:
            _tell(told, end_s, Health.UNKNOWN)
    return told


class _Vantage:
    """One vantage point that goes through its runs under another setting."""

    def __init__(self, check: Check, setting: Setting) -> None:
        cadence = check.cadence
        fast_s = cadence.fast_s if cadence.fast_s is not None and cadence.fast_s < setting.interval_s else None
        self.told: list[Told] = []
        self._degraded = check.degraded
        self._cadence = replace(cadence, fall=setting.fall, rise=setting.rise)
        self._recorded_s = cadence.interval_s
        self._interval_s = setting.interval_s
        self._fast_s = setting.interval_s if fast_s is None else fast_s
        self._as_it_was = setting.interval_s == cadence.interval_s
        self._judgement = Judgement()
        self._due_s = -inf
        self._pause_s = 0.0
        self._near_s = setting.interval_s / 1000  # sums of fractions do not meet to the bit
        # So many equal results on end, and no further one of them changes a verdict.
        self._settled = 1 + max(setting.fall, setting.rise) + (check.degraded.window if check.degraded.errors else 0)

    def follow(self, run: Run, end_s: float) -> None:
        """Go through a run whose last result stands until `end_s`."""
        at_s = self._first_s(run, end_s)
        taken = 0
        while at_s is not None:
            taken += 1
            if taken > self._settled:
                at_s = self._last_s(run, at_s, end_s)
            self._take(run, at_s)
            at_s = self._next_s(run, at_s, end_s)

    def _take(self, run: Run, at_s: float) -> None:
        self._judgement = judgement = fold(self._judgement, _result(run, at_s), self._cadence, self._degraded)
        _tell(self.told, at_s, judgement.health)
        contradicted = judgement.streak or (judgement.failures and judgement.health is not Health.DOWN)
        self._pause_s = self._fast_s if contradicted else self._interval_s
        self._due_s = at_s + self._pause_s

    def _first_s(self, run: Run, end_s: float) -> float | None:
        """When the first result of a run is taken; None where none is."""
        if self._as_it_was:
            return run.first_at_s
        return self._from_s(run, run.first_at_s, end_s)

    def _next_s(self, run: Run, at_s: float, end_s: float) -> float | None:
        """When the next result of a run is taken, after one at `at_s`; None if that was the last."""
        step_s = _step_s(run)
        if self._as_it_was or self._interval_s > self._recorded_s:
            if not step_s or at_s + step_s / 2 > run.last_at_s:
                return None
            return at_s + step_s if self._as_it_was else self._from_s(run, at_s + step_s, end_s)
        return self._from_s(run, at_s, end_s)

    def _from_s(self, run: Run, at_s: float, end_s: float) -> float | None:
        """When the next result is due that is not before `at_s`, where one of the run is there to be taken."""
        if self._interval_s <= self._recorded_s:  # each stands until the next
            due_s = max(at_s, self._due_s)
            return due_s if due_s < end_s - self._near_s else None
        due_s = self._due_s - SLACK * min(self._recorded_s, self._pause_s)
        if due_s <= at_s:
            return at_s
        step_s = _step_s(run)
        number = ceil((due_s - run.first_at_s) / step_s - 1e-6) if step_s else run.count
        return run.first_at_s + number * step_s if number < run.count else None

    def _last_s(self, run: Run, at_s: float, end_s: float) -> float:
        """When the last result of a run is taken that is one of those due from `at_s` on, at the steady pace."""
        step_s = _step_s(run)
        if self._as_it_was:
            return run.last_at_s
        if self._interval_s <= self._recorded_s:
            return at_s + max(0, ceil((end_s - self._near_s - at_s) / self._interval_s) - 1) * self._interval_s
        if not step_s:
            return at_s
        stride_s = step_s * max(1, ceil((self._interval_s - SLACK * self._recorded_s) / step_s - 1e-6))
        return at_s + floor((run.last_at_s - at_s) / stride_s + 1e-6) * stride_s


def _together(each: Sequence[Sequence[Told]], quorum: float) -> list[Told]:
    """What vantage points come to together; where none is heard of, it stays as it was."""
    told: list[Told] = []
    votes = [Vote(vantage="", health=Health.UNKNOWN)] * len(each)
    moments = sorted((at_s, number, health) for number, one in enumerate(each) for at_s, health in one)
    for place, (at_s, number, health) in enumerate(moments):
        votes[number] = Vote(vantage="", health=health)
        if place + 1 < len(moments) and moments[place + 1][0] == at_s:
            continue
        agreed = agree(votes, quorum)
        if agreed is not Health.UNKNOWN:
            _tell(told, at_s, agreed)
    return told


def _with_next(runs: Sequence[Run]) -> Iterator[tuple[Run, Run | None]]:
    for number, run in enumerate(runs, 1):
        yield run, runs[number] if number < len(runs) else None


def _end_s(run: Run, after: Run | None, check: Check) -> tuple[float, bool]:
    """Until when the last result of a run stands, and whether nothing is known from then on."""
    pace_s = max(check.cadence.interval_s, check.cadence.idle_s or 0.0, _step_s(run))
    silent_s = run.last_at_s + SILENT_AFTER * pace_s
    if after is not None and after.first_at_s <= silent_s:
        return max(after.first_at_s, run.last_at_s), False
    return silent_s if after is not None else run.last_at_s + pace_s, after is not None


def _step_s(run: Run) -> float:
    return (run.last_at_s - run.first_at_s) / (run.count - 1) if run.count > 1 else 0.0


def _result(run: Run, at_s: float) -> Result:
    bad, poor = run.outcome is Outcome.BAD, run.outcome is Outcome.POOR
    return Result(at_s=at_s, ok=not bad, poor=poor, took_s=run.took_mean_s, detail=run.detail)


def _tell(told: list[Told], at_s: float, health: Health) -> None:
    if not told or told[-1][1] is not health:
        told.append((at_s, health))


def _served(health: Health) -> bool:
    return health in {Health.UP, Health.DEGRADED}


def _detection(found: list[float]) -> Detection | None:
    """The detection times' spread, by nearest rank."""
    if not found:
        return None
    ranked = sorted(found)
    p95_s = ranked[ceil(0.95 * len(ranked)) - 1]
    return Detection(min_s=ranked[0], median_s=median(ranked), p95_s=p95_s, max_s=ranked[-1])
