"""When each target is probed next: pure bookkeeping over a monotonic time that is always an argument."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from gtm.model.check import Cadence, Check, Target

RATE_FRESH_PER_S = 2000.0
BURST_MAX = 20
RETRY_S = 1.0


class Pace(Enum):
    """How far apart a target's probes are: its interval, or closer, or farther, as far as its cadence says how far."""

    STEADY = "steady"
    FAST = "fast"
    IDLE = "idle"


def spacing_s(cadence: Cadence, pace: Pace) -> float:
    """The seconds between two probes of a target at some pace; a cadence without the pace keeps its interval."""
    at_pace_s = {Pace.STEADY: None, Pace.FAST: cadence.fast_s, Pace.IDLE: cadence.idle_s}[pace]
    return cadence.interval_s if at_pace_s is None else at_pace_s


@dataclass(slots=True, kw_only=True, eq=False)
class _Slot:
    """A target's turn: `due_s` is the next one, or where it is out (`ticket` 0), the one that it was taken for.

    `every_s` are the seconds from turn to turn at its pace, `gap_s` those to the turn after the next one if they are
    others, `since_s` the turn before the next one, which is None before the first and where that one failed on us.
    The heap has slots, not targets, whose hash would be most of what a turn costs.
    """

    target: Target
    check: Check
    pace: Pace
    every_s: float
    due_s: float
    gap_s: float | None
    since_s: float | None = None
    ticket: int = 0


