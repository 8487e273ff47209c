from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm.geo.steps import Steps, blocks, constant, first_seen, joined, levelled, paired, sizes

WIDTH = 7
functions = st.lists(st.integers(-1, 3), min_size=2**WIDTH, max_size=2**WIDTH)
runs = st.lists(st.tuples(st.integers(0, 2**WIDTH - 1), st.integers(-1, 3)), max_size=12)


def stepped(changes: list[tuple[int, int]]) -> list[int]:
    values = [0] * 2**WIDTH
    for start, value in changes:
        values[start:] = [value] * (2**WIDTH - start)
    return values


def steps(values: list[int]) -> Steps:
    return joined(WIDTH, np.arange(len(values), dtype=np.uint64), np.array(values, np.int64))


def uniform(values: list[int], start: int, length: int) -> bool:
    size = 1 << WIDTH - length
    start -= start % size
    return len(set(values[start : start + size])) == 1


@given(st.one_of(functions, runs.map(stepped)))
def test_blocks_partition_the_space_into_the_largest_aligned_prefixes(values: list[int]) -> None:
    cut = blocks(steps(values))
    at = 0
    for start, length, value in zip(cut.starts.tolist(), cut.lengths.tolist(), cut.values.tolist(), strict=True):
        assert start == at
        assert start % (1 << WIDTH - length) == 0
        assert values[start] == value
        assert uniform(values, start, length)
        assert length == 0 or not uniform(values, start, length - 1)
        at += 1 << WIDTH - length
    assert at == 2**WIDTH


@given(functions, functions)
def test_paired_steps_know_both_functions(a: list[int], b: list[int]) -> None:
    both, pairs = paired(steps(a), steps(b))
    assert [pairs[both.at(i)] for i in range(2**WIDTH)] == list(zip(a, b, strict=True))
    met = list(dict.fromkeys(zip(a, b, strict=True)))
    assert pairs == met, "numbered as they are first met"


@given(functions, st.integers(0, WIDTH), st.one_of(st.none(), st.just(-1)))
def test_levelled_steps_have_the_commonest_value_of_each_prefix(
    values: list[int], length: int, silent: int | None
) -> None:
    level = levelled(blocks(steps(values)), length, silent=silent)
    size = 1 << WIDTH - length
    for start in range(0, 2**WIDTH, size):
        inside = values[start : start + size]
        spoken = [v for v in inside if v != silent] or inside
        best = min(spoken, key=lambda v: (-spoken.count(v), v))
        assert {level.at(i) for i in range(start, start + size)} == {best}


@given(st.lists(st.integers(-5, 5), min_size=1))
def test_values_are_numbered_as_first_seen(values: list[int]) -> None:
    distinct, numbers = first_seen(np.array(values, np.int64))
    assert distinct == list(dict.fromkeys(values))
    assert [distinct[n] for n in numbers] == values


@pytest.mark.parametrize("width", [32, 64])
def test_the_ends_of_a_whole_family_are_in_its_blocks(width: int) -> None:
    whole = blocks(constant(width, 7))
    assert (whole.starts.tolist(), whole.lengths.tolist(), whole.values.tolist()) == ([0], [0], [7])
    last = 2**width - 1
    cut = blocks(joined(width, np.array([0, 1, last], np.uint64), np.array([1, 2, 3], np.int64)))
    assert cut.starts[0] == 0
    assert cut.starts[-1] == last
    assert sum(1 << width - length for length in cut.lengths.tolist()) == 2**width
    assert len(cut.starts) == 2 * width
    assert sizes(constant(width, 0)).tolist() == [2.0**width]
