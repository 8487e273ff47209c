"""Damping: how penalties add up and decay, and that nothing flaps faster than they let it."""

from __future__ import annotations

from dataclasses import replace
from math import log, log2

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtm.decide.announce import damping
from gtm.decide.announce.damping import FALL_PENALTY, fallen, penalty_at, released, reuse_s
from gtm.decide.announce.memory import Memory
from gtm.decide.announce.sight import Permit, Sight
from gtm.decide.announce.step import step
from gtm.decide.health import fold
from gtm.model.anycast import Damping, Guard, Phase
from gtm.model.health import Judgement, Result
from tests.decide.announce.scenes import CHECK, TARGET, anycast, other, service, speaker

SETTINGS = Damping()


def test_each_fall_adds_and_time_halves() -> None:
    memory = fallen(SETTINGS, Memory(), 100.0)
    assert penalty_at(SETTINGS, memory, 100.0) == 1000.0
    assert penalty_at(SETTINGS, memory, 160.0) == pytest.approx(500.0)
    memory = fallen(SETTINGS, memory, 160.0)
    assert penalty_at(SETTINGS, memory, 160.0) == pytest.approx(1500.0)
    assert penalty_at(SETTINGS, memory, 100.0) == pytest.approx(1500.0)  # a clock that went back
    assert penalty_at(SETTINGS, memory, 1e9) == 0.0
    assert not memory.suppressed


def test_suppressed_from_one_mark_and_free_below_the_other() -> None:
    memory = Memory()
    for second in range(4):
        memory = fallen(SETTINGS, memory, float(second))
    assert memory.suppressed
    at_s = reuse_s(SETTINGS, memory, 3.0)
    assert released(SETTINGS, memory, at_s - 0.01).suppressed
    assert not released(SETTINGS, memory, at_s).suppressed
    assert at_s == pytest.approx(3.0 + 60.0 * log2(penalty_at(SETTINGS, memory, 3.0) / 1000.0), abs=0.01)
    assert reuse_s(SETTINGS, memory, at_s) == at_s


def test_no_longer_than_the_maximum_after_the_last_fall() -> None:
    memory = Memory()
    for index in range(100_000):
        memory = fallen(SETTINGS, memory, index * 0.01)
    assert reuse_s(SETTINGS, memory, 999.99) == pytest.approx(999.99 + SETTINGS.max_s, abs=0.01)


def test_without_damping_nothing_is_suppressed() -> None:
    assert fallen(None, Memory(), 1.0) == Memory()
    assert not released(None, replace(Memory(), suppressed=True), 1.0).suppressed


def _falls(results: list[bool]) -> list[float]:
    """The moments at which a speaker withdrew, a check each second, always with the permit and another PoP."""
    of = anycast(guard=Guard(damping=SETTINGS))
    memory, judgement, falls = Memory.initial(), Judgement(), []
    for second, ok in enumerate(results):
        now_s = float(second)
        judgement = fold(judgement, Result(at_s=now_s, ok=ok, took_s=0.0, detail=""), CHECK.cadence)
        before = memory.announcing
        sight = Sight(now_s=now_s, local={TARGET: judgement}, others=(other("b1"),), store=True, permit=Permit.HELD)
        memory, wish = step(of, speaker(), service(), memory, sight)
        if before and not wish.announce:
            falls.append(now_s)
    return falls


def _most(span_s: float) -> float:
    """How many falls fit into a time: while it is announced the penalty is below `suppress`, and one fall more at its
    end; so it decays by at most ln 2 of that a half-life, and no more can have been added.
    """
    highest = SETTINGS.suppress + FALL_PENALTY
    return (highest + log(2) * highest * span_s / SETTINGS.half_life_s) / FALL_PENALTY


def _flaps_too_fast(falls: list[float]) -> bool:
    return any(
        last - first + 1 > _most(falls[last] - falls[first])
        for first in range(len(falls))
        for last in range(first, len(falls))
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 12)), min_size=40, max_size=160))
def test_never_flaps_faster_than_the_bound(runs: list[tuple[bool, int]]) -> None:
    assert not _flaps_too_fast(_falls([ok for ok, length in runs for _ in range(length)]))


def test_the_fastest_flapping_is_bounded_by_damping_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    worst = ([True] * 3 + [False] * 3) * 100
    damped = _falls(worst)
    assert 3 <= len(damped) <= _most(600.0)
    monkeypatch.setattr(damping, "fallen", lambda of, memory, now_s: memory)
    free = _falls(worst)
    assert len(free) == 100
    assert _flaps_too_fast(free)


def test_damped_is_said_and_ends_by_itself() -> None:
    of = anycast()
    memory = replace(Memory.initial(), phase=Phase.DOWN, proved=True, penalty=4000.0, suppressed=True)
    good = fold(Judgement(), Result(at_s=0.0, ok=True, took_s=0.0, detail=""), CHECK.cadence)
    sight = Sight(now_s=0.0, local={TARGET: good}, others=(other("b1"),), store=True)
    memory, wish = step(of, speaker(), service(), memory, sight)
    assert (wish.phase, wish.announce, wish.reason) == (Phase.RISING, False, "damped: it fell too often")
    assert wish.wake_s is not None
    assert wish.wake_s == pytest.approx(120.0, abs=0.01)
    assert step(of, speaker(), service(), memory, replace(sight, now_s=119.0))[1].phase is Phase.RISING
    assert step(of, speaker(), service(), memory, replace(sight, now_s=wish.wake_s))[1].phase is Phase.UP
    # Where nobody announces, a service that flaps is better than none.
    assert step(of, speaker(), service(), memory, replace(sight, others=()))[1].phase is Phase.UP
