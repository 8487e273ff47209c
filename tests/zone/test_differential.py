"""Our reading of master files is dnspython's, for every zone of the corpus and for files made up at random."""

from __future__ import annotations

from pathlib import Path

import dns.name
import dns.node
import dns.rdatatype
import dns.zone
import dns.zonefile
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gtm.model.errors import ConfigErrors
from gtm.model.zone import Zone
from gtm.zone.load import load_zones, zone_name

CORPUS = sorted((Path(__file__).parents[1] / "authority" / "zones").glob("*/*.zone"))

Contents = dict[tuple[bytes, int], tuple[int, frozenset[bytes]]]


def ours(zone: Zone) -> Contents:
    return {
        (owner, rtype): (rrset.ttl_s, frozenset(rrset.rdatas))
        for owner, rrsets in zone.nodes.items()
        for rtype, rrset in rrsets.items()
    }


def theirs(text: str, origin: str) -> Contents:
    """What dnspython makes of a file; RRSIGs of one owner are put together as we have them."""
    zone = dns.zone.from_text(text, origin, relativize=False, check_origin=False)
    found: Contents = {}
    for owner, rdataset in zone.iterate_rdatasets():
        wire = owner.to_wire() or b""
        key = (wire.lower(), int(rdataset.rdtype))
        ttl_s, rdatas = found.get(key, (rdataset.ttl, frozenset()))
        found[key] = min(ttl_s, rdataset.ttl), rdatas | {rdata.to_wire() or b"" for rdata in rdataset}
    return found


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_corpus_zones(path: Path) -> None:
    origin = zone_name(path.name)
    assert origin is not None
    zone = load_zones({origin: str(path)}).zones[0]
    assert ours(zone) == theirs(path.read_text(), origin)
    assert zone.origin == (dns.name.from_text(origin).to_wire() or b"")
    assert zone.source == str(path)


owners = st.sampled_from(["@", "a", "b.a", "*", "*.w", r"x\.y", r"\065", "a.z.test.", "UP", ""])
targets = st.sampled_from(["a", "@", "host.elsewhere.", "b.a", r"q\032q", ".", "A"])
ttls = st.sampled_from(["", "300", "1h", "0", "2w3d", "5M"])
classes = st.sampled_from(["", "IN", "in"])
numbers = st.integers(0, 65535).map(str)
words = st.text(
    st.characters(codec="ascii", exclude_characters='\n\r"\\;()', exclude_categories=["Cc", "Zs"]),
    min_size=1,
    max_size=12,
)
strings = st.one_of(
    words, words.map(lambda w: f'"{w} x"'), st.just('""'), st.just(r'"a\"b\007"'), st.just(r"un\ quoted")
)
rdatas = st.one_of(
    st.ip_addresses(v=4).map(lambda a: f"A {a}"),
    st.ip_addresses(v=6).map(lambda a: f"AAAA {a}"),
    targets.map(lambda n: f"NS {n}"),
    targets.map(lambda n: f"PTR {n}"),
    st.tuples(numbers, targets).map(lambda p: f"MX {p[0]} {p[1]}"),
    st.tuples(numbers, numbers, numbers, targets).map(lambda p: f"SRV {' '.join(p)}"),
    st.lists(strings, min_size=1, max_size=3).map(lambda s: f"TXT {' '.join(s)}"),
    st.lists(strings, min_size=1, max_size=3).map(lambda s: "TXT ( " + " ; comment\n  ".join(s) + "\n )"),
    st.sampled_from(
        [
            'CAA 0 issue "ca.test"',
            r"TYPE65280 \# 2 0A0B",
            "DS 1 8 1 00112233445566778899AABBCCDDEEFF00112233",
            "TXT a;b",
        ]
    ),
)
records = st.tuples(owners, ttls, classes, rdatas).map(lambda p: f"{p[0]} {p[1]} {p[2]} {p[3]}")
lines = st.one_of(
    records, records, records, st.sampled_from(["", "; comment", "$TTL 77", "$ORIGIN sub", "$ORIGIN z.test.", "\t  \t"])
)


@given(st.lists(lines, max_size=12), st.booleans())
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_zones(tmp_path: Path, body: list[str], default: bool) -> None:
    head = "$TTL 1d\n" if default else ""
    text = head + "@ 600 IN SOA ns.z.test. h 1 2h 3 4 5\n@ IN NS ns.elsewhere.\n" + "\n".join(body) + "\n"
    path = tmp_path / "z.test.zone"
    path.write_text(text)
    zone = load_zones({"z.test.": str(path)}).zones[0]
    mine, other = ours(zone), theirs(text, "z.test.")
    assert {key: rdatas for key, (_, rdatas) in mine.items()} == {key: rdatas for key, (_, rdatas) in other.items()}
    # Where TTLs of an RRset differ we take the least (RFC 2181 section 5.2 leaves it to us); so does dnspython.
    assert mine == other


tokens = st.sampled_from(
    [
        "@",
        "a",
        "IN",
        "CH",
        "A",
        "AAAA",
        "TXT",
        "MX",
        "CNAME",
        "SOA",
        "NS",
        "1.2.3.4",
        "::1",
        "300",
        "x.y.",
        '"',
        "(",
        ")",
        ";",
        "\\",
        "\n",
        "\n",
        " ",
        "\t",
        "$TTL",
        "$ORIGIN",
        "$INCLUDE",
        "$GENERATE",
        "1-3",
        "é",
        "\\#",
        "TYPE1",
        "CLASS1",
        "\0",
        "a" * 64,
        "99999999999",
        "DNAME",
        "RRSIG",
        "OPT",
    ]
)


@given(st.lists(tokens, max_size=30).map(" ".join))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_file_breaks_the_reader(tmp_path: Path, text: str) -> None:
    path = tmp_path / "z.test.zone"
    path.write_text("@ 600 IN SOA ns h 1 2 3 4 5\n@ 600 NS ns\n" + text)
    try:
        load_zones({"z.test.": str(path)})
    except ConfigErrors as errors:
        assert all(error.line is None or error.line >= 1 for error in errors.errors)
        assert all(error.file == str(path) for error in errors.errors if "cannot be read" not in error.message)


@given(st.binary(max_size=200))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_octets_break_the_reader(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "z.test.zone"
    path.write_bytes(data)
    with pytest.raises(ConfigErrors):
        load_zones({"z.test.": str(path)})
