"""VIPs are replaced in place: each that stays is found all the while."""

from __future__ import annotations

import numpy as np
import pytest

from gtm.decide.balance import TCP, Vip
from gtm.publish.dataplane import layout
from gtm.publish.dataplane.maps import buckets, key_of, place
from gtm.publish.dataplane.servers import Full
from tests.dataplane.kernel import Kernel
from tests.dataplane.world import SEED, packed, tables

Key = tuple[bytes, int, int]


def keys(first: int, last: int) -> list[Key]:
    return [(packed(f"203.0.{number >> 8}.{number & 255}"), 80, TCP) for number in range(first, last)]


def entries(table: np.ndarray) -> dict[Key, tuple[int, int]]:
    """The place of each VIP."""
    found = zip(*np.nonzero(table["vip"]["protocol"]), strict=True)
    return {key_of(table["vip"][at]): at for at in found}


def test_those_that_stay_keep_their_place() -> None:
    before = place(dict.fromkeys(keys(0, 300), Vip(ring=1)), SEED)
    wanted = {key: Vip(ring=2, track=True) for key in keys(150, 450)}
    after = place(wanted, SEED, before)
    was, now = entries(before), entries(after)
    assert set(now) == set(wanted)
    assert all(now[key] == was[key] for key in keys(150, 300))
    assert all(bucket in buckets(key, SEED) for key, (bucket, _) in now.items())
    assert {int(after["vip"][at]["ring"]) for at in now.values()} == {2}
    assert (before["vip"][tuple(zip(*was.values(), strict=True))]["flags"] == 0).all()
    assert (after["vip"][tuple(zip(*now.values(), strict=True))]["flags"] == layout.VIP_TRACK).all()


def test_a_full_table_is_refused() -> None:
    with pytest.raises(Full):
        place(dict.fromkeys(keys(0, 2 * layout.VIP_BUCKETS + 1), Vip(ring=1)), SEED)


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
            assert set(entries(balancer.vips)) == set(some)
            rings = balancer.vips["vip"]["ring"][balancer.vips["vip"]["protocol"] != 0]
            assert set(rings.tolist()) == {ring}
            assert not balancer.set_vips(some, SEED)
    finally:
        balancer.set_vips(original, SEED)
