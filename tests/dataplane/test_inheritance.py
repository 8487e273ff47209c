"""Slots in transition go over to another instance, page by page, by the names of services and backends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from gtm.model.sync import PAGE_WORDS_MAX
from gtm.publish.dataplane import layout
from gtm.publish.dataplane.inheritance import SECONDS_MAX, Change, Words, inheritances, words_of
from gtm.publish.dataplane.numbering import Numbering, Translation
from gtm.publish.dataplane.transition import Ring, change, inherited, settle

Row = tuple[str, dict[int, int], float]


def own_numbers(words: Words) -> Words:
    return words & np.uint64(layout.FLOW_BACKEND)


def made(
    slots: list[int], *, service: str = "web", size: int = 65537, previous: int = 7, left_s: float = 42.4
) -> Change:
    count = len(slots)
    return Change(
        service=service,
        size=size,
        slots=np.array(slots, np.int64),
        previous=np.full(count, previous, np.uint32),
        left_s=np.full(count, left_s),
    )


def read(words: np.ndarray, sizes: dict[str, int], translate: Callable[[Words], Words] = own_numbers) -> list[Row]:
    return [
        (each.service, dict(zip(each.slots.tolist(), each.previous.tolist(), strict=True)), each.left_s)
        for each in inheritances(words, sizes, translate)
    ]


@pytest.mark.parametrize("count", [1, 142, 143, 144, 1000, 65537])
def test_each_page_says_all_by_itself(count: int) -> None:
    words = words_of(made(list(range(count))))
    found: dict[int, int] = {}
    for start in range(0, len(words), PAGE_WORDS_MAX):
        ((service, slots, left_s),) = read(words[start : start + PAGE_WORDS_MAX], {"api": 65537, "web": 65537})
        assert (service, left_s) == ("web", 42.0)
        found |= slots
    assert found == dict.fromkeys(range(count), 7)


def test_several_services_in_one_go() -> None:
    several = made([4, 5], size=251), made([6], service="api", size=13, previous=8, left_s=20.0)
    words = np.concatenate([words_of(each) for each in several])
    assert read(words, {"web": 251, "api": 13}) == [("web", {4: 7, 5: 7}, 42.0), ("api", {6: 8}, 20.0)]


def test_slots_of_one_service_may_end_at_several_times() -> None:
    change = replace(made(list(range(400))), left_s=np.where(np.arange(400) % 2, 15.0, 5.0))
    even, odd = read(words_of(change), {"web": 65537}), dict.fromkeys(range(1, 400, 2), 7)
    assert {seconds for _, _, seconds in even} == {5.0, 15.0}
    assert {slot: 7 for _, slots, seconds in even if seconds == 15 for slot in slots} == odd


def test_nothing_in_transition_is_nothing_told() -> None:
    assert len(words_of(made([]))) == 0


def test_a_table_of_another_size_is_another_table() -> None:
    assert read(words_of(made([4], size=251)), {"web": 509}) == []


def test_backends_go_by_name_and_seconds_by_themselves() -> None:
    translation = Translation(Numbering({"web/old": 5}))
    translation.learn(Numbering({"web/old": 7}).words())
    numbers = translation.numbers
    assert read(words_of(made([1, 2], left_s=7.0)), {"web": 65537}, numbers) == [("web", {1: 5, 2: 5}, 7.0)]
    assert read(words_of(made([1], previous=8)), {"web": 65537}, numbers) == [("web", {1: 0}, 42.0)]
    assert read(words_of(made([1], previous=0)), {"web": 65537}, numbers) == [("web", {1: 0}, 42.0)]
    assert translation.unknown == 0


def test_times_are_bounded() -> None:
    ((*_, long),) = read(words_of(made([1], left_s=1e6)), {"web": 65537})
    ((*_, over),) = read(words_of(made([1], left_s=-5.0)), {"web": 65537})
    assert (long, over) == (SECONDS_MAX, 0.0)


def test_a_ring_inherits_what_is_not_in_transition_here() -> None:
    living = {1: None, 2: None, 3: None}
    ring = Ring.fresh([1, 1, 1, 2, 1])
    ring = change(ring, [1, 1, 2, 2, 1], living, now_s=0.0, drain_s=100.0)
    found = settle(inherited(ring, [0, 2, 3, 1, 4], [2, 3, 2, 9, 0], until_s=50.0), living, now_s=0.0)
    moving = layout.SLOT_TRANSITION
    assert found.slots.tolist() == [
        1 | moving | 2 << 16,
        1 | moving,  # 9 is not alive, but flows of others may be known
        2 | moving | 1 << 16,  # a transition of its own
        2 | moving | 2 << 16,  # 2 has it again
        1 | moving,
    ]
    assert (settle(found, living, now_s=51.0).slots & moving != 0).tolist() == [False, False, True, False, False]
