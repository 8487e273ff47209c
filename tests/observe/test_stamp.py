"""Stamps by invented clocks: even, never back, and right again after the wall clock was wrong."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm.observe.stamp import BELIEVE_S, STEP_S, Stamps

EPOCH_S = 1.7e9


class Clocks:
    def __init__(self) -> None:
        self.mono_s = 1000.0
        self.off_s = 0.0
        self.stamps = Stamps(lambda: EPOCH_S + self.mono_s + self.off_s, lambda: self.mono_s)

    def after(self, time_s: float, every_s: float = 1.0) -> list[float]:
        """The stamps of results each `every_s` for so long."""
        found = []
        for _ in range(int(time_s / every_s)):
            self.mono_s += every_s
            found.append(self.stamps.next_s())
        return found

    @property
    def ahead_s(self) -> float:
        """How far the next stamp is before the true time."""
        return self.stamps.next_s() - EPOCH_S - self.mono_s


def test_stamps_are_those_of_the_wall_clock() -> None:
    clocks = Clocks()
    assert clocks.after(3) == pytest.approx([EPOCH_S + 1001, EPOCH_S + 1002, EPOCH_S + 1003])


@pytest.mark.parametrize("step_s", [3600.0, -3600.0])
def test_a_clock_that_is_wrong_for_a_moment_moves_nothing(step_s: float) -> None:
    clocks = Clocks()
    clocks.after(10)
    clocks.off_s = step_s
    during = clocks.after(BELIEVE_S - 2)
    assert [b - a for a, b in pairwise(during)] == pytest.approx([1.0] * (len(during) - 1))
    clocks.off_s = 0.0
    clocks.after(BELIEVE_S * 2)
    assert abs(clocks.ahead_s) < 0.001


def test_a_clock_that_is_set_right_is_followed() -> None:
    clocks = Clocks()
    clocks.off_s = 3600.0
    clocks.after(BELIEVE_S + 3)
    assert clocks.ahead_s == pytest.approx(3600.0)


def test_after_an_hour_forward_that_lasted_and_back_stamps_come_back_without_going_back() -> None:
    clocks = Clocks()
    clocks.off_s = 3600.0
    clocks.after(BELIEVE_S + 3)
    clocks.off_s = 0.0
    stamps = clocks.after(2 * 3600 + BELIEVE_S + 10)
    assert all(b > a for a, b in pairwise(stamps))
    assert abs(clocks.ahead_s) < 0.001


def test_a_clock_that_is_slewed_is_followed_at_once() -> None:
    clocks = Clocks()
    for _ in range(20):
        clocks.off_s += STEP_S / 2
        clocks.after(1)
    assert clocks.ahead_s == pytest.approx(10 * STEP_S)


@given(steps=st.lists(st.tuples(st.floats(-7200, 7200), st.floats(0, 600)), max_size=10))
def test_no_stamp_is_ever_as_old_as_the_one_before(steps: list[tuple[float, float]]) -> None:
    clocks = Clocks()
    stamps = clocks.after(1)
    for step_s, time_s in steps:
        clocks.off_s += step_s
        stamps += clocks.after(time_s, every_s=20.0)
        stamps += [clocks.stamps.next_s() for _ in range(3)]
    assert all(b > a for a, b in pairwise(stamps))
