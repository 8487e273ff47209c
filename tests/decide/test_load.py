"""Load is smoothed by time, not by how often it is measured, and a region is the sum or mean of its instances."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm.decide.load import Key, Level, fold, table, together
from gtm.model.load import LoadMetric, LoadValue
from gtm.model.pool import Instance

REQUESTS, CONNECTIONS, UTILISATION = LoadMetric
HALF_LIFE_S, AGE_MAX_S = 30.0, 120.0


def level(raw: float, at_s: float, source: str = "file") -> Level:
    return Level(value=raw, raw=raw, at_s=at_s, source=source)


def folded(*measured: Level, half_life_s: float = HALF_LIFE_S) -> Level | None:
    first: Level | None = None
    return reduce(lambda before, one: fold(before, one, half_life_s=half_life_s, age_max_s=AGE_MAX_S), measured, first)


def instance(region: str, last: int, weight: int = 100) -> Instance:
    return Instance(region=region, a=IPv4Address(f"192.0.2.{last}"), weight=weight)


def test_the_first_measurement_counts_in_full() -> None:
    assert folded(level(100.0, 5.0)) == level(100.0, 5.0)


def test_half_of_a_change_is_followed_in_a_half_life() -> None:
    after = folded(level(100.0, 0.0), level(200.0, HALF_LIFE_S))
    assert after is not None
    assert (after.value, after.raw, after.at_s) == (150.0, 200.0, HALF_LIFE_S)


def test_no_half_life_is_no_smoothing() -> None:
    after = folded(level(100.0, 0.0), level(200.0, 1.0), half_life_s=0.0)
    assert after == level(200.0, 1.0)


def test_after_a_long_silence_the_past_says_nothing() -> None:
    assert folded(level(100.0, 0.0), level(900.0, AGE_MAX_S + 0.1)) == level(900.0, AGE_MAX_S + 0.1)


@given(
    steps=st.lists(st.floats(0.01, 20.0), min_size=1, max_size=30),
    start=st.floats(0, 1e6),
    lasting=st.floats(0, 1e6),
)
def test_how_often_a_lasting_change_is_measured_makes_no_difference(
    steps: list[float], start: float, lasting: float
) -> None:
    ends = [sum(steps[: n + 1]) for n in range(len(steps))]
    if ends[-1] > AGE_MAX_S:
        ends = [end * 0.99 * AGE_MAX_S / ends[-1] for end in ends]
    often = folded(level(start, 0.0), *(level(lasting, end) for end in ends))
    once = folded(level(start, 0.0), level(lasting, ends[-1]))
    assert often is not None
    assert once is not None
    assert often.value == pytest.approx(once.value, rel=1e-9, abs=1e-6)


@given(st.lists(st.tuples(st.floats(0, 1e9), st.floats(0, 1e4)), min_size=1, max_size=30))
def test_a_value_stays_within_what_was_measured(measured: list[tuple[float, float]]) -> None:
    after = folded(*(level(raw, at_s) for raw, at_s in measured))
    assert after is not None
    raws = [raw for raw, _ in measured]
    assert min(raws) * (1 - 1e-9) <= after.value <= max(raws) * (1 + 1e-9)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=10), st.randoms(use_true_random=False))
def test_what_comes_too_late_changes_nothing(raws: list[float], random: object) -> None:
    newest = folded(*(level(raw, float(number)) for number, raw in enumerate(raws)))
    late = [level(raw + 1, float(number)) for number, raw in enumerate(raws)]
    random.shuffle(late)  # type: ignore[attr-defined]
    assert newest is not None
    assert reduce(lambda now, one: fold(now, one, half_life_s=9.0, age_max_s=99.0), late, newest) == newest


def test_series_of_one_subject_are_put_together() -> None:
    assert together(REQUESTS, [10.0, 5.0]) == 15.0
    assert together(CONNECTIONS, [1.0, 1.0]) == 2.0
    assert together(UTILISATION, [0.2, 0.7]) == 0.7


INSTANCES = (instance("us-east", 11, 70), instance("us-east", 12, 30), instance("eu-west", 21))


def shown(levels: dict[Key, Level], now_s: float = 10.0) -> dict[Key, LoadValue]:
    return table(levels, INSTANCES, now_s=now_s, age_max_s=AGE_MAX_S)


def test_a_region_is_put_together_from_its_instances() -> None:
    levels = {
        ("instance/us-east/192.0.2.11", REQUESTS): level(100.0, 9.0, "a"),
        ("instance/us-east/192.0.2.12", REQUESTS): level(50.0, 4.0, "b"),
        ("instance/us-east/192.0.2.11", UTILISATION): level(0.5, 9.0),
        ("instance/us-east/192.0.2.12", UTILISATION): level(1.0, 9.0),
    }
    found = shown(levels)
    assert found["region/us-east", REQUESTS] == LoadValue(value=150.0, raw=150.0, age_s=6.0, source="a, b", parts=2)
    assert found["region/us-east", UTILISATION].value == pytest.approx(0.7 * 0.5 + 0.3 * 1.0)
    assert not [key for key in found if "eu-west" in key[0]]
    assert found["instance/us-east/192.0.2.11", REQUESTS] == LoadValue(value=100.0, raw=100.0, age_s=1.0, source="a")


def test_a_region_that_is_measured_itself_is_what_that_says_and_says_nothing_of_its_instances() -> None:
    levels = {
        ("region/us-east", REQUESTS): level(7.0, 10.0),
        ("instance/us-east/192.0.2.11", REQUESTS): level(100.0, 9.0),
        ("region/eu-west", UTILISATION): level(0.4, 10.0),
    }
    found = shown(levels)
    assert found["region/us-east", REQUESTS] == LoadValue(value=7.0, raw=7.0, age_s=0.0, source="file")
    assert set(found) == set(levels)


def test_a_region_falls_back_to_its_instances_when_its_own_value_is_too_old() -> None:
    levels = {
        ("region/us-east", REQUESTS): level(7.0, 0.0),
        ("instance/us-east/192.0.2.11", REQUESTS): level(100.0, 50.0),
        ("instance/us-east/192.0.2.12", REQUESTS): level(900.0, 0.0),
    }
    found = shown(levels, now_s=AGE_MAX_S + 1)
    assert found["region/us-east", REQUESTS].value == 100.0
    assert found["region/us-east", REQUESTS].parts == 1
    assert ("instance/us-east/192.0.2.12", REQUESTS) not in found


def test_instances_without_weight_count_alike_and_one_in_two_pools_once() -> None:
    none = tuple(replace(one, weight=0) for one in INSTANCES[:2])
    levels = {
        (f"instance/us-east/192.0.2.{last}", metric): level(raw, 0.0)
        for last, raw in ((11, 0.2), (12, 0.6))
        for metric in (UTILISATION, CONNECTIONS)
    }
    found = table(levels, none + none, now_s=0.0, age_max_s=AGE_MAX_S)
    assert found["region/us-east", UTILISATION].value == pytest.approx(0.4)
    assert found["region/us-east", CONNECTIONS].value == pytest.approx(0.8)
