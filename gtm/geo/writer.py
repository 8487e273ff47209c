"""A writer of MMDB files: from functions of the address to bytes that every reader of the format understands.

Source: the MaxMind DB file format specification 2.0. The same input gives the same bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gtm.geo.steps import Blocks, Steps, blocks, paired

Datum = str | float | int | bool | Sequence["Datum"] | Mapping[str, "Datum"]

_MARKER = b"\xab\xcd\xefMaxMind.com"
_UINT16, _UINT32, _UINT64 = 5, 6, 9
_NODES = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """What the metadata section says: the type, a description in English, and when it was built (Unix seconds)."""

    database_type: str
    description: str
    build_epoch_s: int
    record_size: int = 24


def encoded(datum: Datum) -> bytes:
    """The datum in the data section's encoding; an int becomes a uint32, or a uint64 if need be."""
    match datum:
        case bool():
            return _head(14, int(datum))
        case str():
            raw = datum.encode()
            return _head(2, len(raw)) + raw
        case float():
            return _head(3, 8) + struct.pack(">d", datum)
        case int():
            return _uint(_UINT32 if datum < 1 << 32 else _UINT64, datum)
        case Mapping():
            return _head(7, len(datum)) + b"".join(encoded(k) + encoded(v) for k, v in datum.items())
        case _:
            return _head(11, len(datum)) + b"".join(map(encoded, datum))


def _uint(kind: int, value: int) -> bytes:
    raw = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return _head(kind, len(raw)) + raw


def _head(kind: int, size: int) -> bytes:
    """Control byte or bytes: types above 7 take a second byte; sizes from 29 and from 285 take one or two more."""
    more = b""
    if size >= 285:
        size, more = 30, (size - 285).to_bytes(2, "big")
    elif size >= 29:
        size, more = 29, bytes((size - 29,))
    return (bytes((kind << 5 | size,)) if kind <= 7 else bytes((size, kind - 7))) + more


def write4(networks: Steps, records: Sequence[Datum], meta: Meta) -> bytes:
    """An IPv4 database: `networks` has 32-bit steps whose values number the records, -1 for nothing."""
    return _file(_nodes(blocks(networks)), records, meta, ip_version=4)


def write6(
    networks6: Steps, networks4: Steps | None, records: Sequence[Datum], meta: Meta, *, aliases: bool = False
) -> bytes:
    """An IPv6 database with IPv4 under ::/96; with `aliases` also under ::ffff:0:0/96, 2001::/32 and 2002::/16.

    `networks6` has 64-bit steps, `networks4` 32-bit ones; their values number the records, -1 for nothing.
    """
    if networks4 is None:
        return _file(_nodes(blocks(networks6)), records, meta, ip_version=6)
    # Below nothing (-1) come the marks of prefixes that lead to chains of nodes of our own.
    marks = [(0, 64, -2), (0x2001_0000 << 32, 32, -3), (0x2002 << 48, 16, -3)] if aliases else [(0, 64, -2)]
    for start, length, mark in marks:
        networks6 = _stamped(networks6, start, length, mark)
    tree6, tree4 = _nodes(blocks(networks6)), _nodes(blocks(networks4))
    chain = _chain(with_mapped=aliases)
    base_chain, base4 = len(tree6), len(tree6) + len(chain)
    root4 = base4 if len(tree4) else int(blocks(networks4).values[0]) - _LEAF
    tree = np.concatenate([tree6, _moved(chain, base_chain), _moved(tree4, base4)])
    tree[tree == -2 - _LEAF] = base_chain
    tree[(tree == -3 - _LEAF) | (tree == _ROOT4)] = root4
    return _file(tree, records, meta, ip_version=6)


# While the tree is built, records >= 0 are nodes, value - _LEAF is a leaf's value, _ROOT4 the root of IPv4.
_LEAF = 1 << 40
_ROOT4 = -(1 << 41)


def _moved(tree: _NODES, base: int) -> _NODES:
    return np.where(tree >= 0, tree + base, tree)


