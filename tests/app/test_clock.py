"""The steady clock against a wall clock that is slewed, jumps, and is put right."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gtm.app.clock import LASTING_S, SteadyClock


class Clocks:
    """A wall clock and a steady one, both as a test says."""

    def __init__(self) -> None:
        self.steady_s = 50.0
        self.off_s = 0.0
        self.clock = SteadyClock(self.wall, lambda: self.steady_s)

    def wall(self) -> float:
        return 1000.0 + self.steady_s + self.off_s

    def after(self, seconds: float) -> float:
        self.steady_s += seconds
        return round(self.clock() - 1000.0 - self.steady_s, 6)


def test_a_jump_of_an_hour_and_back_does_nothing() -> None:
    clocks = Clocks()
    for off_s in (3600.0, -3600.0, 0.0, 7200.0, 0.0):
        clocks.off_s = off_s
        assert [clocks.after(seconds) for seconds in (0.1, 10.0, 600.0)] == [0.0] * 3


def test_a_clock_that_was_put_right_is_believed_after_a_while() -> None:
    clocks = Clocks()
    clocks.off_s = 3600.0
    assert clocks.after(1.0) == 0.0
    assert clocks.after(LASTING_S) == 0.0
    assert clocks.after(1.0) == 3600.0
    assert clocks.after(1.0) == 3600.0


def test_a_clock_that_is_slewed_is_followed() -> None:
    clocks = Clocks()
    for step in range(100):
        clocks.off_s = step * 0.5
        assert clocks.after(1.0) == clocks.off_s


@given(st.lists(st.tuples(st.floats(0, 30), st.floats(-1e5, 1e5)), max_size=20))
def test_it_never_jumps_at_once(steps: list[tuple[float, float]]) -> None:
    clocks = Clocks()
    said_s = clocks.clock()
    for seconds, off_s in steps:
        clocks.off_s = off_s
        before_s, clocks.steady_s = said_s, clocks.steady_s + seconds
        said_s = clocks.clock()
        assert abs(said_s - before_s - seconds) <= 1.0 + 1e-6
