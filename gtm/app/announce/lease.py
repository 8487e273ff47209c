"""Leases of groups of routes: they end unless somebody who thinks says otherwise, again and again."""

from __future__ import annotations

import math
from collections.abc import Mapping

START_S = 5.0  # at least, for the first thinker of a new supervisor to come up; then its own leases count
STEP_MAX_S = 0.5


class Lease:
    """When the routes of each group are to go. Time is an argument, of any steady clock."""

    def __init__(self) -> None:
        """Nothing is leased."""
        self._ends_s: dict[str, float] = {}

    def renew(self, groups: Mapping[str, float | None], now_s: float) -> None:
        """Groups end so many seconds from now, None: never. Those that are not named keep their end."""
        for group, expires_s in groups.items():
            self._ends_s[group] = math.inf if expires_s is None else now_s + expires_s

    def over(self, now_s: float) -> frozenset[str]:
        """The groups that are over; each is told once, and then again if it is renewed."""
        over = frozenset(group for group, ends_s in self._ends_s.items() if ends_s <= now_s)
        for group in over:
            del self._ends_s[group]
        return over

    def stands(self, group: str) -> bool:
        """Whether a group's lease was renewed and has not been told to be over."""
        return group in self._ends_s

    def next_s(self) -> float:
        """When the next group is over; infinite if none is."""
        return min(self._ends_s.values(), default=math.inf)


class Awake:
    """A clock that runs while its owner does: a step longer than STEP_MAX_S counts as that.

    A process that was stopped, or a machine that was, must not find all its leases and deadlines over when it goes on,
    before those who would have kept them had a chance to.
    """

    def __init__(self, clock_s: float) -> None:
        """Begins at 0, when the steady clock says `clock_s`."""
        self._clock_s = clock_s
        self.now_s = 0.0

    def look(self, clock_s: float) -> float:
        """The time now, when the steady clock says `clock_s`."""
        self.now_s += min(max(0.0, clock_s - self._clock_s), STEP_MAX_S)
        self._clock_s = clock_s
        return self.now_s
