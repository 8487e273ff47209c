from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from gtm.geo import spacefile
from gtm.geo.container import DamagedError
from gtm.geo.overrides import NO_OVERRIDES, Overrides, parse_overrides
from gtm.geo.space import NO_SOURCE, PlaceSpace, Sited, build_space
from gtm.geo.spacefile import load_space, read_space, space_key, write_space
from gtm.model.errors import ConfigError, ConfigErrors
from gtm.model.place import NOWHERE, Coordinates, Place
from tests.geo.databases import asn, flat, nested, same_steps, write

HEADER = "network,country,subdivision,latitude,longitude,asn,comment\n"


def overrides(rows: str) -> Overrides:
    return parse_overrides(HEADER + rows, "geodata/overrides.csv")


def find(space: PlaceSpace, address: str) -> Sited:
    return space.find(ip_address(address))


@pytest.fixture
def city(tmp_path: Path) -> Path:
    records = {
        "1.0.0.0/8": nested("US", "CA", 36.0, -120.0),
        "2.0.0.0/8": nested("US", "NY", 41.0, -74.0),
        "3.0.0.0/8": nested("JP", None, 35.0, 139.0),
        "2600::/16": nested("US", "NY", 41.0, -74.0),
        "2a00::/16": nested("DE", None, 51.0, 9.0),
    }
    return write(tmp_path / "city.mmdb", records)


def test_places_and_where_they_are_known_from(city: Path) -> None:
    space = build_space([city])
    place = Place(
        country="US",
        subdivision="US-CA",
        continent="NA",
        coordinates=Coordinates(latitude=36.0, longitude=-120.0),
    )
    assert find(space, "1.2.3.4") == Sited(place, "city.mmdb")
    assert find(space, "2600::1").place.subdivision == "US-NY"
    for nowhere in ("9.9.9.9", "0.0.0.0", "255.255.255.255", "2b00::1", "::", "ffff::"):
        assert find(space, nowhere) == Sited(NOWHERE, NO_SOURCE)


def test_without_any_database_everything_is_nowhere() -> None:
    space = build_space([])
    assert find(space, "1.2.3.4").place == NOWHERE
    japan = space.area("JP")
    assert japan is not None, "countries are known from our own table"
    assert japan.continent == "AS"
    assert japan.coordinates is not None


def test_areas_are_the_weighted_middle_of_their_networks(city: Path) -> None:
    space = build_space([city])
    us, california = space.area("US"), space.area("US-CA")
    assert us is not None
    assert california is not None
    assert california.coordinates == Coordinates(latitude=36.0, longitude=-120.0)
    assert us.coordinates is not None
    assert 38 < us.coordinates.latitude < 42
    assert -94 < us.coordinates.longitude < -88, "a little nearer to New York, which has IPv6 too"
    assert space.area("US-TX") is None
    assert space.area("XX") is None


def test_a_city_database_is_reduced_to_areas(tmp_path: Path) -> None:
    records = {f"1.{i}.0.0/16": flat("BR", "Bahia", -12.0 + i / 100, -40.0) for i in range(100)}
    space = build_space([write(tmp_path / "f.mmdb", records, ip_version=4)])
    assert {s.place.subdivision for s in space.sites} == {None, "BR-BA"}
    coordinates = find(space, "1.7.0.0").place.coordinates
    assert coordinates is not None
    assert coordinates.latitude == pytest.approx(-11.505, abs=0.001)


def test_middles_across_the_date_line_stay_there(tmp_path: Path) -> None:
    records = {"1.0.0.0/8": nested("FJ", None, -17.0, 179.0), "2.0.0.0/8": nested("FJ", None, -17.0, -179.0)}
    fiji = build_space([write(tmp_path / "f.mmdb", records)]).area("FJ")
    assert fiji is not None
    assert fiji.coordinates is not None
    assert abs(fiji.coordinates.longitude) == pytest.approx(180.0)


def test_a_country_database_gets_coordinates_from_the_table(tmp_path: Path) -> None:
    space = build_space([write(tmp_path / "c.mmdb", {"1.0.0.0/8": {"country": {"iso_code": "BR"}}})])
    place = find(space, "1.2.3.4").place
    assert (place.country, place.continent) == ("BR", "SA")
    assert place.coordinates == Coordinates(latitude=-20.0, longitude=-47.0)


def test_later_databases_fill_in_what_earlier_ones_lack(city: Path, tmp_path: Path) -> None:
    second = write(
        tmp_path / "more.mmdb", {"3.0.0.0/8": nested("JP", "13"), "4.0.0.0/8": nested("FR"), "1.0.0.0/8": nested("GB")}
    )
    numbers = write(tmp_path / "asn.mmdb", {"1.1.0.0/16": asn(64500), "1.2.0.0/16": asn(7), "8.0.0.0/8": asn(64500)})
    space = build_space([city, second, numbers], asns=[64500])
    assert find(space, "1.1.0.1").place.asn == 64500
    assert find(space, "1.1.0.1").place.subdivision == "US-CA", "the first database has a place for it"
    assert find(space, "1.2.0.1").place.asn is None, "no rule or override names AS7"
    assert find(space, "3.0.0.1").place.subdivision == "JP-13", "finer, and of the same country"
    assert find(space, "4.0.0.1") == Sited(find(space, "4.0.0.1").place, "more.mmdb")
    assert find(space, "8.0.0.1") == Sited(Place(asn=64500), NO_SOURCE)
    assert [about.file for about in space.databases] == [str(p) for p in (city, second, numbers)]


