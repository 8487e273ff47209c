"""Backends' numbers are each instance's own: what a peer's words mean here, by the names of backends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from gtm.publish.dataplane import layout
from gtm.wire.sync import digest48

Words = NDArray[np.uint64]
_KEY, _BACKEND = np.uint64(16), np.uint64(layout.FLOW_BACKEND)


class Numbering:
    """This instance's numbers by SERVICE/NAME."""

    def __init__(self, numbers: Mapping[str, int]) -> None:
        digests = {name: digest48(name) for name in numbers}
        # Two names with one digest (3e-8 for 4,095 backends) are not told apart, so neither is told at all.
        alone = {digest for digest, count in Counter(digests.values()).items() if count == 1}
        self.by_digest = {digests[name]: number for name, number in numbers.items() if digests[name] in alone}

    def words(self) -> Words:
        """What a peer must know to read this instance's words: digest and number of each backend."""
        return np.array([digest << 16 | number for digest, number in self.by_digest.items()], np.uint64)


class Translation:
    """A peer's words in this instance's numbers."""

    def __init__(self, own: Numbering) -> None:
        self._own = own
        self._theirs: dict[int, int] = {}  # digests by the peer's number
        self._mine: NDArray[np.uint64] = np.zeros(layout.FLOW_BACKEND + 1, np.uint64)
        self.unknown = 0  # words that named a backend which this instance does not know

    def learn(self, names: Words) -> None:
        """The peer's numbers, as its Numbering tells them; a number that was named before has changed hands."""
        for word in names.tolist():
            self._theirs[word & layout.FLOW_BACKEND] = word >> 16
        self.renumber(self._own)

    def renumber(self, own: Numbering) -> None:
        """This instance has other numbers now."""
        self._own = own
        self._mine[:] = 0
        for theirs, digest in self._theirs.items():
            self._mine[theirs] = own.by_digest.get(digest, 0)

    def numbers(self, words: Words) -> Words:
        """This instance's number of the backend in each word; 0 where that is nobody, or nobody that is known here."""
        found: Words = self._mine[words & _BACKEND]
        return found

    def __call__(self, words: Words) -> Words:
        """The words with this instance's numbers, in their order; those of backends that are not here are left out."""
        mine = self.numbers(words)
        known = mine != 0
        self.unknown += len(words) - int(np.count_nonzero(known))
        mine |= words & ~_BACKEND
        found: Words = mine[known]
        return found
