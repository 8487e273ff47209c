"""The flow table from outside: it learns as the program does, keeps what is there, and gives all back."""

from __future__ import annotations

import random

import numpy as np
import pytest

from gtm.decide.balance import FLOW_CLOSED, Tables, Vip, _learn
from gtm.publish.dataplane import layout
from gtm.publish.dataplane.flows import FRONT, Flows, Words

VIP = Vip(ring=1)


def table() -> np.ndarray:
    return np.zeros(layout.FLOW_BUCKETS, layout.FLOW_BUCKET)


def word(bucket: int, rest: int, backend: int) -> int:
    """A flow's word: its bucket is in bits 40 to 56."""
    return bucket << 40 | rest << 16 | backend


def made(rand: random.Random, count: int, buckets: int, *, closed: float = 0) -> list[int]:
    return [
        word(rand.randrange(buckets), rand.randrange(1, 30), rand.randrange(1, 4096))
        | (FLOW_CLOSED if rand.random() < closed else 0)
        for _ in range(count)
    ]


def array(words: list[int]) -> Words:
    return np.array(words, np.uint64)


def rows(buckets: np.ndarray, count: int) -> list[list[int]]:
    return buckets["flow"][:count].tolist()


@pytest.mark.parametrize("seed", range(30))
def test_flows_are_learnt_as_the_program_learns_them(seed: int) -> None:
    """The executable specification, word for word: evictions, changes of backend, many flows of one bucket at once."""
    rand = random.Random(seed)
    buckets, model = table(), [[0] * 8 for _ in range(5)]
    tables = Tables(seed=(0, 0), vips={}, rings={}, backends={})
    flows = Flows(buckets)
    for _ in range(20):
        words = made(rand, rand.randrange(80), 5)
        flows.told(array(words))
        for each in words:
            _learn(tables, model[each >> 40 & layout.FLOW_BUCKETS - 1], each, VIP)
        assert rows(buckets, 5) == model
    assert not buckets["flow"][5:].any()


def test_the_end_of_a_flow_is_marked_where_it_is_and_not_learnt() -> None:
    buckets = table()
    flows = Flows(buckets)
    flows.told(array([word(3, 1, 7), word(3, 1, 7) | FLOW_CLOSED, word(3, 2, 8) | FLOW_CLOSED]))
    assert rows(buckets, 4)[3] == [0, 0, 0, 0, word(3, 1, 7) | FLOW_CLOSED, 0, 0, 0]
    flows.told(array([word(3, 1, 9)]))
    assert rows(buckets, 4)[3][4] == word(3, 1, 9)


@pytest.mark.parametrize("seed", range(10))
def test_a_table_goes_over_whole(seed: int) -> None:
    """Busy halves stay busy halves; as many as the sender's bucket had find room in an empty one."""
    rand = random.Random(seed)
    source, target = table(), table()
    for bucket in range(50):
        for place in range(8):
            if rand.random() < 0.6:
                source["flow"][bucket, place] = word(bucket, 10 + place, rand.randrange(1, 4096))
    front, rest = Flows(source).snapshot()
    Flows(target).known(front, front=True)
    Flows(target).known(rest, front=False)
    for half in (slice(0, FRONT), slice(FRONT, 8)):
        for bucket in range(50):
            assert set(target["flow"][bucket, half].tolist()) == set(source["flow"][bucket, half].tolist()) | (
                {0} if (target["flow"][bucket, half] == 0).any() else set()
            )


@pytest.mark.parametrize("seed", range(10))
def test_what_is_here_is_not_changed_by_another_table(seed: int) -> None:
    rand = random.Random(seed)
    buckets = table()
    flows = Flows(buckets)
    own = [word(bucket, rest, 5) for bucket in range(10) for rest in (1, 2)]
    flows.told(array(own))
    flows.known(array([each + 1 for each in own]), front=True)
    flows.known(array([each + 1 for each in own]), front=False)
    before = rows(buckets, 10)
    assert sorted(each for row in before for each in row if each) == sorted(own)
    more = [word(bucket, rest, 6) for bucket in range(10) for rest in rand.sample(range(10, 20), 6)]
    flows.known(array(more), front=bool(seed % 2))
    kept = {each for row in rows(buckets, 10) for each in row}
    assert kept == {*own, *more}


def test_a_flood_in_the_middle_leaves_the_busy_half() -> None:
    buckets = table()
    flows = Flows(buckets)
    busy = [word(1, rest, 4) for rest in range(1, 5)]
    flows.known(array(busy), front=True)
    flows.told(array([word(1, rest, 6) for rest in range(100, 1100)]))
    assert rows(buckets, 2)[1][:FRONT] == busy
    assert rows(buckets, 2)[1][FRONT:] == [word(1, rest, 6) for rest in range(1099, 1095, -1)]


def test_flows_by_backend() -> None:
    flows = Flows(table())
    flows.told(array([word(1, 1, 4), word(2, 1, 4), word(2, 2, 9), word(2, 2, 9) | FLOW_CLOSED]))
    found = flows.by_backend()
    assert len(found) == layout.BACKENDS
    assert {number: int(count) for number, count in enumerate(found) if count} == {4: 2}
    flows.clear()
    assert not flows.by_backend().any()


def test_nothing_is_learnt_of_nobody() -> None:
    buckets = table()
    Flows(buckets).told(array([word(1, 1, 0), 0]))
    Flows(buckets).known(array([word(1, 1, 0), 0]), front=False)
    assert not buckets["flow"].any()
