"""The compiled unit of location: which class, and which ECS scope, a client network has.

Built by gtm.geo, kept in a file, memory-mapped by every worker, read here without any library.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from gtm.model.place import Locus

PAGE = 0x8000  # leaves24 values from here on are second-level pages: value - PAGE


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassTable:
    """Every client network's class and scope; classes are small integers, `loci[class]` is one of its members.

    leaves24  2**24 uint16, by the top 24 bits of an IPv4 address: an index into `leaves`, or PAGE + a page number
    pages     256 uint16 per page, by the last octet: an index into `leaves`
    leaves    (class, scope): the scope is the length of the largest aligned prefix around it that is all one class
    starts6   sorted uint64, the top 64 bits of the first address of each IPv6 prefix; starts6[0] == 0
    leaves6   uint16 per start: an index into `leaves`
    Scopes of either family partition that family's space.
    """

    key: str
    leaves24: Sequence[int]
    pages: Sequence[int]
    leaves: Sequence[tuple[int, int]]
    starts6: Sequence[int]
    leaves6: Sequence[int]
    loci: tuple[Locus, ...]

    def find4(self, address: int) -> tuple[int, int]:
        """(class, scope) of an IPv4 address given as a 32-bit integer."""
        leaf = self.leaves24[address >> 8]
        if leaf >= PAGE:
            leaf = self.pages[(leaf - PAGE) << 8 | address & 0xFF]
        return self.leaves[leaf]

    def find6(self, address: int) -> tuple[int, int]:
        """(class, scope) of an IPv6 address given as a 128-bit integer."""
        return self.leaves[self.leaves6[bisect_right(self.starts6, address >> 64) - 1]]
