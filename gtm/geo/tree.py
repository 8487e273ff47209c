"""The search tree of an MMDB file, walked level by level: all networks of a family in one gather per bit.

Source: the MaxMind DB file format specification 2.0, "Binary Search Tree Section".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gtm.geo.steps import Starts, Values

NOTHING = -1
Nodes = npt.NDArray[np.int64]


class TreeError(ValueError):
    """The tree section is not a tree."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Leaves:
    """The networks of one family by address.

    starts    uint64: the IPv4 address, or the top 64 bits of the IPv6 address
    pointers  int64: the record value found in the tree (node count + 16 + offset in the data section), or NOTHING
    within    uint64: the low 64 bits of an address that has this record (0 but below an IPv6 /64)
    """

    width: int
    starts: Starts
    pointers: Values
    within: Starts


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tree:
    """The tree section: `raw` is (node_count, record_size / 4) uint8, one node per row."""

    raw: npt.NDArray[np.uint8]
    record_size: int
    ip_version: int

    def children(self, nodes: Nodes) -> Nodes:
        """(n, 2) records of the nodes: a node number, the node count for nothing, or a data pointer."""
        rows = self.raw[nodes].astype(np.int64)
        half = self.record_size // 8
        both = np.empty((len(nodes), 2), np.int64)
        # Whole bytes of each record, most significant first; a 28-bit one has its top nibble in the middle byte.
        shift = 7 - half if self.record_size == 28 else 0
        for side, first in ((0, 0), (1, half + 1 if self.record_size == 28 else half)):
            value = np.zeros(len(nodes), np.int64)
            for byte in range(half):
                value = value << 8 | rows[:, first + byte]
            both[:, side] = value
        if shift:
            both[:, 0] |= (rows[:, half] >> 4) << 24
            both[:, 1] |= (rows[:, half] & 15) << 24
        return both

    def root4(self) -> int | None:
        """The record that stands for all of IPv4 (::/96 in an IPv6 tree), or None where the tree has none.

        It may be a data pointer: then the whole family is one network.
        """
        if self.ip_version == 4:
            return 0
        node = 0
        for _ in range(96):
            if node >= len(self.raw):
                break
            node = int(self.children(np.array([node]))[0, 0])
        return None if node == len(self.raw) else node


def leaves4(tree: Tree) -> Leaves | None:
    """The IPv4 networks, or None where there are none. Raises TreeError."""
    root = tree.root4()
    return None if root is None else _walk(tree, root, 32, avoid=None)


def leaves6(tree: Tree) -> Leaves | None:
    """The IPv6 networks down to /64, without IPv4 and its aliases; None where the tree is for IPv4. Raises TreeError.

    Aliases (v4-mapped, 6to4, Teredo) lead to the same node as ::/96 and are left out: callers look those clients up by
    the IPv4 address inside.
    """
    if tree.ip_version == 4:
        return None
    root = tree.root4()
    return _walk(tree, 0, 64, avoid=root if root is not None and root < len(tree.raw) else None)


def _walk(tree: Tree, root: int, width: int, *, avoid: int | None) -> Leaves:
    count = len(tree.raw)
    nodes, prefixes = np.array([root], np.int64), np.zeros(1, np.uint64)
    starts: list[Starts] = []
    pointers: list[Values] = []
    visited = 0
    for depth in range(width + 1):
        if avoid is not None:
            nodes = np.where(nodes == avoid, count, nodes)
        inner = nodes < count
        starts.append(prefixes[~inner] << np.uint64(width - depth) if depth else prefixes[~inner])
        pointers.append(nodes[~inner])
        nodes, prefixes = nodes[inner], prefixes[inner]
        visited += len(nodes)
        if visited > count:
            raise TreeError("its search tree has a loop")
        if depth == width or not len(nodes):
            break
        nodes = tree.children(nodes).reshape(-1)
        prefixes = np.repeat(prefixes << np.uint64(1), 2)
        prefixes[1::2] |= np.uint64(1)
    deep, within = _below(tree, nodes, width, avoid=avoid)
    starts.append(prefixes)
    pointers.append(deep)
    found = np.concatenate(pointers)
    low = np.zeros(len(found), np.uint64)
    low[len(found) - len(within) :] = within
    start = np.concatenate(starts)
    order = np.argsort(start, kind="stable")
    return Leaves(
        width=width, starts=start[order], pointers=np.where(found == count, NOTHING, found)[order], within=low[order]
    )


def _below(tree: Tree, nodes: Nodes, width: int, *, avoid: int | None) -> tuple[Nodes, Starts]:
    """One record for each node that is still split at `width`: the first below it that is not nothing."""
    count = len(tree.raw)
    if width == 32 and len(nodes):
        raise TreeError("its search tree is deeper than an IPv4 address is long")
    found, within = nodes.copy(), np.zeros(len(nodes), np.uint64)
    for bit in range(63, -1, -1):
        at = np.flatnonzero(found < count)
        if not len(at):
            return found, within
        pair = tree.children(found[at])
        if avoid is not None:
            pair[pair == avoid] = count
        right = pair[:, 0] == count
        found[at] = np.where(right, pair[:, 1], pair[:, 0])
        within[at] |= right.astype(np.uint64) << np.uint64(bit)
    if (found < count).any():
        raise TreeError("its search tree is deeper than an IPv6 address is long")
    return found, within
