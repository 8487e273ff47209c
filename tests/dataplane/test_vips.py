"""VIPs are replaced in place: each that stays is found all the while."""

from __future__ import annotations

import numpy as np
import pytest

from gtm.decide.balance import TCP, Vip
from gtm.model.balance import VIP_ENTRIES_MAX
from gtm.publish.dataplane import layout
from gtm.publish.dataplane.servers import Full
from gtm.publish.dataplane.vips import VipKey, arrange, buckets, find, occupied
from tests.dataplane.kernel import Kernel
from tests.dataplane.world import SEED, packed, tables


def keys(first: int, last: int) -> list[VipKey]:
    return [(packed(f"203.0.{number >> 8}.{number & 255}"), 80, TCP) for number in range(first, last)]


def empty() -> np.ndarray:
    return np.zeros(layout.VIP_BUCKETS, layout.VIP_BUCKET)


def arranged(before: np.ndarray, vips: dict[VipKey, Vip], seed: tuple[int, int] = SEED) -> np.ndarray:
    """The table after all steps, each of which leaves findable what was and is wanted."""
    table = before.copy()
    stays = [key for _, key in occupied(before) if key in vips and find(before, key, seed) is not None]
    for step in arrange(before, vips, seed).steps:
        table["vip"][step.place] = step.entry
        moved = find(table, stays[hash(step.place) % len(stays)], seed) if stays else True
        assert moved is not None
        if step.again:
            assert len([key for _, key in occupied(table)]) > len({key for _, key in occupied(table)})
    assert all(find(table, key, seed) is not None for key in stays)
    assert not arrange(table, vips, seed).steps
    return table


def numbers(table: np.ndarray) -> dict[VipKey, int]:
    return {key: int(table["vip"][place]["number"]) for place, key in occupied(table)}


def test_those_that_stay_keep_their_numbers() -> None:
    before = arranged(empty(), dict.fromkeys(keys(0, 300), Vip(ring=1)))
    wanted = {key: Vip(ring=2, track=True) for key in keys(150, 450)}
    after = arranged(before, wanted)
    was, now = numbers(before), numbers(after)
    assert set(now) == set(wanted)
    assert len(set(now.values())) == 300
    assert all(now[key] == was[key] for key in keys(150, 300))
    assert all(place[0] in buckets(key, SEED) for place, key in occupied(after))
    held = after["vip"][after["vip"]["protocol"] != 0]
    assert set(held["ring"].tolist()) == {2}
    assert set(held["flags"].tolist()) == {layout.VIP_TRACK}


def test_it_fills_up_to_what_the_files_may_ask_for() -> None:
    """Whatever the seed, with addresses that differ in an octet; who has to move is found all the while."""
    random = np.random.default_rng(5)
    for _ in range(6):
        low, high = random.integers(1, 2**63, 2).tolist()
        table = arranged(empty(), dict.fromkeys(keys(0, VIP_ENTRIES_MAX - 20), Vip(ring=1)), (low, high))
        assert arrange(table, dict.fromkeys(keys(0, VIP_ENTRIES_MAX), Vip(ring=1)), (low, high)).steps
        assert set(numbers(arranged(table, dict.fromkeys(keys(15, VIP_ENTRIES_MAX), Vip(ring=1)), (low, high)))) == set(
            keys(15, VIP_ENTRIES_MAX)
        )


def test_another_seed_places_all_anew_and_keeps_their_numbers() -> None:
    vips = dict.fromkeys(keys(0, 500), Vip(ring=1))
    before = arranged(empty(), vips)
    after = arranged(before, vips, (SEED[0] + 1, SEED[1]))
    assert numbers(before) == numbers(after)


def test_one_that_stands_twice_as_a_move_was_cut_short_stands_once() -> None:
    key = next(key for key in keys(0, 9) if len(set(buckets(key, SEED))) == 2)
    table = arranged(empty(), {key: Vip(ring=1)})
    (place,) = (place for place, _ in occupied(table))
    (other,) = set(buckets(key, SEED)) - {place[0]}
    table["vip"][other, 1] = table["vip"][place]
    assert len(list(occupied(arranged(table, {key: Vip(ring=1)})))) == 1


def test_a_full_table_is_refused() -> None:
    with pytest.raises(Full):
        arrange(empty(), dict.fromkeys(keys(0, layout.VIPS + 1), Vip(ring=1)), SEED)


def test_written_in_place(kernel: Kernel) -> None:
    """In the real table, whatever was there before, what is read back is what was wanted."""
    balancer = kernel.balancer
    original = tables().vips
    try:
        assert not balancer.set_vips(original, SEED)
        random = np.random.default_rng(7)
        every = keys(0, 500)
        for ring in range(1, 12):
            some = {every[at]: Vip(ring=ring) for at in random.choice(len(every), 250, replace=False)}
            assert balancer.set_vips(some, SEED)
            assert set(numbers(balancer.vips)) == set(some)
            rings = balancer.vips["vip"]["ring"][balancer.vips["vip"]["protocol"] != 0]
            assert set(rings.tolist()) == {ring}
            assert not balancer.set_vips(some, SEED)
    finally:
        balancer.set_vips(original, SEED)
