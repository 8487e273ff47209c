"""Trees, layouts and damage: what is read from an MMDB file."""

from __future__ import annotations

import random
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

import geoip2.database
import maxminddb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gtm.geo.check import check_database
from gtm.geo.database import Database, read_database
from gtm.geo.record import Facts, Layout, RecordError, facts_of
from gtm.geo.writer import Datum
from gtm.model.address import IPAddress, IPNetwork
from gtm.model.errors import ConfigError
from tests.geo.databases import BUILT_S, address4, asn, flat, innermost, nested, write

COUNTRIES = ("US", "GB", "JP", "BR", "AU", "DE", "FR", "IN")

nets4 = st.builds(
    lambda value, length: IPv4Network((value >> 32 - length << 32 - length, length)),
    st.integers(0, 2**32 - 1),
    st.integers(1, 32),
)
nets6 = st.builds(
    lambda value, length: IPv6Network(((0x20 << 120 | value) >> 128 - length << 128 - length, length)),
    st.integers(0x10 << 112, 2**120 - 1),  # 2010:: and above, clear of the aliases of IPv4
    st.integers(12, 64),
)


def country(database: Database, address: IPAddress) -> str | None:
    steps = database.networks4 if address.version == 4 else database.networks6
    if steps is None:
        return None
    number = steps.at(int(address) if address.version == 4 else int(address) >> 64)
    return database.facts[number].country if number >= 0 else None


def edges(table: list[IPNetwork], version: int) -> list[IPAddress]:
    found: list[IPAddress] = []
    for network in table:
        if network.version == version:
            first, last = int(network.network_address), int(network.broadcast_address)
            step, top = (1, 2**32 - 1) if version == 4 else (2**64, 2**128 - 1)
            values = (first, last, max(first - step, 0), min(last + step, top))
            found += [address4(v) if version == 4 else IPv6Address(v) for v in values]
    return found


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(
    known4=st.lists(nets4, min_size=1, max_size=8, unique=True),
    known6=st.lists(nets6, min_size=1, max_size=8, unique=True),
    record_size=st.sampled_from((24, 28, 32)),
    shape=st.sampled_from(("v4", "v6", "v6 with v4", "v6 with v4 and aliases")),
)
def test_every_address_is_where_the_library_says(
    tmp_path: Path, known4: list[IPv4Network], known6: list[IPv6Network], record_size: int, shape: str
) -> None:
    mine: list[IPNetwork] = [*(known4 if "v4" in shape else []), *(known6 if "v6" in shape else [])]
    table = {network: COUNTRIES[i % len(COUNTRIES)] for i, network in enumerate(mine)}
    path = write(
        tmp_path / "t.mmdb",
        {str(n): nested(c) for n, c in table.items()},
        ip_version=4 if shape == "v4" else 6,
        record_size=record_size,
        with4="v4" in shape,
        aliases="aliases" in shape,
    )
    database = read_database(path)
    versions = [v for v in (4, 6) if f"v{v}" in shape]
    with maxminddb.open_database(path) as reader:
        for address in [a for version in versions for a in edges(mine, version)]:
            entry = reader.get(address)
            want = innermost(address, table)
            assert (entry["country"]["iso_code"] if isinstance(entry, dict) else None) == want  # type: ignore[index,call-overload]
            assert country(database, address) == want
        if "aliases" in shape:
            first = int(known4[0].network_address)
            want = innermost(address4(first), table)
            for alias in (0xFFFF << 32 | first, 0x2002 << 112 | first << 80):
                entry = reader.get(IPv6Address(alias))
                assert (entry["country"]["iso_code"] if isinstance(entry, dict) else None) == want  # type: ignore[index,call-overload]
            assert country(database, IPv6Address(0x2002 << 112 | first << 80)) is None, "aliases are not walked"


