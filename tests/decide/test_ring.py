"""Rings: exact shares, and distinct instances in every answer."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm.decide.ring import SLOTS_MAX, counts, interleave, ring

WEIGHTS = st.lists(st.integers(1, 1_000_000), min_size=1, max_size=20).map(tuple)


@given(WEIGHTS, st.integers(1, 16))
def test_each_slot_lists_distinct_positions_weighted_one_first(weights: tuple[int, ...], answers: int) -> None:
    slots = ring(weights, answers)
    for slot in slots:
        assert len(slot) == len(set(slot)) == min(answers, len(weights))
        assert all(0 <= position < len(weights) for position in slot)
    firsts = Counter(slot[0] for slot in slots)
    assert [firsts[i] for i in range(len(weights))] == list(counts(weights))


@given(WEIGHTS)
def test_shares_are_exact_up_to_the_ring_size(weights: tuple[int, ...]) -> None:
    slots = counts(weights)
    assert min(slots) >= 1
    assert sum(slots) <= SLOTS_MAX
    total = sum(weights)
    for weight, slot in zip(weights, slots, strict=True):
        assert abs(slot / sum(slots) - weight / total) < (len(weights) + 1) / SLOTS_MAX


@pytest.mark.parametrize(
    ("weights", "slots"), [((70, 30), (7, 3)), ((100, 100, 100), (1, 1, 1)), ((1,), (1,)), ((1, 99), (1, 99))]
)
def test_usual_splits_have_no_rounding(weights: tuple[int, ...], slots: tuple[int, ...]) -> None:
    assert counts(weights) == slots


def test_turns_are_spread_out() -> None:
    assert interleave((5, 1, 1)) == (0, 0, 1, 0, 2, 0, 0)
