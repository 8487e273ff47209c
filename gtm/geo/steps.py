"""Piecewise constant functions of an address: the one shape that databases, overrides and rules are brought to.

An IPv4 address is its 32 bits, an IPv6 address its top 64 bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Starts = npt.NDArray[np.uint64]
Values = npt.NDArray[np.int64]

ONE = np.uint64(1)
_DENSE_MAX = 1 << 22  # 64 MB while it is used


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Steps:
    """A function on [0, 2**width): `values[i]` from `starts[i]` up to the next start.

    starts  strictly rising uint64, starts[0] == 0
    values  int64, one per start
    """

    width: int
    starts: Starts
    values: Values

    def at(self, address: int) -> int:
        """The value at one address."""
        return int(self.values[np.searchsorted(self.starts, np.uint64(address), side="right") - 1])

    def over(self, starts: Starts) -> Values:
        """The value at each of many addresses."""
        return self.values[np.searchsorted(self.starts, starts, side="right") - 1]

    def mapped(self, values: Values) -> Steps:
        """The same starts with other values, equal neighbours joined."""
        keep = np.ones(len(values), bool)
        np.not_equal(values[1:], values[:-1], out=keep[1:])
        return Steps(width=self.width, starts=self.starts[keep], values=values[keep])


def constant(width: int, value: int) -> Steps:
    """The function with one value everywhere."""
    return Steps(width=width, starts=np.zeros(1, np.uint64), values=np.full(1, value, np.int64))


def sizes(steps: Steps) -> npt.NDArray[np.float64]:
    """How many addresses each step covers."""
    edges = np.append(steps.starts.astype(np.float64), 2.0**steps.width)
    return np.diff(edges)


def paired(a: Steps, b: Steps) -> tuple[Steps, list[tuple[int, int]]]:
    """Both functions as one: its values number the returned distinct pairs (value of `a`, value of `b`).

    Pairs are numbered in the order in which they are first met, from address 0 upwards.
    """
    if len(b.starts) == 1:
        starts = a.starts
        left, right = a.values, np.broadcast_to(b.values, a.values.shape)
    elif len(a.starts) == 1:
        starts = b.starts
        left, right = np.broadcast_to(a.values, b.values.shape), b.values
    else:
        # Two sorted runs merge in one pass; np.unique, which hashes, took 0.4 s for a million.
        starts = np.sort(np.concatenate([a.starts, b.starts]), kind="stable")
        fresh = np.ones(len(starts), bool)
        np.not_equal(starts[1:], starts[:-1], out=fresh[1:])
        starts = starts[fresh]
        left, right = a.over(starts), b.over(starts)
    low_a, low_b = int(left.min()), int(right.min())
    span = int(right.max()) - low_b + 1
    codes, numbers = first_seen((left - low_a) * span + (right - low_b))
    pairs = [(code // span + low_a, code % span + low_b) for code in codes]
    return Steps(width=a.width, starts=starts, values=left).mapped(numbers), pairs


def first_seen(values: Values) -> tuple[list[int], Values]:
    """The distinct values in the order they are first met, and for each value its number in that order."""
    found, first, inverse = distinct(values)
    order = np.argsort(first, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return [int(v) for v in found[order]], rank[inverse]


def distinct(values: Values) -> tuple[Values, Values, Values]:
    """The distinct values, rising; where each is first met; and for each value its number among them."""
    low, high = int(values.min()), int(values.max())
    if high - low > _DENSE_MAX:
        found, first, inverse = np.unique(values, return_index=True, return_inverse=True)
        return found, first.astype(np.int64), inverse.astype(np.int64)
    # Without sorting: measured 3 to 10 times as fast as np.unique for a million values.
    at = values - low
    firsts = np.full(high - low + 1, -1, np.int64)
    firsts[at[::-1]] = np.arange(len(at) - 1, -1, -1)  # the last one written, which is the first one met, stays
    present = np.flatnonzero(firsts >= 0)
    number = np.empty(len(firsts), np.int64)
    number[present] = np.arange(len(present))
    return present + low, firsts[present], number[at]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Blocks:
    """A function as the fewest aligned prefixes, by address: start, prefix length, value."""

    width: int
    starts: Starts
    lengths: npt.NDArray[np.int64]
    values: Values


def blocks(steps: Steps) -> Blocks:
    """Each step cut into its largest aligned prefixes.

    Equal neighbours must be joined already. A prefix within which the function is constant lies within one step, so
    each prefix here is the largest of its kind around every address in it.
    """
    lo = steps.starts
    hi = np.append(steps.starts[1:] - ONE, np.uint64(2**steps.width - 1))  # inclusive: 2**64 would not fit
    value = steps.values
    parts: list[tuple[Starts, int, Values]] = []
    for k in range(steps.width):
        bit = np.uint64(1 << k)
        left = (lo & bit) != 0
        parts.append((lo[left], steps.width - k, value[left]))
        done = left & (lo + (bit - ONE) == hi)
        lo = np.where(left, lo + bit, lo)
        right = ((hi & bit) == 0) & ~done
        parts.append((hi[right] - (bit - ONE), steps.width - k, value[right]))
        done |= right & (hi - (bit - ONE) == lo)
        hi = np.where(right, hi - bit, hi)
        lo, hi, value = lo[~done], hi[~done], value[~done]
        if not len(lo):
            break
    parts.append((lo, 0, value))  # what is left covers the whole space
    starts = np.concatenate([p[0] for p in parts])
    lengths = np.concatenate([np.full(len(p[0]), p[1], np.int64) for p in parts])
    order = np.argsort(starts, kind="stable")
    values = np.concatenate([p[2] for p in parts])
    return Blocks(width=steps.width, starts=starts[order], lengths=lengths[order], values=values[order])


def joined(width: int, starts: Starts, values: Values) -> Steps:
    """The function with these starts (rising, from 0) and values, equal neighbours joined."""
    return Steps(width=width, starts=starts, values=values).mapped(values)


def levelled(cut: Blocks, length: int, *, silent: int | None = None) -> Steps:
    """The function made constant on every prefix of `length`: there the value that most of its addresses have.

    `silent` counts only where a prefix has no other value. Ties go to the lowest value.
    """
    shift = np.uint64(cut.width - length)
    long = cut.lengths > length
    group = cut.starts[long] >> shift
    value = cut.values[long]
    weight = 2.0 ** (length - cut.lengths[long])
    if silent is not None:
        weight[value == silent] = 1e-300
    order = np.lexsort((value, group))
    group, value, weight = group[order], value[order], weight[order]
    fresh = np.ones(len(group), bool)
    fresh[1:] = (group[1:] != group[:-1]) | (value[1:] != value[:-1])
    total = np.add.reduceat(weight, np.flatnonzero(fresh)) if len(group) else weight
    group, value = group[fresh], value[fresh]
    best = np.lexsort((value, -total, group))
    group, value = group[best], value[best]
    first = np.ones(len(group), bool)
    first[1:] = group[1:] != group[:-1]
    starts = np.concatenate([cut.starts[~long], group[first] << shift])
    values = np.concatenate([cut.values[~long], value[first]])
    sort = np.argsort(starts, kind="stable")
    return joined(cut.width, starts[sort], values[sort])