class Schedule:
    """The targets and when each is due.

    A target is due at most its interval after it was due last, earlier by up to `jitter` of it, so a failure is seen
    within fall x interval + timeout. The probes of a round are spread evenly over the interval, also after many targets
    changed their pace together. Starts are paced: never more than BURST_MAX at once, nor over time more than
    RATE_FRESH_PER_S, at which new targets begin, and twice the usual rate, whatever became due meanwhile. One that
    was taken is not due again until it is given back. `random` gives numbers from 0 up to 1.
    """

    __slots__ = ("_clear_s", "_heap", "_random", "_rate_per_s", "_slots", "_ticket")

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._slots: dict[Target, _Slot] = {}
        self._heap: list[tuple[float, int, _Slot]] = []
        self._ticket = 0
        self._rate_per_s = 0.0
        self._clear_s = -math.inf  # when the starts made so far would have happened at an even pace

    def replace(self, targets: Mapping[Target, Check], now_s: float) -> frozenset[Target]:
        """The targets that are new or whose check changed; these are due at once, the others as they were."""
        fresh = [target for target, check in targets.items() if self._check(target) != check]
        for target in self._slots.keys() - targets.keys():
            self._slots.pop(target).ticket = 0
        for index, target in enumerate(fresh):
            check = targets[target]
            before = self._slots.get(target)
            pace = Pace.STEADY
            if before is not None:
                pace, before.ticket = before.pace, 0
            every_s = spacing_s(check.cadence, pace)
            # The second probe comes after a part of the gap, a different one for each: from then on the round is
            # spread, however quickly the first one went.
            first_s, second_s = index / RATE_FRESH_PER_S, every_s * (index + self._random()) / len(fresh)
            slot = _Slot(
                target=target, check=check, pace=pace, every_s=every_s, due_s=now_s,
                gap_s=(second_s - first_s) % every_s,
            )  # fmt: skip
            self._slots[target] = slot
            self._queue(slot, now_s + first_s)
        self._rate_per_s = sum(1 / slot.every_s for slot in self._slots.values())
        self._sweep()
        return frozenset(fresh)

    def pace(self, targets: Mapping[Target, Pace], now_s: float) -> dict[Target, float]:
        """Set the pace of targets; the seconds between probes of those for which these are others now.

        A target that is to be probed more often is due at most its new gap after its last turn, at once if that is
        over. One that is to be probed less often waits longer from now on. Targets that are not here are left out.
        """
        changed = [(target, slot, pace) for target, pace in targets.items() if (slot := self._slots.get(target))]
        changed = [(target, slot, pace) for target, slot, pace in changed if slot.pace is not pace]
        gaps_s: dict[Target, float] = {}
        for index, (target, slot, pace) in enumerate(changed):
            slot.pace = pace
            was_s, slot.every_s = slot.every_s, spacing_s(slot.check.cadence, pace)
            if slot.every_s == was_s:
                continue
            gaps_s[target] = slot.every_s
            self._rate_per_s += 1 / slot.every_s - 1 / was_s
            self._move(slot, was_s, now_s, (index + self._random()) / len(changed))
        if len(self._heap) > 2 * len(self._slots) + BURST_MAX:
            self._sweep()
        return gaps_s

    def pace_of(self, target: Target) -> Pace:
        """The pace of a target that is here."""
        return self._slots[target].pace

    def _move(self, slot: _Slot, was_s: float, now_s: float, share: float) -> None:
        """Bring the next turn in line with a gap that was `was_s`; `share` is where in its round a target is put.

        Many targets may change their pace together: those that become due at once, or all closer together than
        they should be, are spread again by a gap of their own, once.
        """
        if slot.every_s > was_s:
            self._later(slot, now_s, was_s + share * (slot.every_s - was_s))
        else:
            self._sooner(slot, now_s, share * slot.every_s)

    def _later(self, slot: _Slot, now_s: float, gap_s: float) -> None:
        if slot.ticket and slot.since_s is not None and slot.due_s > now_s:
            self._queue(slot, max(slot.due_s, slot.since_s + gap_s))
        else:
            slot.gap_s = gap_s

    def _sooner(self, slot: _Slot, now_s: float, gap_s: float) -> None:
        if slot.ticket and slot.since_s is not None:
            due_s = slot.since_s + self._jittered_s(slot)
            if due_s < slot.due_s:
                self._queue(slot, max(due_s, now_s))
            if due_s > now_s:
                slot.gap_s = None
                return
        slot.gap_s = gap_s

    def take(self, now_s: float, room: int) -> list[tuple[Target, float]]:
        """At most `room` targets that may start now, each with the time it was due; they are out until given back."""
        taken: list[tuple[Target, float]] = []
        while len(taken) < room and (head := self._head()) is not None:
            due_s, _, slot = head
            if due_s > now_s or self._clear_s - self._slack_s() > now_s:
                break
            heapq.heappop(self._heap)
            slot.ticket, slot.since_s = 0, due_s
            self._clear_s = max(self._clear_s, now_s) + self._pace_s()
            taken.append((slot.target, due_s))
        return taken

    def done(self, target: Target, now_s: float) -> float:
        """Give a target back after its probe; the time at which it is due again (never while it was out)."""
        slot = self._slots[target]
        gap_s = self._jittered_s(slot) if slot.gap_s is None else slot.gap_s
        slot.gap_s = None
        return self._queue(slot, max(slot.due_s + gap_s, now_s))

    def retry(self, target: Target, now_s: float) -> float:
        """Give a target back whose probe could not be made; it is due again soon, its round is not over."""
        slot = self._slots[target]
        slot.since_s = None
        return self._queue(slot, now_s + min(RETRY_S, slot.every_s))

    def wake_s(self) -> float:
        """When `take` may next have something; infinity when nothing is waiting."""
        head = self._head()
        return math.inf if head is None else max(head[0], self._clear_s - self._slack_s())

    def _check(self, target: Target) -> Check | None:
        slot = self._slots.get(target)
        return None if slot is None else slot.check

    def _jittered_s(self, slot: _Slot) -> float:
        return slot.every_s * (1 - slot.check.cadence.jitter * self._random())

    def _queue(self, slot: _Slot, due_s: float) -> float:
        self._ticket += 1
        slot.due_s, slot.ticket = due_s, self._ticket
        heapq.heappush(self._heap, (due_s, self._ticket, slot))
        return due_s

    def _head(self) -> tuple[float, int, _Slot] | None:
        """The next entry that still counts; those of targets that changed or went are dropped on the way."""
        while self._heap:
            head = self._heap[0]
            if head[2].ticket == head[1]:
                return head
            heapq.heappop(self._heap)
        return None

    def _sweep(self) -> None:
        """Keep the heap no longer than the targets it is for, however often they are replaced."""
        current = [entry for entry in self._heap if entry[2].ticket == entry[1]]
        heapq.heapify(current)
        self._heap = current

    def _pace_s(self) -> float:
        return 1 / (RATE_FRESH_PER_S + 2 * self._rate_per_s)

    def _slack_s(self) -> float:
        return (BURST_MAX - 1) * self._pace_s()