@pytest.mark.parametrize(
    ("record", "facts"),
    [
        (nested("US", "CA", 37.0, -122.0), Facts("NA", "US", "US-CA", 37.0, -122.0)),
        (nested("JP"), Facts("AS", "JP", None, 1.0, 2.0)),
        ({"registered_country": {"iso_code": "FR"}}, Facts("EU", "FR")),
        ({"continent": {"code": "EU"}}, Facts("EU")),
        ({"continent": {"code": "EU"}, "country": {"iso_code": "TR"}}, Facts("EU", "TR")),
        (
            {"country": {"iso_code": "BR"}, "subdivisions": [{"names": {"en": "São Paulo"}}]},
            Facts("SA", "BR", "BR-SP"),
        ),
        ({"country": {"iso_code": "US"}, "subdivisions": [{"names": {"en": "Atlantis"}}]}, Facts("NA", "US")),
        (asn(64500), Facts(asn=64500)),
        (flat("RU", "Moscow Oblast", 55.5, 37.5), Facts("EU", "RU", "RU-MOS", 55.5, 37.5)),
        (flat("RU", "Moscow"), Facts("EU", "RU", "RU-MOW", 1.0, 2.0)),
        (flat("GB", "Scotland"), Facts("EU", "GB", None, 1.0, 2.0)),
        ({"country_code": "ZZ"}, Facts()),
        ({"country_code": "DE", "latitude": "", "longitude": ""}, Facts("EU", "DE")),
        ({"country_code": "DE", "latitude": "51.5", "longitude": "7"}, Facts("EU", "DE", None, 51.5, 7.0)),
        ({"country": "SE", "asn": "AS1257"}, Facts("EU", "SE", asn=1257)),
        ({}, Facts()),
    ],
)
def test_records_of_every_layout(record: Datum, facts: Facts) -> None:
    assert facts_of(record) == facts


@pytest.mark.parametrize(
    "record",
    [
        {"country": {"iso_code": 5}},
        {"country": {"iso_code": "usa"}},
        {"country": {"iso_code": {"a": 1}}},
        {"country": {"iso_code": "US"}, "subdivisions": {"iso_code": "CA"}},
        {"country": {"iso_code": "US"}, "subdivisions": [{"iso_code": "c\x00"}]},
        {"country": {"iso_code": "US"}, "location": {"latitude": 91.0, "longitude": 0.0}},
        {"country": {"iso_code": "US"}, "location": {"latitude": float("nan"), "longitude": 0.0}},
        {"country": {"iso_code": "US"}, "location": "here"},
        {"continent": {"code": ["EU"]}},
        {"country_code": "DE", "state1": 5},
        {"country_code": "DE", "longitude": "east"},
        {"autonomous_system_number": 2**32},
        {"autonomous_system_number": "9" * 5000},
        {"asn": {"number": 5}},
    ],
)
def test_wrong_values_in_records_are_named(record: object) -> None:
    with pytest.raises(RecordError):
        facts_of(record)


def test_layouts_are_recognised_whole(tmp_path: Path) -> None:
    city = read_database(write(tmp_path / "city.mmdb", {"1.0.0.0/8": nested("US", "NY"), "2400::/12": nested("JP")}))
    assert (city.about.layout, city.about.networks4, city.about.networks6) == (Layout.NESTED, 1, 1)
    assert (city.about.countries, city.about.subdivisions, city.about.build_epoch_s) == (2, 1, BUILT_S)
    loose = read_database(write(tmp_path / "f.mmdb", {"1.0.0.0/8": flat("US", "New York")}, ip_version=4))
    assert (loose.about.layout, loose.networks6, loose.facts) == (Layout.FLAT, None, (Facts("NA", "US", "US-NY"),))
    numbers = read_database(write(tmp_path / "a.mmdb", {"1.0.0.0/8": asn(5)}, ip_version=4))
    assert (numbers.about.asns, numbers.facts) == (1, (Facts(asn=5),))


