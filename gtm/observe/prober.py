"""The prober: runs every target's probe when it is due and reports each result."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from gtm.model.check import Check, Target
from gtm.model.health import Result
from gtm.observe.attempt import close
from gtm.observe.counters import Counters
from gtm.observe.files import concurrency
from gtm.observe.outcome import Outcome, Reason
from gtm.observe.probe import STALL_S, Prepared, prepare
from gtm.observe.schedule import RATE_FRESH_PER_S, Pace, Schedule, spacing_s
from gtm.observe.stamp import Stamps

TICK_S = 0.005
STALE_AFTER = 3
WATCH_S = 0.25
LOOK_EACH = 4  # beats of the watch

_OF_STALLS = frozenset({Reason.TIMEOUT, Reason.CLOSED, Reason.TLS})


@dataclass(slots=True, kw_only=True, eq=False)
class _Entry:
    check: Check
    probe: Prepared
    every_s: float
    stale_s: float  # when it is stale, unless a result comes before
    gone: bool = False
    task: asyncio.Task[None] | None = None


class Prober:
    """Probes targets until it is cancelled and calls `on_result` for each result, in the loop that runs it.

    Intervals are counted on the monotonic `clock`, so a step of the wall clock moves no probe; `wall` only stamps
    results (Stamps). A probe that failed by a timeout or a closed connection while this process stood still, stopped or
    without a core, counts as a fault on this side. Faults on this side (Reason.OURS) are counted and tried again, never
    reported: they say nothing of a target. A target that has had no result for STALE_AFTER of its intervals, as long as
    they are at its pace, is stale: `on_stale` is called in the loop with all that are, within about a second after that
    has changed. `random` spreads and jitters; give a seeded one for a repeatable schedule.
    """

    def __init__(
        self,
        targets: Mapping[Target, Check],
        on_result: Callable[[Target, Result], None],
        *,
        on_stale: Callable[[frozenset[Target]], None] = lambda _targets: None,
        concurrency_max: int | None = None,
        random: Callable[[], float] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        prepare: Callable[[Target, Check], Prepared] = prepare,
    ) -> None:
        self.counters = Counters()
        self._on_result = on_result
        self._on_stale = on_stale
        self._limit = concurrency_max or concurrency()
        self._clock = clock
        self._stamps = Stamps(wall, clock)
        self._beat_s = math.inf
        self._stalled_until_s = -math.inf
        self._prepare = prepare
        self._schedule = Schedule(random or Random().random)
        self._entries: dict[Target, _Entry] = {}
        self._faults: dict[Target, str] = {}
        self._stale: frozenset[Target] = frozenset()
        self._unseen: set[Target] = set()
        self._all_seen = asyncio.Event()
        self._wake = asyncio.Event()
        self._asleep_until_s = math.inf
        self.update(targets)

    @property
    def faults(self) -> Mapping[Target, str]:
        """Why targets could not be probed whose last attempt failed on this side."""
        return self._faults

    async def run(self) -> None:
        """Probe until cancelled; then every probe is cancelled too. Raises what `on_result` and `on_stale` raise."""
        started_s = self._clock()
        for entry in self._entries.values():  # what was before this was not ours to watch
            entry.stale_s = started_s + STALE_AFTER * entry.every_s
        try:
            await self._run()
        finally:  # connections kept for a next probe that there will not be
            for entry in self._entries.values():
                close(entry.probe)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch())
            while True:
                self._wake.clear()
                now_s = self._clock()
                for target, due_s in self._schedule.take(now_s, self._limit - self.counters.running):
                    self.counters.start(max(0.0, now_s - due_s))
                    entry = self._entries[target]
                    entry.task = group.create_task(self._probe(target, entry))
                    # Not in a finally of the task: one that is cancelled before its first step never enters it.
                    entry.task.add_done_callback(self._freed)
                await self._pause()

    def update(self, targets: Mapping[Target, Check]) -> None:
        """Probe these from now on: what did not change keeps its schedule, what is new or changed is probed at once."""
        for target in [t for t, entry in self._entries.items() if targets.get(t) != entry.check]:
            self._faults.pop(target, None)
            entry = self._entries.pop(target)
            entry.gone = True
            if entry.task is not None:
                entry.task.cancel()
            close(entry.probe)
        now_s = self._clock()
        fresh = self._schedule.replace(targets, now_s)
        for target in fresh:
            check = targets[target]
            every_s = spacing_s(check.cadence, self._schedule.pace_of(target))
            stale_s = now_s + STALE_AFTER * every_s
            probe = self._prepare(target, check)
            self._entries[target] = _Entry(check=check, probe=probe, every_s=every_s, stale_s=stale_s)
        self._unseen = (self._unseen & targets.keys()) | fresh
        self._note_seen()
        self._wake.set()

    def pace(self, targets: Mapping[Target, Pace]) -> None:
        """Probe these at another pace from now on. New targets begin STEADY; one whose check changes keeps its pace."""
        now_s = self._clock()
        for target, every_s in self._schedule.pace(targets, now_s).items():
            entry = self._entries[target]
            stale_s = now_s + STALE_AFTER * every_s
            entry.stale_s = min(entry.stale_s, stale_s) if every_s < entry.every_s else max(entry.stale_s, stale_s)
            entry.every_s = every_s
        self._wake_before(self._schedule.wake_s())

    async def first_round(self, timeout_s: float | None = None) -> bool:
        """Whether every target has had a result; waits for it, at most `timeout_s` (by default what it can take)."""
        try:
            async with asyncio.timeout(self._round_s() if timeout_s is None else timeout_s):
                await self._all_seen.wait()
        except TimeoutError:
            return False
        return True

    async def _probe(self, target: Target, entry: _Entry) -> None:
        started_s = self._clock()
        outcome = await entry.probe()
        if entry.gone:
            return
        entry.task = None
        now_s = self._clock()
        if outcome.reason in _OF_STALLS and self._stood_still(started_s, now_s):
            words = f"this process stood still meanwhile: {outcome.detail}"
            outcome = Outcome(reason=Reason.OURS, detail=words, took_s=outcome.took_s)
        self.counters.end(outcome)
        if outcome.reason is Reason.OURS:
            self._faults[target] = outcome.detail
            self._wake_before(self._schedule.retry(target, now_s))
            return
        entry.stale_s = now_s + STALE_AFTER * entry.every_s
        if self._faults:
            self._faults.pop(target, None)
        self._wake_before(self._schedule.done(target, now_s))
        if self._unseen:
            self._unseen.discard(target)
        self._on_result(target, self._result(outcome))
        self._note_seen()

    def _result(self, outcome: Outcome) -> Result:
        return Result(
            at_s=self._stamps.next_s(),
            ok=outcome.ok,
            took_s=outcome.took_s,
            detail=outcome.detail if outcome.poor is None else f"{outcome.detail}: {outcome.poor}",
            poor=outcome.poor is not None,
            phases=outcome.phases,
        )

    async def _watch(self) -> None:
        self._beat_s = self._clock()
        for beat in itertools.count(1):
            await asyncio.sleep(WATCH_S)
            now_s = self._clock()
            if now_s - self._beat_s > WATCH_S + STALL_S:
                self._stalled_until_s = now_s
            self._beat_s = now_s
            if beat % LOOK_EACH == 0:
                self._look()

    def _stood_still(self, started_s: float, now_s: float) -> bool:
        """Whether the loop was held up between the two times; the watch may be about to notice only."""
        return started_s < self._stalled_until_s or now_s - self._beat_s > WATCH_S + STALL_S

    def _look(self) -> None:
        """Find the stale ones: one comparison for each target, 0.4 ms for 10,000."""
        now_s = self._clock()
        stale = frozenset([target for target, entry in self._entries.items() if entry.stale_s <= now_s])
        if stale == self._stale:
            return
        self.counters.stale = len(stale)
        self.counters.stalled += len(stale - self._stale)
        self._stale = stale
        self._on_stale(stale)

    def _freed(self, _task: asyncio.Task[None]) -> None:
        if self.counters.running >= self._limit:
            self._wake.set()
        self.counters.running -= 1

    def _wake_before(self, due_s: float) -> None:
        if due_s < self._asleep_until_s:
            self._wake.set()

    def _note_seen(self) -> None:
        if self._unseen:
            self._all_seen.clear()
        else:
            self._all_seen.set()

    async def _pause(self) -> None:
        """Sleep until something is due, or has changed."""
        full = self.counters.running >= self._limit
        self._asleep_until_s = math.inf if full else self._schedule.wake_s()
        if math.isinf(self._asleep_until_s):
            await self._wake.wait()
            return
        # A tick is the least sleep: at a high rate several starts share one turn of this loop.
        delay_s = max(self._asleep_until_s - self._clock(), TICK_S)
        alarm = asyncio.get_running_loop().call_later(delay_s, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            alarm.cancel()

    def _round_s(self) -> float:
        """How long a round can take if every probe runs into its timeout."""
        slowest_s = max((entry.check.cadence.timeout_s for entry in self._entries.values()), default=0.0)
        turns = math.ceil(len(self._entries) / self._limit)
        return len(self._entries) / RATE_FRESH_PER_S + turns * slowest_s + 1.0