def _stamped(steps: Steps, start: int, length: int, mark: int) -> Steps:
    """The function with one prefix (shorter than the whole space) set to `mark`."""
    end = start + (1 << steps.width - length)
    cuts = [0, start, end] if start else [0, end]
    inside = Steps(
        width=steps.width,
        starts=np.array(cuts, np.uint64),
        values=np.array([int(start <= c < end) for c in cuts], np.int64),
    )
    both, pairs = paired(steps, inside)
    return both.mapped(np.array([mark if within else value for value, within in pairs], np.int64)[both.values])


def _chain(*, with_mapped: bool) -> _NODES:
    """Nodes for bits 64 to 95 of ::/96, and a branch off at bit 80 for ::ffff:0:0/96 if wanted."""
    nothing = -1 - _LEAF
    rows = [[i + 1, nothing] for i in range(32)]
    rows[31][0] = _ROOT4
    if with_mapped:
        rows[16][1] = 32
        rows += [[nothing, 33 + i] for i in range(15)]
        rows[-1][1] = _ROOT4
    return np.array(rows, np.int64)


def _nodes(cut: Blocks) -> _NODES:
    """(n, 2) records of the tree over the blocks, breadth first; no row at all where one block is the whole space."""
    width = cut.width
    levels = [
        np.unique(cut.starts[cut.lengths > depth] >> np.uint64(width - depth) if depth else cut.starts[:1] * 0)
        for depth in range(int(cut.lengths.max()))
    ]
    bases = np.concatenate([[0], np.cumsum([len(level) for level in levels])])
    tree = np.full((int(bases[-1]), 2), -1 - _LEAF, np.int64)
    for depth, level in enumerate(levels):
        ends = cut.lengths == depth + 1
        prefixes = cut.starts[ends] >> np.uint64(width - depth - 1)
        _link(tree, int(bases[depth]), level, prefixes, cut.values[ends] - _LEAF)
        if depth + 1 < len(levels):
            below = levels[depth + 1]
            _link(tree, int(bases[depth]), level, below, bases[depth + 1] + np.arange(len(below)))
    return tree


def _link(tree: _NODES, base: int, level: npt.NDArray[np.uint64], prefixes: npt.NDArray[np.uint64], to: _NODES) -> None:
    """Sets the records of one level's nodes that lead to `prefixes`, which are one bit longer."""
    parents = base + np.searchsorted(level, prefixes >> np.uint64(1))
    tree[parents, (prefixes & np.uint64(1)).astype(np.int64)] = to


def _file(tree: _NODES, records: Sequence[Datum], meta: Meta, *, ip_version: int) -> bytes:
    if not len(tree):  # a reader needs at least one node
        raise ValueError("a database of one network for everything is not written")
    count = len(tree)
    data = [encoded(record) for record in records]
    offsets = np.cumsum([0] + [len(d) for d in data], dtype=np.int64)
    values = np.where(tree < 0, tree + _LEAF, 0)
    pointers = np.where(values >= 0, count + 16 + offsets[np.maximum(values, 0)], count)
    section = b"".join(data)
    # Readers insist on the integer types that the specification gives each field.
    head = {
        "binary_format_major_version": _uint(_UINT16, 2),
        "binary_format_minor_version": _uint(_UINT16, 0),
        "build_epoch": _uint(_UINT64, meta.build_epoch_s),
        "database_type": encoded(meta.database_type),
        "description": encoded({"en": meta.description}),
        "ip_version": _uint(_UINT16, ip_version),
        "languages": encoded(["en"]),
        "node_count": _uint(_UINT32, count),
        "record_size": _uint(_UINT16, meta.record_size),
    }
    metadata = _head(7, len(head)) + b"".join(encoded(key) + value for key, value in head.items())
    packed = _packed(np.where(tree < 0, pointers, tree), meta.record_size)
    return b"".join((packed, bytes(16), section, _MARKER, metadata))


def _packed(tree: _NODES, record_size: int) -> bytes:
    if int(tree.max()) >= 1 << record_size:
        raise ValueError(f"{int(tree.max())} does not fit in records of {record_size} bits")
    octets = tree.astype(">u4").view(np.uint8).reshape(len(tree), 2, 4)
    if record_size == 32:
        return octets.tobytes()
    if record_size == 24:
        return octets[:, :, 1:].tobytes()
    middle = octets[:, 0, 0] << 4 | octets[:, 1, 0]
    return np.concatenate([octets[:, 0, 1:], middle[:, None], octets[:, 1, 1:]], axis=1).tobytes()
