from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm.geo.overrides import Overrides, parse_overrides, read_overrides
from gtm.model.errors import ConfigErrors
from gtm.model.place import Coordinates

HEADER = "network,country,subdivision,latitude,longitude,asn,comment\n"


def test_rows_of_every_kind() -> None:
    text = (
        "# our own offices\n\n" + HEADER + '203.0.113.0/24,BR,BR-SP,,,,"an office, ours"\n'
        "# 198.51.100.0/24,US,,,,,\n"
        "2001:db8:5::/48,,,,,AS64500\n"
        "AS64501,JP,,35.7,139.7,,\r\n"
        "198.51.100.7,US\n"
    )
    rows = parse_overrides(text, "o.csv").rows
    assert [row.line for row in rows] == [4, 6, 7, 8]
    assert [row.network for row in rows] == [
        ip_network("203.0.113.0/24"),
        ip_network("2001:db8:5::/48"),
        None,
        ip_network("198.51.100.7/32"),
    ]
    assert [(row.country, row.subdivision, row.asn, row.of_asn) for row in rows] == [
        ("BR", "BR-SP", None, None),
        (None, None, 64500, None),
        ("JP", None, None, 64501),
        ("US", None, None, None),
    ]
    assert [row.coordinates for row in rows] == [None, None, Coordinates(latitude=35.7, longitude=139.7), None]
    assert parse_overrides(text, "o.csv").asns() == {64500, 64501}


def test_columns_in_any_order_and_few_of_them() -> None:
    assert parse_overrides("country,network\nJP,1.0.0.0/24\n", "o.csv").rows[0].country == "JP"


@pytest.mark.parametrize(
    ("row", "key", "words"),
    [
        ("203.0.113.1/24,BR", "network", "host bits"),
        ("somewhere,BR", "network", "CIDR"),
        ("ASX,BR", "network", "AS number"),
        ("AS0,BR", "network", "AS number"),
        ("AS4294967296,BR", "network", "AS number"),
        ("2001:db8::/65,BR", "network", "too long"),
        ("::ffff:1.2.3.0/120,BR", "network", "IPv4 network"),
        ("2002:102:300::/40,BR", "network", "IPv4 network"),
        ("203.0.113.0/24,Brazil", "country", "ISO 3166-1"),
        ("203.0.113.0/24,br", "country", "ISO 3166-1"),
        ("203.0.113.0/24,BR,US-CA", "subdivision", "ISO 3166-2"),
        ("203.0.113.0/24,,BR-SP", "subdivision", "ISO 3166-2"),
        ("203.0.113.0/24,BR,,91,0", "latitude", "-90 to 90"),
        ("203.0.113.0/24,BR,,nan,0", "latitude", "-90 to 90"),
        ("203.0.113.0/24,BR,,1,", "longitude", "-180 to 180"),
        ("203.0.113.0/24,,,1,1,AS1", "country", "ISO 3166-1"),
        ("203.0.113.0/24,,,,,ASN5", "asn", "AS number"),
        ("AS5,BR,,,,AS6", "asn", "gives a place"),
        ("203.0.113.0/24,", "country", "says nothing"),
        ("203.0.113.0/24,BR,,,,,,more", "line", "8 cells"),
        ('203.0.113.0/24,"BR', "line", "CSV"),
        (",BR", "network", "CIDR"),
    ],
)
def test_faults_say_where_and_what_is_allowed(row: str, key: str, words: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        parse_overrides(f"{HEADER}1.0.0.0/24,US\n{row}\n", "o.csv")
    (error,) = caught.value.errors
    assert (error.file, error.line, error.key) == ("o.csv", 3, key)
    assert words in str(error)


def test_all_faults_are_told_at_once() -> None:
    text = HEADER + "x,US\n1.0.0.0/24,US\n1.0.0.0/24,JP\nAS5,JP\nAS5,US\ny,US\n"
    with pytest.raises(ConfigErrors) as caught:
        parse_overrides(text, "o.csv")
    assert [error.line for error in caught.value.errors] == [2, 4, 6, 7]
    assert "is in line 3 already" in str(caught.value.errors[1])


@pytest.mark.parametrize("header", ["network", "country,latitude", "network,country,city", "network,country,country"])
def test_the_header_is_checked(header: str) -> None:
    with pytest.raises(ConfigErrors, match=r"o\.csv:2: header"):
        parse_overrides(f"# comment\n{header}\n1.0.0.0/24\n", "o.csv")


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "overrides.csv"
    assert read_overrides(path) == Overrides(file=str(path)), "there may be none"
    path.write_bytes(b"\xef\xbb\xbf" + HEADER.encode() + b"1.0.0.0/24,US\n")
    assert len(read_overrides(path).rows) == 1, "a byte order mark is no fault"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigErrors, match="UTF-8"):
        read_overrides(path)
    with pytest.raises(ConfigErrors, match="cannot be read"):
        read_overrides(tmp_path)


@given(st.text(alphabet="0123456789./:ASUBR,-\"'# \n\r\tx\x00é", max_size=80))
def test_any_text_is_rows_or_clear_faults(text: str) -> None:
    try:
        parsed = parse_overrides(HEADER + text, "o.csv")
    except ConfigErrors as errors:
        found = errors.errors
    else:
        found = ()
        assert all(row.network is not None or row.of_asn is not None for row in parsed.rows)
    assert all(error.line is not None for error in found)
