"""The place space: all unicast addresses of both families, cut into places by databases and overrides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gtm.geo.centre import Sums, Vector, areas_of, coordinates_of, table_coordinates
from gtm.geo.countries import COUNTRIES
from gtm.geo.database import About, Database, read_database
from gtm.geo.nest import OUTSIDE, nest
from gtm.geo.overrides import NO_OVERRIDES, OverrideRow, Overrides
from gtm.geo.record import NO_FACTS, Facts
from gtm.geo.steps import Steps, constant, paired
from gtm.model.address import IPAddress, IPNetwork
from gtm.model.errors import ConfigError, ConfigErrors
from gtm.model.place import NOWHERE, Coordinates, Place

NO_SOURCE = "no database"


class Sited(NamedTuple):
    """A place and where it is known from: a database's file, or an overrides file and line ("overrides.csv:12")."""

    place: Place
    source: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlaceSpace:
    """Where every address is.

    key        names the inputs: equal keys, equal spaces
    sites      the distinct places; `four` (32-bit) and `six` (64-bit) number them
    areas      the place of a country or subdivision as a whole, by ISO 3166-1 or 3166-2 code
    fine       the IPv4 override networks longer than /24
    databases  what the databases say of themselves, in their order
    """

    key: str
    sites: tuple[Sited, ...]
    four: Steps
    six: Steps
    fine: tuple[IPNetwork, ...]
    areas: Mapping[str, Place]
    databases: tuple[About, ...]

    def find(self, address: IPAddress) -> Sited:
        """The place of one address (normalised by the caller: no IPv4 inside IPv6) and where it is known from."""
        value = int(address)
        return self.sites[self.four.at(value) if address.version == 4 else self.six.at(value >> 64)]

    def area(self, code: str) -> Place | None:
        """The place that stands for a country ("BR") or a subdivision ("US-CA"), or None for an unknown code."""
        return self.areas.get(code)


class _Found(NamedTuple):
    """Facts and the number of the database that gave the location, -1 for none."""

    facts: Facts
    source: int


_SILENT = _Found(NO_FACTS, -1)


def build_space(
    databases: Sequence[Path], overrides: Overrides = NO_OVERRIDES, *, asns: Iterable[int] = (), key: str = ""
) -> PlaceSpace:
    """The space of some database files, the earlier ones first, and the overrides that beat them all.

    A later database fills in what earlier ones lack. AS numbers are kept only where they are in `asns` or in an
    override. Raises ConfigError (a database) or ConfigErrors (overrides that no database can match).
    """
    return assemble([read_database(path) for path in databases], overrides, asns=asns, key=key)


def assemble(
    databases: Sequence[Database], overrides: Overrides = NO_OVERRIDES, *, asns: Iterable[int] = (), key: str = ""
) -> PlaceSpace:
    """The same as build_space, of databases that have been read."""
    wanted = frozenset(asns) | overrides.asns()
    middles = _Middles(databases)
    _check_asns(databases, overrides)
    by_asn = {row.of_asn: row for row in overrides.rows if row.of_asn is not None}
    files = [Path(database.about.file).name for database in databases]
    sites: dict[Sited, int] = {}
    families = []
    for version in (4, 6):
        found, steps = _layered(databases, version, wanted)
        rows = [row for row in overrides.rows if row.network is not None]
        inner = nest([row.network for row in rows if row.network is not None], version).steps
        both, pairs = paired(steps, inner)
        numbers = []
        for number, row_number in pairs:
            row = rows[row_number] if row_number != OUTSIDE else None
            sited = _sited(found[number], row, by_asn, files, Path(overrides.file).name, middles)
            numbers.append(sites.setdefault(sited, len(sites)))
        families.append(both.mapped(np.array(numbers, np.int64)[both.values]))
    return PlaceSpace(
        key=key,
        sites=tuple(sites),
        four=families[0],
        six=families[1],
        fine=tuple(n for row in overrides.rows if (n := row.network) and n.version == 4 and n.prefixlen > 24),
        areas=middles.areas(overrides),
        databases=tuple(database.about for database in databases),
    )


def _check_asns(databases: Sequence[Database], overrides: Overrides) -> None:
    known = any(database.about.asns for database in databases)
    given = {row.asn for row in overrides.rows}
    errors = [
        ConfigError(
            f"AS{row.of_asn} can never match: no database has AS numbers, and no row gives this one to a network",
            file=overrides.file,
            line=row.line,
            key="network",
        )
        for row in overrides.rows
        if row.of_asn is not None and not known and row.of_asn not in given
    ]
    if errors:
        raise ConfigErrors(errors)