def test_overrides_beat_the_database_and_the_longest_wins(city: Path) -> None:
    rows = (
        "1.2.0.0/16,JP,,,,,\n1.2.3.0/24,BR,BR-SP,,,,\n1.2.3.128/25,,,,,AS64500,\n2600:0:1::/48,GB,,51.5,-0.1,,\n"
        "AS64500,FR,,,,,\n0.0.0.0/0,,,,,64501,\n255.255.255.255/32,SE,,,,,\n"
    )
    space = build_space([city], overrides(rows))
    assert find(space, "1.1.255.255").place.country == "US"
    japan = find(space, "1.2.0.0")
    assert japan.source == "overrides.csv:2"
    assert japan.place.coordinates == Coordinates(latitude=35.0, longitude=139.0), "as the database has them"
    assert find(space, "1.2.3.127").place.subdivision == "BR-SP"
    france = find(space, "1.2.3.128")
    assert (france.place.country, france.place.asn, france.source) == ("FR", 64500, "overrides.csv:6")
    assert find(space, "1.2.4.0").place.country == "JP"
    assert find(space, "2600:0:1:ffff::").place.coordinates == Coordinates(latitude=51.5, longitude=-0.1)
    assert find(space, "2600:0:2::").place.country == "US"
    assert find(space, "9.9.9.9").place == Place(asn=64501)
    assert find(space, "255.255.255.254").place == Place(asn=64501)
    assert find(space, "255.255.255.255").place.country == "SE"
    assert space.area("BR-SP") is not None


def test_an_override_for_an_as_needs_someone_who_knows_it(city: Path) -> None:
    with pytest.raises(ConfigErrors, match=r"overrides\.csv:2: network: AS5 can never match"):
        build_space([city], overrides("AS5,JP,,,,,\n"))


def test_damaged_databases_are_named(city: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.mmdb").write_bytes(city.read_bytes()[:200])
    with pytest.raises(ConfigError, match=r"bad\.mmdb"):
        build_space([city, tmp_path / "bad.mmdb"])
    with pytest.raises(ConfigError, match=r"none\.mmdb: cannot be read"):
        load_space([tmp_path / "none.mmdb"], cache=tmp_path)


def test_a_space_survives_its_file(city: Path, tmp_path: Path) -> None:
    space = build_space([city], overrides("1.2.3.128/25,JP,,,,AS5,\n"), key="k")
    write_space(tmp_path / "s.gtm", space)
    again = read_space(tmp_path / "s.gtm")
    assert same_steps(space.four, again.four)
    assert same_steps(space.six, again.six)
    for part in ("key", "sites", "areas", "databases", "fine"):
        assert getattr(space, part) == getattr(again, part)


def test_a_damaged_space_is_told_and_built_again(city: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    space = load_space([city], cache=cache)
    (kept,) = cache.iterdir()
    whole = kept.read_bytes()
    for cut in (0, 10, 100, len(whole) // 2, len(whole) - 64):
        kept.write_bytes(whole[:cut])
        with pytest.raises(DamagedError, match="space-"):
            read_space(kept)
    for changed in (0, 9, 40, len(whole) // 2):
        kept.write_bytes(whole[:changed] + bytes([whole[changed] ^ 1]) + whole[changed + 1 :])
        with pytest.raises(DamagedError):
            read_space(kept)
    assert load_space([city], cache=cache).sites == space.sites
    assert kept.read_bytes() == whole


def test_a_warm_start_does_not_read_the_database(city: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_space([city], cache=tmp_path / "cache")

    def unexpected(*_: object, **__: object) -> PlaceSpace:
        raise AssertionError("built again")

    monkeypatch.setattr(spacefile, "build_space", unexpected)
    assert load_space([city], cache=tmp_path / "cache").databases[0].countries == 3


def test_a_cache_that_cannot_be_written_is_done_without(city: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert find(load_space([city], cache=tmp_path / "file"), "3.0.0.1").place.country == "JP"


def test_the_key_covers_everything_that_matters(city: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other.mmdb", {"1.0.0.0/8": nested("JP")})
    keys = [
        space_key([city]),
        space_key([other]),
        space_key([city, other]),
        space_key([other, city]),
        space_key([city], asns=[5]),
        space_key([city], overrides("1.0.0.0/8,JP,,,,,\n")),
    ]
    assert len(set(keys)) == len(keys)
    assert space_key([city], NO_OVERRIDES, asns=[5, 5]) == keys[4]
