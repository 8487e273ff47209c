"""The flow table from outside: what peers know is put into it, and all that is in it is read.

The kernel writes the same words at the same time and nobody locks. A word is written whole, so a race can cost a flow
its place, or leave it twice in its bucket; the kernel takes the first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gtm.publish.dataplane import layout

Words = NDArray[np.uint64]
PLACES = 8
FRONT = 4  # places of a bucket for flows that were seen again; new ones enter behind them
_TAG, _BUCKET = np.uint64(layout.FLOW_TAG_SHIFT), np.uint64(layout.FLOW_BUCKET_SHIFT)
_BUCKETS = np.uint64(layout.FLOW_BUCKETS - 1)
_BACKEND, _CLOSED = np.uint64(layout.FLOW_BACKEND), np.uint64(layout.FLOW_CLOSED)


class Flows:
    """The table in the kernel, as Balancer.flows has it mapped."""

    def __init__(self, buckets: NDArray[np.void]) -> None:
        """`buckets` are records of layout.FLOW_BUCKET, all of them."""
        self._table: Words = buckets["flow"]

    def told(self, words: Words) -> None:
        """Learns flows as the program does, in their order: in their place, or new in the middle.

        One that is marked as closed is not learnt for that.
        """
        self._each(words, front=False, keep=False)

    def known(self, words: Words, *, front: bool) -> None:
        """Learns flows of another's table; those that are here stay as they are, and free places are taken first.

        `front`: in the busy half, where new flows cannot push them out.
        """
        self._each(words, front=front, keep=True)

    def snapshot(self) -> tuple[Words, Words]:
        """The flows in the busy halves of all buckets, and the others; each by bucket."""
        table = np.array(self._table)
        halves = table[:, :FRONT].ravel(), table[:, FRONT:].ravel()
        front, rest = (half[half != 0] for half in halves)
        return front, rest

    def by_backend(self) -> NDArray[np.int64]:
        """How many flows each number has that are not marked as closed. 10 ms for the whole table."""
        words = np.array(self._table).ravel()
        words = words[(words != 0) & (words & _CLOSED == 0)]
        return np.bincount((words & _BACKEND).astype(np.int64), minlength=layout.BACKENDS)

    def clear(self) -> None:
        """Forgets all."""
        self._table[:] = 0

    def _each(self, words: Words, *, front: bool, keep: bool) -> None:
        """One flow of each bucket at a time, so that each finds its bucket as the one before left it."""
        words = words[words & _BACKEND != 0]
        while len(words):
            buckets = (words >> _BUCKET & _BUCKETS).astype(np.int64)
            first = np.sort(np.unique(buckets, return_index=True)[1])
            self._once(words[first], buckets[first], front=front, keep=keep)
            words = np.delete(words, first)

    def _once(self, words: Words, buckets: NDArray[np.int64], *, front: bool, keep: bool) -> None:
        """`words` are of as many different buckets."""
        rows = self._table[buckets]
        same = rows >> _TAG == (words >> _TAG)[:, None]
        there = same.any(axis=1)
        if not keep:
            self._table[buckets[there], same.argmax(axis=1)[there]] = words[there]
            there |= words & _CLOSED != 0
        self._enter(words[~there], buckets[~there], rows[~there], front=front, keep=keep)

    def _enter(self, words: Words, buckets: NDArray[np.int64], rows: Words, *, front: bool, keep: bool) -> None:
        """Flows that are in none of their `rows`."""
        if keep:
            # The first free place from that half's beginning on, and round: argmax of booleans is the first True.
            order = np.roll(np.arange(PLACES), 0 if front else -FRONT)
            free = rows[:, order] == 0
            room = free.any(axis=1)
            self._table[buckets[room], order[free.argmax(axis=1)[room]]] = words[room]
            words, buckets, rows = words[~room], buckets[~room], rows[~room]
        for place in range(PLACES - 1, FRONT, -1):
            self._table[buckets, place] = rows[:, place - 1]
        self._table[buckets, FRONT] = words
