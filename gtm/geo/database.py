"""One MMDB file, read whole: which area each network is in, and where the areas' middles are."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import maxminddb
import numpy as np
import numpy.typing as npt

from gtm.geo.centre import Sums, sums_of
from gtm.geo.record import NO_FACTS, RECOGNISED, Facts, Layout, RecordError, facts_of, layout_of
from gtm.geo.steps import Steps, distinct, joined, sizes
from gtm.geo.tree import NOTHING, Leaves, Tree, TreeError, leaves4, leaves6
from gtm.model.errors import ConfigError

# A /40 of IPv6 counts as one IPv4 address: it places countries that IPv4 data leaves out and hardly moves others.
_ADDRESSES_PER_64 = 2.0**-24
_READER_ERRORS = (
    maxminddb.InvalidDatabaseError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    RecursionError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a database says of itself, and what was counted in it.

    `networks4` and `networks6` count the tree's networks that have data (IPv6 down to /64).
    """

    file: str
    database_type: str
    layout: Layout
    build_epoch_s: int
    networks4: int
    networks6: int
    countries: int
    subdivisions: int
    asns: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Database:
    """A database's content: `networks4` and `networks6` number `facts` (no coordinates in them), -1 where it is silent.

    `sums` are the vector sums that areas' middles come from.
    """

    about: About
    facts: tuple[Facts, ...]
    networks4: Steps | None
    networks6: Steps | None
    sums: Sums


def read_database(path: Path, *, seen: Callable[[object], None] | None = None) -> Database:
    """The content of an MMDB file; `seen`, if given, is called with each distinct record in it.

    Raises ConfigError where it is missing, damaged or of no known layout.
    """
    try:
        return _read(path, seen)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror or error}", file=str(path)) from error
    except RecordError as error:
        raise ConfigError(f"has a bad record: {error}", file=str(path), allowed=RECOGNISED) from error
    except MemoryError as error:
        raise ConfigError("is damaged: it asks for more memory than there is", file=str(path)) from error
    except _READER_ERRORS as error:
        raise ConfigError(f"is not a sound MMDB file: {error}", file=str(path), allowed=RECOGNISED) from error


def _read(path: Path, seen: Callable[[object], None] | None) -> Database:
    with path.open("rb") as file:  # says plainly what the library calls an invalid database
        before = os.fstat(file.fileno())
    with maxminddb.open_database(path) as reader:
        meta = reader.metadata()
        tree = _tree(path, before.st_size, meta.node_count, meta.record_size, meta.ip_version)
        four, six = _family(tree, 4), _family(tree, 6)
        known = _Known(reader, seen)
        networks4 = None if four is None else known.networks(four, 1.0)
        networks6 = None if six is None else known.networks(six, _ADDRESSES_PER_64)
        kind, build_epoch_s = str(meta.database_type), int(meta.build_epoch)
    after = path.stat()
    if (before.st_ino, before.st_size, before.st_mtime_ns) != (after.st_ino, after.st_size, after.st_mtime_ns):
        raise ConfigError("changed while it was read; replace it by renaming a new file over it", file=str(path))
    if known.layout is None or all(f == NO_FACTS for f in known.facts):
        found = f"records with {known.sample}" if known.sample else "no records"
        raise ConfigError(f"has no locations: type {kind!r}, {found}", file=str(path), allowed=RECOGNISED)
    about = About(
        file=str(path),
        database_type=kind,
        layout=known.layout,
        build_epoch_s=build_epoch_s,
        networks4=0 if four is None else int((four.pointers != NOTHING).sum()),
        networks6=0 if six is None else int((six.pointers != NOTHING).sum()),
        countries=len({f.country for f in known.facts} - {None}),
        subdivisions=len({f.subdivision for f in known.facts} - {None}),
        asns=len({f.asn for f in known.facts} - {None}),
    )
    sums = sums_of(known.facts, np.array(known.weights, float))
    return _reduced(
        Database(about=about, facts=tuple(known.facts), networks4=networks4, networks6=networks6, sums=sums)
    )