def _layered(databases: Sequence[Database], version: int, wanted: frozenset[int]) -> tuple[list[_Found], Steps]:
    """What the databases find together, and where."""
    width = 32 if version == 4 else 64
    found, steps = [_SILENT], constant(width, 0)
    for source, database in enumerate(databases):
        networks = database.networks4 if version == 4 else database.networks6
        if networks is None:
            continue
        mine = [_kept(facts, source, wanted) for facts in database.facts]
        steps, pairs = paired(steps, networks)
        merged: dict[_Found, int] = {}
        numbers = [merged.setdefault(_merged(found[a], mine[b] if b >= 0 else _SILENT), len(merged)) for a, b in pairs]
        found, steps = list(merged), steps.mapped(np.array(numbers, np.int64)[steps.values])
    return found, steps


def _kept(facts: Facts, source: int, wanted: frozenset[int]) -> _Found:
    asn = facts.asn if facts.asn in wanted else None
    located = facts.country is not None or facts.continent is not None
    return _Found(facts._replace(asn=asn), source if located else -1)


def _merged(first: _Found, second: _Found) -> _Found:
    """The first's facts, filled in by the second's."""
    a, b = first.facts, second.facts
    asn = a.asn if a.asn is not None else b.asn
    # A subdivision belongs to its country: take it from the second only where that agrees on the country.
    finer = b.country is not None and (a.country is None or (a.country == b.country and a.subdivision is None))
    if first.source < 0 or (finer and a.continent in (None, b.continent)):
        return _Found(b._replace(asn=asn), second.source)
    return _Found(a._replace(asn=asn), first.source)


def _sited(
    found: _Found,
    row: OverrideRow | None,
    by_asn: Mapping[int, OverrideRow],
    files: Sequence[str],
    file: str,
    middles: _Middles,
) -> Sited:
    asn = row.asn if row is not None and row.asn is not None else found.facts.asn
    if row is None or row.country is None:
        row = by_asn.get(asn) if asn is not None else None
    if row is not None and row.country is not None:
        facts = Facts(continent=COUNTRIES[row.country].continent, country=row.country, subdivision=row.subdivision)
        return Sited(middles.place(facts._replace(asn=asn), row.coordinates), f"{file}:{row.line}")
    facts = found.facts._replace(asn=asn)
    return Sited(middles.place(facts), files[found.source] if found.source >= 0 else NO_SOURCE)


class _Middles:
    """Where areas are: by the first database that has coordinates in them, else by the table of countries."""

    def __init__(self, databases: Sequence[Database]) -> None:
        sums: dict[str, Vector] = {}
        continents = {code: country.continent for code, country in COUNTRIES.items()}
        self._known: dict[str, Facts] = {}
        for merged in _pooled(databases):
            for area, vector in merged.items():
                sums.setdefault(area, vector)
        self._middles = {area: coordinates_of(vector) for area, vector in sums.items()}
        for database in databases:
            for facts in database.facts:
                if facts.country is not None:
                    continents.setdefault(facts.country, facts.continent or "")
                if facts.subdivision is not None:
                    self._known.setdefault(facts.subdivision, facts._replace(asn=None))
        for code, continent in continents.items():
            self._known.setdefault(code, Facts(continent=continent or None, country=code))

    def place(self, facts: Facts, coordinates: Coordinates | None = None) -> Place:
        """The place of some facts, with the middle of the finest area known unless coordinates are given."""
        if coordinates is None:
            middles = (self._middles.get(area) for area in areas_of(facts))
            coordinates = next((m for m in middles if m is not None), None) or table_coordinates(facts.country)
        if facts == NO_FACTS and coordinates is None:
            return NOWHERE
        return Place(
            country=facts.country,
            subdivision=facts.subdivision,
            continent=facts.continent,
            coordinates=coordinates,
            asn=facts.asn,
        )

    def areas(self, overrides: Overrides) -> dict[str, Place]:
        """Every country, and every subdivision that a database or an override names."""
        known = dict(self._known)
        for row in overrides.rows:
            if row.country is not None and row.subdivision is not None:
                continent = COUNTRIES[row.country].continent
                facts = Facts(continent=continent, country=row.country, subdivision=row.subdivision)
                known.setdefault(row.subdivision, facts)
        return {code: self.place(facts) for code, facts in sorted(known.items())}


def _pooled(databases: Sequence[Database]) -> list[Sums]:
    """The databases' sums, earliest first; those of a pair for IPv4 and IPv6 alone are added up as one database."""
    pools: list[tuple[bool, bool, dict[str, Vector]]] = []
    for database in databases:
        four, six = database.networks4 is not None, database.networks6 is not None
        if pools and four != six and pools[-1][:2] == (not four, not six):
            last = pools.pop()[2]
            both = {area: last.get(area, 0.0) + database.sums.get(area, 0.0) for area in last.keys() | database.sums}
            pools.append((True, True, {area: np.asarray(vector) for area, vector in both.items()}))
        else:
            pools.append((four, six, dict(database.sums)))
    return [pool for _, _, pool in pools]
