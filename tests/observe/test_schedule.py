"""The schedule, driven by an invented clock: what is due when, evenly, and never in bursts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from ipaddress import IPv4Address
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm.model.check import Cadence, Check, Target, TcpProbe
from gtm.observe.schedule import BURST_MAX, RATE_FRESH_PER_S, RETRY_S, Pace, Schedule


def check(interval_s: float = 10.0, jitter: float = 0.1, name: str = "tcp") -> Check:
    return Check(name=name, probe=TcpProbe(port=1), cadence=Cadence(interval_s=interval_s, jitter=jitter))


def targets(count: int, what: Check | None = None) -> dict[Target, Check]:
    what = what or check()
    return {Target(check=what.name, address=IPv4Address(0x7F000001 + i)): what for i in range(count)}


def schedule(wanted: Mapping[Target, Check], now_s: float = 0.0, seed: int = 1) -> Schedule:
    made = Schedule(Random(seed).random)
    made.replace(wanted, now_s)
    return made


def starts(made: Schedule, until_s: float, *, took_s: float = 0.0, room: int = 10**9) -> list[tuple[float, Target]]:
    """Every start up to a time, if each probe takes `took_s`; the clock goes from event to event."""
    seen: list[tuple[float, Target]] = []
    out: list[tuple[float, Target]] = []
    now_s = made.wake_s()
    while now_s <= until_s:
        while out and out[0][0] <= now_s:
            made.done(out.pop(0)[1], now_s)
        for target, due_s in made.take(now_s, room):
            assert due_s <= now_s
            seen.append((now_s, target))
            out.append((now_s + took_s, target))
        now_s = max(now_s + 1e-6, min(made.wake_s(), out[0][0] if out else math.inf))
    return seen


def test_new_targets_are_due_at_once_and_paced() -> None:
    first = [at for at, _ in starts(schedule(targets(1000)), 0.6)]
    assert len(first) >= 1000
    assert first[999] <= 1000 / RATE_FRESH_PER_S


def test_the_second_round_is_spread_over_the_interval() -> None:
    seen: dict[Target, list[float]] = {}
    for at, target in starts(schedule(targets(100)), 10.5):
        seen.setdefault(target, []).append(at)
    second = sorted(times[1] for times in seen.values())
    for tenth in range(10):
        assert 8 <= sum(tenth <= at < tenth + 1 for at in second) <= 12


@given(
    count=st.integers(1, 30), interval_s=st.floats(1, 30), jitter=st.floats(0, 0.5), seed=st.integers(0, 999),
    share=st.floats(0, 0.4),
)  # fmt: skip
def test_gaps_are_the_interval_less_at_most_the_jitter(
    count: int, interval_s: float, jitter: float, seed: int, share: float
) -> None:
    made = schedule(targets(count, check(interval_s, jitter)), seed=seed)
    seen: dict[Target, list[float]] = {}
    for at, target in starts(made, 6 * interval_s, took_s=share * interval_s):
        seen.setdefault(target, []).append(at)
    slack_s = 30 / RATE_FRESH_PER_S + 0.001  # a start may wait for its turn
    for times in seen.values():
        gaps = [b - a for a, b in pairwise(times[1:])]
        assert all(interval_s * (1 - jitter) - slack_s <= gap <= interval_s + slack_s for gap in gaps)
        assert len(times) >= 5


def test_the_same_seed_gives_the_same_schedule() -> None:
    assert starts(schedule(targets(20)), 60) == starts(schedule(targets(20)), 60)
    assert starts(schedule(targets(20)), 60) != starts(schedule(targets(20), seed=2), 60)


def test_a_target_that_is_out_is_never_due_again_until_given_back() -> None:
    made = schedule(targets(1))
    assert len(made.take(0.0, 10)) == 1
    assert made.wake_s() == math.inf
    assert made.take(1000.0, 10) == []
    made.done(next(iter(targets(1))), 1000.0)
    assert len(made.take(1000.0, 10)) == 1


def test_after_a_long_stall_there_is_no_burst() -> None:
    made = schedule(targets(5000))
    starts(made, 30)
    now_s = 300.0
    caught_up = 0
    for _ in range(1000):
        taken = made.take(now_s, 10**9)
        assert len(taken) <= BURST_MAX
        caught_up += len(taken)
        for target, _ in taken:
            made.done(target, now_s)
        now_s += 0.001
    allowed = RATE_FRESH_PER_S + 2 * 5000 / 10  # in this one second
    assert allowed - BURST_MAX <= caught_up <= allowed + BURST_MAX


def test_a_high_steady_rate_is_not_held_back() -> None:
    rate_per_s = 3 * RATE_FRESH_PER_S
    wanted = targets(int(rate_per_s * 0.5), check(0.5, jitter=0.0))
    first_s = len(wanted) / RATE_FRESH_PER_S
    later = [at for at, _ in starts(schedule(wanted), first_s + 2) if at >= first_s + 1]
    assert len(later) == pytest.approx(rate_per_s, rel=0.02)


def test_room_limits_what_is_taken_and_the_rest_stays_due() -> None:
    made = schedule(targets(10))
    now_s = 10 / RATE_FRESH_PER_S
    first = made.take(now_s, 3)
    rest = made.take(now_s, 100)
    assert (len(first), len(rest)) == (3, 7)
    assert made.take(now_s, 0) == []


def test_unchanged_targets_keep_their_schedule() -> None:
    made, same = schedule(targets(10)), schedule(targets(10))
    starts(made, 5)
    starts(same, 5)
    assert made.replace(targets(10), 5.0) == frozenset()
    assert starts(made, 60) == starts(same, 60)


def test_changed_and_new_targets_are_due_at_once_and_removed_ones_never() -> None:
    made = schedule(targets(10))
    starts(made, 5)
    wanted = targets(12)
    gone, changed, *_ = wanted
    del wanted[gone]
    wanted[changed] = check(20.0)
    assert made.replace(wanted, 5.0) == {changed, *list(wanted)[-2:]}
    soon = {target for _, target in starts(made, 5.01)}
    assert {changed, *list(wanted)[-2:]} <= soon
    assert gone not in {target for _, target in starts(made, 60)}


def test_a_target_replaced_while_it_is_out_is_due_at_once() -> None:
    made = schedule(targets(1))
    made.take(0.0, 1)
    made.replace(targets(1, check(20.0)), 1.0)
    assert len(made.take(1.0, 1)) == 1


def test_a_probe_that_could_not_be_made_is_due_again_soon() -> None:
    made = schedule(targets(1))
    ((target, _),) = made.take(0.0, 1)
    assert made.retry(target, 0.5) == pytest.approx(0.5 + RETRY_S)


def test_replacing_again_and_again_keeps_no_rubbish() -> None:
    made = schedule(targets(50))
    for turn in range(200):
        made.replace(targets(50, check(10.0 + turn)), float(turn))
    assert len(made._heap) == 50


PACED = Cadence(interval_s=10.0, timeout_s=1.0, jitter=0.1, fast_s=1.0, idle_s=60.0)


def paced(count: int, cadence: Cadence = PACED) -> dict[Target, Check]:
    return targets(count, Check(name="tcp", probe=TcpProbe(port=1), cadence=cadence))


def test_a_fast_target_is_due_at_most_its_fast_interval_after_its_last_turn() -> None:
    made = schedule(paced(1))
    starts(made, 25)
    (target,) = paced(1)
    last_s = max(at for at, _ in starts(schedule(paced(1)), 25))
    assert made.pace({target: Pace.FAST}, 25.0) == {target: 1.0}
    assert made.wake_s() == max(25.0, made.wake_s()) <= max(25.0, last_s + 1.0)
    seen = [at for at, _ in starts(made, 45)]
    assert all(gap <= 1.001 for gap in [b - a for a, b in pairwise(seen)])
    assert len(seen) >= 20


def test_an_idle_target_waits_and_one_that_is_asked_about_again_is_due_by_its_interval() -> None:
    made = schedule(paced(1))
    (target,) = paced(1)
    last_s = starts(made, 25)[-1][0]
    made.pace({target: Pace.IDLE}, 25.0)
    times = [at for at, _ in starts(made, 400)]
    assert all(54 - 0.001 <= gap <= 60.001 for gap in [b - a for a, b in pairwise(times)])
    assert last_s + 9 <= times[0] <= last_s + 60.001
    made.pace({target: Pace.STEADY}, 400.0)
    assert 400 <= made.wake_s() <= max(400.0, times[-1] + 10)


def test_a_pace_that_the_cadence_does_not_have_changes_nothing() -> None:
    made, same = schedule(targets(20)), schedule(targets(20))
    starts(made, 25)
    starts(same, 25)
    for pace in (Pace.FAST, Pace.IDLE, Pace.FAST, Pace.STEADY):
        assert made.pace(dict.fromkeys(targets(20), pace), 25.0) == {}
    assert starts(made, 100) == starts(same, 100)


def test_a_pace_is_kept_by_a_target_whose_check_changes_and_forgotten_with_one_that_goes() -> None:
    made = schedule(paced(2))
    stays, goes = paced(2)
    made.pace({stays: Pace.FAST, goes: Pace.FAST}, 0.0)
    made.replace({stays: check(20.0)}, 1.0)
    made.replace(paced(2), 2.0)
    assert (made.pace_of(stays), made.pace_of(goes)) == (Pace.FAST, Pace.STEADY)
    assert made.pace({Target(check="other", address=IPv4Address("127.0.0.1")): Pace.FAST}, 2.0) == {}


@pytest.mark.parametrize(
    ("before", "after", "gap_s"),
    [
        (Pace.STEADY, Pace.IDLE, 60.0),
        (Pace.IDLE, Pace.STEADY, 10.0),
        (Pace.FAST, Pace.STEADY, 10.0),
        (Pace.STEADY, Pace.FAST, 1.0),
        (Pace.IDLE, Pace.FAST, 1.0),
        (Pace.FAST, Pace.IDLE, 60.0),
    ],
)
def test_many_that_change_their_pace_together_stay_spread_and_never_burst(
    before: Pace, after: Pace, gap_s: float
) -> None:
    wanted = paced(1000)
    made = schedule(wanted)
    made.pace(dict.fromkeys(wanted, before), 0.0)
    starts(made, 300)
    made.pace(dict.fromkeys(wanted, after), 300.0)
    first = starts(made, 300 + gap_s + 1)
    assert {target for _, target in first} == set(wanted)
    allowed = (RATE_FRESH_PER_S + 2 * 1000 / min(gap_s, 10.0)) * 0.05 + BURST_MAX + 1
    slots: dict[int, int] = {}
    for at, _ in first:
        slots[int(at / 0.05)] = slots.get(int(at / 0.05), 0) + 1
    assert max(slots.values()) <= allowed
    later = [at for at, _ in starts(made, 301 + 3 * gap_s)]
    tenths = [0] * 10
    for at in later:
        if at >= 301 + 2 * gap_s:
            tenths[min(9, int((at - 301 - 2 * gap_s) / gap_s * 10))] += 1
    assert sum(tenths) == pytest.approx(1000, rel=0.15)
    assert max(tenths) <= 2 * 1000 / 10


@given(
    steps=st.lists(st.tuples(st.floats(0.01, 30), st.sampled_from(Pace)), min_size=1, max_size=12),
    seed=st.integers(0, 99), jitter=st.floats(0, 0.5), took_s=st.floats(0, 0.9),
)  # fmt: skip
def test_whatever_the_changes_a_target_waits_no_longer_than_its_pace_says(
    steps: list[tuple[float, Pace]], seed: int, jitter: float, took_s: float
) -> None:
    cadence = Cadence(interval_s=5.0, timeout_s=0.9, jitter=jitter, fast_s=1.0, idle_s=20.0)
    wanted = paced(5, cadence)
    made = schedule(wanted, seed=seed)
    now_s, out = 0.0, dict.fromkeys(wanted, 0.0)
    last_s: dict[Target, float] = {}
    for wait_s, pace in steps:
        made.pace(dict.fromkeys(wanted, pace), now_s)
        every_s = {Pace.STEADY: 5.0, Pace.FAST: 1.0, Pace.IDLE: 20.0}[pace]
        changed_s, until_s = now_s, now_s + wait_s
        out = {}
        while (now_s := max(now_s + 1e-6, min(made.wake_s(), *out.values(), until_s))) < until_s:
            for target in [target for target, end_s in out.items() if end_s <= now_s]:
                del out[target]
                made.done(target, now_s)
            for target, _ in made.take(now_s, 100):
                assert now_s - last_s.get(target, now_s) <= max(every_s, changed_s - last_s.get(target, now_s)) + 0.02
                last_s[target] = now_s
                out[target] = now_s + took_s
        for target in out:
            made.done(target, max(now_s, out[target]))


def test_changing_the_pace_again_and_again_keeps_no_rubbish() -> None:
    wanted = paced(50)
    made = schedule(wanted)
    starts(made, 25)
    for turn in range(1000):
        made.pace(dict.fromkeys(wanted, Pace.FAST if turn % 2 else Pace.IDLE), 25.0)
    assert len(made._heap) <= 200