def test_geoip2_reads_what_is_written(tmp_path: Path) -> None:
    records = {"1.2.0.0/16": {"continent": {"code": "NA"}, **dict(nested("US", "CA", 37.5, -122.5))}}  # type: ignore[arg-type]
    path = write(tmp_path / "c.mmdb", records, kind="GeoLite2-City")
    with geoip2.database.Reader(path) as reader:
        found = reader.city("1.2.3.4")
    assert (found.continent.code, found.country.iso_code, found.subdivisions[0].iso_code) == ("NA", "US", "CA")
    assert (found.location.latitude, found.location.longitude) == (37.5, -122.5)


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.mmdb", {"1.0.0.0/8": {"is_anonymous": True}}, ip_version=4, kind="Anonymous-IP")
    with pytest.raises(ConfigError, match=r"x\.mmdb.*Anonymous-IP.*is_anonymous.*GeoLite2"):
        read_database(path)


@pytest.mark.parametrize("content", [b"", b"\n", b"PK\x03\x04 not a database", bytes(100_000), b"\xff" * 5000])
def test_files_that_are_no_database_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.mmdb"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"bad\.mmdb"):
        read_database(path)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.mmdb", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read"):
            read_database(path)


def sample(path: Path) -> bytes:
    entries = {
        f"{i}.{j}.0.0/{16 + (i + j) % 9}": nested(COUNTRIES[(i + j) % 8], "X1") for i in range(9) for j in (1, 7)
    }
    entries |= {f"2a0{i}::/{24 + i}": flat(COUNTRIES[i], "California") for i in range(8)}
    return write(path, entries, aliases=True).read_bytes()


def read_or_refuse(path: Path, content: bytes) -> bool:
    """Whether damaged content is refused; fails by any error but ConfigError."""
    path.write_bytes(content)
    try:
        read_database(path)
    except ConfigError as error:
        return error.file == str(path)
    return False


def test_a_database_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    whole = sample(tmp_path / "whole.mmdb")
    random_cuts = random.Random(2).sample(range(len(whole)), 150)
    for cut in (*range(40), *random_cuts, *range(len(whole) - 120, len(whole))):
        assert read_or_refuse(tmp_path / "cut.mmdb", whole[:cut]), cut


def test_a_database_with_changed_bytes_is_read_or_refused(tmp_path: Path) -> None:
    whole = sample(tmp_path / "whole.mmdb")
    chance = random.Random(3)
    refused = 0
    for _ in range(800):
        changed = bytearray(whole)
        for _ in range(chance.choice((1, 1, 2, 8))):
            # The tree, the data and the metadata each get their part.
            where = chance.choice((chance.randrange(len(whole)), len(whole) - chance.randrange(1, 400)))
            changed[where] = chance.choice((0, 255, chance.randrange(256), changed[where] ^ 1 << chance.randrange(8)))
        refused += read_or_refuse(tmp_path / "changed.mmdb", bytes(changed))
    assert refused > 50


def test_a_tree_with_a_loop_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "t.mmdb", {"1.0.0.0/8": nested("US")}, ip_version=4)
    raw = bytearray(path.read_bytes())
    raw[0:6] = bytes(6)  # both records of the first node lead to itself
    assert read_or_refuse(path, bytes(raw))


def test_check_database_reports_and_refuses_samples(tmp_path: Path) -> None:
    small = write(tmp_path / "small.mmdb", {"1.0.0.0/8": nested("US")})
    with pytest.raises(ConfigError, match="only 1 networks"):
        check_database(small, now_s=0)
    names = "US GB JP BR AU DE FR IN CN RU CA MX AR CL ES IT NL SE NO FI PL TR"
    entries = {f"{i}.{j}.0.0/16": nested(names.split()[(i + j) % 22]) for i in range(1, 12) for j in range(100)}
    report = check_database(write(tmp_path / "big.mmdb", entries), now_s=BUILT_S + 86_400 * 40)
    assert report.age_s == 86_400 * 40
    assert (report.about.countries, report.about.layout) == (22, Layout.NESTED)
    assert "40 days old" in "\n".join(report.lines())
