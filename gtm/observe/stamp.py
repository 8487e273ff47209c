"""The times that results bear: the wall clock's, but even, and never back."""

from __future__ import annotations

import math
from collections.abc import Callable

STEP_S = 1.0
BELIEVE_S = 300.0
LEAST_S = 1e-6


class Stamps:
    """Seconds since the epoch by the monotonic `clock`, kept in line with `wall`; each later than the one before.

    What the wall clock is off by up to STEP_S is followed at once. A step is followed when it has lasted BELIEVE_S: a
    clock that is set wrong and right again meanwhile moves nothing. After a step back that lasts, time runs at half its
    speed until the two agree: whoever folds results leaves out those that are older than the last one.
    """

    __slots__ = ("_clock", "_last_at_s", "_last_s", "_offset_s", "_step_s", "_step_since_s", "_wall")

    def __init__(self, wall: Callable[[], float], clock: Callable[[], float]) -> None:
        self._wall = wall
        self._clock = clock
        self._offset_s = wall() - clock()
        self._step_s = 0.0
        self._step_since_s = 0.0
        self._last_s = self._last_at_s = -math.inf

    def next_s(self) -> float:
        """The time of a result that came now."""
        now_s = self._clock()
        self._follow(now_s, self._wall() - now_s - self._offset_s)
        at_s = now_s + self._offset_s
        if at_s <= self._last_at_s:
            at_s = self._last_at_s + max((now_s - self._last_s) / 2, LEAST_S)
        self._last_s, self._last_at_s = now_s, at_s
        return at_s

    def _follow(self, now_s: float, off_s: float) -> None:
        if abs(off_s) <= STEP_S:
            self._offset_s += off_s
            self._step_s = 0.0
        elif not self._step_s or abs(off_s - self._step_s) > STEP_S:
            self._step_s, self._step_since_s = off_s, now_s
        elif now_s - self._step_since_s >= BELIEVE_S:
            self._offset_s += off_s
            self._step_s = 0.0
