"""When each target is probed next: pure bookkeeping over a monotonic time that is always an argument."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gtm.model.check import Check, Target

RATE_FRESH_PER_S = 2000.0
BURST_MAX = 20
RETRY_S = 1.0


@dataclass(slots=True, kw_only=True)
class _Slot:
    check: Check
    due_s: float
    gap_s: float | None
    ticket: int


class Schedule:
    """The targets and when each is due.

    A target is due at most its interval after it was due last, earlier by up to `jitter` of it, so a failure is seen
    within fall x interval + timeout. The probes of a round are spread evenly over the interval. Starts are paced:
    never more than BURST_MAX at once, nor over time more than RATE_FRESH_PER_S, at which new targets begin, and twice
    the steady rate, whatever became due meanwhile. A target that was taken is not due again until it is given back.
    `random` gives numbers from 0 up to 1.
    """

    __slots__ = ("_clear_s", "_heap", "_pace_s", "_random", "_slots", "_ticket")

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._slots: dict[Target, _Slot] = {}
        self._heap: list[tuple[float, int, Target]] = []
        self._ticket = 0
        self._pace_s = 1 / RATE_FRESH_PER_S
        self._clear_s = -math.inf  # when the starts made so far would have happened at an even pace

    def replace(self, targets: Mapping[Target, Check], now_s: float) -> frozenset[Target]:
        """The targets that are new or whose check changed; these are due at once, the others as they were."""
        fresh = [target for target, check in targets.items() if self._check(target) != check]
        for target in self._slots.keys() - targets.keys():
            del self._slots[target]
        for index, target in enumerate(fresh):
            check = targets[target]
            # The second probe comes after a part of the interval, a different one for each: from then on the round
            # is spread, however quickly the first one went.
            gap_s = check.cadence.interval_s * (index + self._random()) / len(fresh)
            self._slots[target] = _Slot(check=check, due_s=now_s, gap_s=gap_s, ticket=0)
            self._queue(target, now_s + index / RATE_FRESH_PER_S)
        steady_per_s = sum(1 / slot.check.cadence.interval_s for slot in self._slots.values())
        self._pace_s = 1 / (RATE_FRESH_PER_S + 2 * steady_per_s)
        self._sweep()
        return frozenset(fresh)

    def take(self, now_s: float, room: int) -> list[tuple[Target, float]]:
        """At most `room` targets that may start now, each with the time it was due; they are out until given back."""
        taken: list[tuple[Target, float]] = []
        while len(taken) < room and (head := self._head()) is not None:
            due_s, _, target = head
            if due_s > now_s or self._clear_s - self._slack_s() > now_s:
                break
            heapq.heappop(self._heap)
            self._slots[target].ticket = 0
            self._clear_s = max(self._clear_s, now_s) + self._pace_s
            taken.append((target, due_s))
        return taken

    def done(self, target: Target, now_s: float) -> float:
        """Give a target back after its probe; the time at which it is due again (never while it was out)."""
        slot = self._slots[target]
        cadence = slot.check.cadence
        gap_s = slot.gap_s if slot.gap_s is not None else cadence.interval_s * (1 - cadence.jitter * self._random())
        slot.gap_s = None
        return self._queue(target, max(slot.due_s + gap_s, now_s))

    def retry(self, target: Target, now_s: float) -> float:
        """Give a target back whose probe could not be made; it is due again soon, its round is not over."""
        slot = self._slots[target]
        return self._queue(target, now_s + min(RETRY_S, slot.check.cadence.interval_s))

    def wake_s(self) -> float:
        """When `take` may next have something; infinity when nothing is waiting."""
        head = self._head()
        return math.inf if head is None else max(head[0], self._clear_s - self._slack_s())

    def _check(self, target: Target) -> Check | None:
        slot = self._slots.get(target)
        return None if slot is None else slot.check

    def _queue(self, target: Target, due_s: float) -> float:
        self._ticket += 1
        slot = self._slots[target]
        slot.due_s, slot.ticket = due_s, self._ticket
        heapq.heappush(self._heap, (due_s, self._ticket, target))
        return due_s

    def _head(self) -> tuple[float, int, Target] | None:
        """The next entry that still counts; those of targets that changed or went are dropped on the way."""
        while self._heap:
            slot = self._slots.get(self._heap[0][2])
            if slot is not None and slot.ticket == self._heap[0][1]:
                return self._heap[0]
            heapq.heappop(self._heap)
        return None

    def _sweep(self) -> None:
        """Keep the heap no longer than the targets it is for, however often they are replaced."""
        current = [entry for entry in self._heap if (s := self._slots.get(entry[2])) and s.ticket == entry[1]]
        heapq.heapify(current)
        self._heap = current

    def _slack_s(self) -> float:
        return (BURST_MAX - 1) * self._pace_s