def _tree(path: Path, size: int, node_count: int, record_size: int, ip_version: int) -> Tree:
    if record_size not in (24, 28, 32) or ip_version not in (4, 6) or node_count < 1:
        raise TreeError(f"{node_count} nodes of {record_size} bits for IP version {ip_version}")
    row = record_size // 4
    if node_count * row > size:
        raise TreeError(f"{node_count} nodes do not fit in {size} bytes: it has been cut short")
    raw = np.fromfile(path, np.uint8, count=node_count * row).reshape(node_count, row)
    return Tree(raw=raw, record_size=record_size, ip_version=ip_version)


def _family(tree: Tree, version: int) -> Leaves | None:
    return leaves4(tree) if version == 4 else leaves6(tree)


class _Known:
    """The facts met so far, each distinct record read once, through the library, at an address that has it."""

    def __init__(self, reader: maxminddb.Reader, seen: Callable[[object], None] | None) -> None:
        self._reader = reader
        self._seen = seen
        self._numbers: dict[int, int] = {}
        self.facts: list[Facts] = []
        self.weights: list[float] = []
        self.layout: Layout | None = None
        self.sample = ""

    def networks(self, leaves: Leaves, weight: float) -> Steps:
        """The family's networks as steps over numbers of `facts`; weighs each fact by the addresses it has."""
        steps = joined(leaves.width, leaves.starts, leaves.pointers)
        pointers, first, inverse = distinct(steps.values)
        within = leaves.within[np.searchsorted(leaves.starts, steps.starts[first])]
        numbers = np.array(
            [
                self._number(int(pointer), _address(leaves.width, int(start), int(low)))
                for pointer, start, low in zip(pointers, steps.starts[first], within, strict=True)
            ],
            np.int64,
        )
        shares = np.bincount(inverse, sizes(steps)) * weight
        for number, share in zip(numbers, shares, strict=True):
            if number != NOTHING:
                self.weights[number] += float(share)
        return steps.mapped(numbers[inverse])

    def _number(self, pointer: int, address: str) -> int:
        if pointer == NOTHING:
            return NOTHING
        number = self._numbers.get(pointer)
        if number is None:
            record = self._reader.get(address)
            if self._seen is not None:
                self._seen(record)
            if self.layout is None:
                self.layout = layout_of(record)
                keys = ", ".join(sorted(map(str, record))) if isinstance(record, dict) else repr(record)
                self.sample = keys[:200]
            number = self._numbers[pointer] = len(self.facts)
            self.facts.append(facts_of(record))
            self.weights.append(0.0)
        return number


def _address(width: int, start: int, low: int) -> str:
    if width == 32:
        return ".".join(map(str, start.to_bytes(4, "big")))
    value = start << 64 | low
    return ":".join(f"{value >> shift & 0xFFFF:x}" for shift in range(112, -1, -16))


def _reduced(database: Database) -> Database:
    """The same with coordinates taken out of the facts, so that a city database has no more facts than areas."""
    numbers: dict[Facts, int] = {NO_FACTS: NOTHING}
    kept: list[Facts] = []
    slim: list[int] = []
    for facts in database.facts:
        bare = facts._replace(latitude=None, longitude=None)
        if bare not in numbers:
            numbers[bare] = len(kept)
            kept.append(bare)
        slim.append(numbers[bare])
    renumber = np.array([*slim, NOTHING], np.int64)  # -1, nothing, indexes the last
    return Database(
        about=database.about,
        facts=tuple(kept),
        networks4=_renumbered(database.networks4, renumber),
        networks6=_renumbered(database.networks6, renumber),
        sums=database.sums,
    )


def _renumbered(steps: Steps | None, renumber: npt.NDArray[np.int64]) -> Steps | None:
    return None if steps is None else steps.mapped(renumber[steps.values])
