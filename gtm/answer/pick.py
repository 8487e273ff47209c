"""Which slot of a ring a client network gets: a keyed hash, so that a split is exact, sticky and reproducible.

The fast path repeats `slot` inline; a test holds the two together.
"""

from __future__ import annotations

STEP_S = 300  # a client network keeps its slot for this long; then all are dealt anew

MASK = (1 << 64) - 1
MUL_A = 0xFF51AFD7ED558CCD  # the finaliser constants of MurmurHash3 (A. Appleby, public domain)
MUL_B = 0xC4CEB9FE1A85EC53


def seed_at(key: int, now_s: float) -> int:
    """The 64-bit seed for the time step around `now_s`, from the table's secret key."""
    return mix(key ^ int(now_s // STEP_S) * MUL_B & MASK)


def mix(value: int) -> int:
    """A bijection of 64-bit integers that spreads every input bit over the result."""
    value = (value ^ value >> 33) * MUL_A & MASK
    value = (value ^ value >> 33) * MUL_B & MASK
    return value ^ value >> 33


def slot(net: int, seed: int, size: int) -> int:
    """A slot from 0 to size - 1 for a client network (see client.Located.net), uniform over networks."""
    value = (net ^ seed) * MUL_A & MASK
    value = (value ^ value >> 32) * MUL_B & MASK
    return (value >> 32) * size >> 32
