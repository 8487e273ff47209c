"""The database in geodata/ and the class table that comes of it."""

from __future__ import annotations

import math
import random
from ipaddress import IPv4Address, ip_address
from pathlib import Path

import geoip2.database
import maxminddb
import pytest

from gtm.geo.check import check_database
from gtm.geo.classify import classify
from gtm.geo.database import read_database
from gtm.geo.space import PlaceSpace, assemble
from gtm.geo.subdivisions import subdivision_code
from gtm.model.classes import ClassTable
from gtm.model.place import Coordinates, Locus

GEODATA = Path(__file__).resolve().parents[2] / "geodata"
DEFAULT = GEODATA / "dbip-country-lite.mmdb"
REGIONS = {
    "us-east": Coordinates(latitude=38.9, longitude=-77.4),
    "eu-west": Coordinates(latitude=53.3, longitude=-6.3),
    "ap-southeast": Coordinates(latitude=1.35, longitude=103.8),
    "us-west": Coordinates(latitude=45.6, longitude=-121.2),
}
CLIENTS = {
    "128.122.1.1": "us-east",  # New York University
    "169.229.1.1": "us-west",  # University of California, Berkeley
    "212.58.224.1": "eu-west",  # BBC, London
    "143.107.1.1": "us-east",  # University of Sao Paulo
    "133.11.1.1": "ap-southeast",  # University of Tokyo
    "129.78.1.1": "ap-southeast",  # University of Sydney
}


def distance(a: Coordinates, b: Coordinates) -> float:
    lat1, lon1, lat2, lon2 = map(math.radians, (a.latitude, a.longitude, b.latitude, b.longitude))
    cosine = math.sin(lat1) * math.sin(lat2) + math.cos(lat1) * math.cos(lat2) * math.cos(lon1 - lon2)
    return math.acos(min(1.0, cosine))


def nearest(locus: Locus) -> tuple[str, ...]:
    here = locus.place.coordinates
    return () if here is None else tuple(sorted(REGIONS, key=lambda region: distance(here, REGIONS[region])))


@pytest.fixture(scope="module")
def space() -> PlaceSpace:
    return assemble([read_database(DEFAULT)])


@pytest.fixture(scope="module")
def table(space: PlaceSpace) -> ClassTable:
    return classify(space, (), nearest, "default")


def test_it_is_small_whole_and_credited() -> None:
    report = check_database(DEFAULT, now_s=0)
    assert report.size_bytes <= 16 * 2**20
    assert report.about.countries >= 240
    assert report.about.subdivisions >= 240
    with maxminddb.open_database(DEFAULT) as reader:
        assert "DB-IP" in reader.metadata().description["en"]
    assert "https://db-ip.com" in (GEODATA / "LICENSE-dbip.txt").read_text()


def test_geoip2_reads_it() -> None:
    with geoip2.database.Reader(DEFAULT) as reader, pytest.raises(TypeError):
        reader.city("128.122.1.1")  # its type is its own, so that nobody takes it for a city database
    with maxminddb.open_database(DEFAULT) as reader:
        entry = reader.get("128.122.1.1")
    assert entry == {
        "continent": {"code": "NA"},
        "country": {"iso_code": "US"},
        "location": entry["location"],  # type: ignore[index,call-overload]
        "subdivisions": [{"iso_code": "NY"}],
    }


def test_clients_of_six_cities_go_where_they_should(space: PlaceSpace, table: ClassTable) -> None:
    for client, region in CLIENTS.items():
        class_, scope = table.find4(int(ip_address(client)))
        assert nearest(table.loci[class_])[0] == region, client
        assert nearest(Locus(place=space.find(ip_address(client)).place)) == nearest(table.loci[class_])
        assert 0 < scope <= 24


def test_the_table_agrees_with_the_library(table: ClassTable) -> None:
    chance = random.Random(5)
    with maxminddb.open_database(DEFAULT) as reader:
        for address in (IPv4Address(chance.getrandbits(32)) for _ in range(5000)):
            entry = reader.get(address)
            want: tuple[str, ...] = ()
            if isinstance(entry, dict):
                point = entry["location"]
                here = Coordinates(latitude=point["latitude"], longitude=point["longitude"])  # type: ignore[index,call-overload,arg-type]
                want = tuple(sorted(REGIONS, key=lambda region: distance(here, REGIONS[region])))
            assert nearest(table.loci[table.find4(int(address))[0]]) == want


@pytest.mark.parametrize("version", [4, 6])
def test_scopes_partition_the_space(table: ClassTable, version: int) -> None:
    chance = random.Random(6)
    bits, find = (32, table.find4) if version == 4 else (128, table.find6)
    for _ in range(3000):
        address = chance.getrandbits(32) if version == 4 else 0x20 << 120 | chance.getrandbits(124)
        class_, scope = find(address)
        low = address >> bits - scope << bits - scope
        size = 1 << bits - scope
        inside = [low, low + size - 1, *(low + chance.randrange(size) for _ in range(8))]
        assert {find(a) for a in inside} == {(class_, scope)}
        if scope:
            # A wider block of one class would show the same class and a shorter scope on its other half.
            assert find(low ^ size) != (class_, scope) or find(low ^ size)[0] != class_


def test_names_of_subdivisions_have_codes() -> None:
    names = {"Sao Paulo": "BR-SP", "São Paulo": "BR-SP", "Federal District": "BR-DF"}
    assert {name: subdivision_code("BR", name) for name in names} == names
    assert subdivision_code("RU", "Leningradskaya Oblast'") == "RU-LEN"
    assert subdivision_code("RU", "Moscow") == "RU-MOW"
    assert subdivision_code("RU", "Moscow Oblast") == "RU-MOS"
    assert subdivision_code("CN", "Inner Mongolia") == "CN-NM"
    assert subdivision_code("US", "Ontario") is None
    assert subdivision_code("GB", "England") is None
