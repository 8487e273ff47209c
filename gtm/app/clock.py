"""The time of day as a node counts it: steps of the wall clock do not move it, unless they last."""

from __future__ import annotations

import time
from collections.abc import Callable

FOLLOWED_S = 1.0  # what the wall clock may be off between two looks and still be believed: it is being slewed
LASTING_S = 900.0


def boot_s() -> float:
    """Seconds since the machine booted, those in which it slept too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SteadyClock:
    """Seconds since the epoch that go on evenly.

    A wall clock that jumps would end orders early or late, and make results look older than those before them. It is
    followed where it is slewed, and believed again when it has been off for LASTING_S: then it was put right.
    """

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = boot_s) -> None:
        """Begin with what the wall clock says now."""
        self._wall = wall
        self._steady = steady
        self._offset_s = wall() - steady()
        self._claim_s = self._offset_s  # what the wall clock has said instead, and since when
        self._claimed_s = 0.0

    def __call__(self) -> float:
        """The time now."""
        steady_s = self._steady()
        offset_s = self._wall() - steady_s
        if abs(offset_s - self._offset_s) <= FOLLOWED_S:
            self._offset_s = self._claim_s = offset_s
        elif abs(offset_s - self._claim_s) > FOLLOWED_S:
            self._claim_s, self._claimed_s = offset_s, steady_s
        elif steady_s - self._claimed_s > LASTING_S:
            self._offset_s = offset_s
        return steady_s + self._offset_s
