"""Origin validation (RFC 6811) beside an oracle that only knows the RFC's definitions."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtm.decide.announce.rpki import Validity, Vrp, Vrps, preflight
from gtm.model.address import IPNetwork
from tests.decide.announce.scenes import neighbour, service, speaker

Row = tuple[str, int, int]


def oracle(rows: list[Row], prefix: IPNetwork, asn: int) -> tuple[Validity, set[Row]]:
    """RFC 6811 section 2, word for word: Covered, Matched, and the three states."""
    covering = set()
    matched = False
    for text, length_max, holder in rows:
        vrp = ip_network(text)
        if vrp.version == prefix.version and vrp.prefixlen <= prefix.prefixlen and prefix.network_address in vrp:
            covering.add((str(vrp), length_max, holder))
            # No route has AS 0 as its origin (RFC 6483 section 4, RFC 7607).
            if prefix.prefixlen <= length_max and holder == asn and asn != 0:
                matched = True
    if matched:
        return Validity.VALID, covering
    return (Validity.INVALID if covering else Validity.NOT_FOUND), covering


@st.composite
def networks(draw: st.DrawFn) -> IPNetwork:
    """Networks that are often within each other: few bits differ, lengths from the whole space to a single address."""
    if draw(st.booleans()):
        base = draw(st.sampled_from([0xC0000200, 0xC0000280, 0xC0FFFF00, 0x0A000000, 0xFFFFFFFF]))
        length = draw(st.one_of(st.integers(0, 32), st.integers(22, 26)))
        return IPv4Network((base, length), strict=False)
    base = draw(st.sampled_from([0x20010DB8 << 96, (0x20010DB8 << 96) + (0x61 << 80), (1 << 128) - 1]))
    length = draw(st.one_of(st.integers(0, 128), st.integers(30, 50)))
    return IPv6Network((base, length), strict=False)


@st.composite
def rows(draw: st.DrawFn) -> Row:
    network = draw(networks())
    return str(network), draw(st.integers(network.prefixlen, network.max_prefixlen)), draw(st.integers(0, 4))


@settings(deadline=None, max_examples=400)
@given(st.lists(rows(), max_size=25), networks(), st.integers(0, 4))
def test_every_route_is_judged_as_the_rfc_defines(listed: list[Row], prefix: IPNetwork, asn: int) -> None:
    found = Vrps(listed).validate(prefix, asn)
    validity, covering = oracle(listed, prefix, asn)
    assert found.validity is validity
    assert {(str(vrp.prefix), vrp.length_max, vrp.asn) for vrp in found.covering} == covering
    assert len(found.covering) == len(covering)
    assert [vrp.prefix.prefixlen for vrp in found.covering] == sorted(vrp.prefix.prefixlen for vrp in found.covering)


LISTED: list[Row] = [
    ("203.0.113.0/24", 24, 64512),
    ("203.0.112.0/22", 24, 64496),
    ("198.51.100.0/24", 24, 0),
    ("2001:db8::/32", 48, 64512),
]


@pytest.mark.parametrize(
    ("prefix", "asn", "validity"),
    [
        ("203.0.113.0/24", 64512, Validity.VALID),
        ("203.0.113.0/24", 64496, Validity.VALID),
        ("203.0.113.0/24", 64500, Validity.INVALID),
        ("203.0.113.0/25", 64512, Validity.INVALID),  # too long
        ("203.0.112.0/21", 64496, Validity.NOT_FOUND),  # wider than any
        ("198.51.100.0/24", 0, Validity.INVALID),  # AS 0 says: nobody
        ("2001:db8:61::/48", 64512, Validity.VALID),
        ("2001:db8:61::/49", 64512, Validity.INVALID),
        ("192.0.2.0/24", 64512, Validity.NOT_FOUND),
    ],
)
def test_usual_cases(prefix: str, asn: int, validity: Validity) -> None:
    assert Vrps(LISTED).validate(ip_network(prefix), asn).validity is validity


def test_the_evidence_has_words() -> None:
    found = Vrps(LISTED).validate(ip_network("203.0.113.0/25"), 64500)
    assert list(map(str, found.covering)) == [
        "203.0.112.0/22 up to /24 by AS64496",
        "203.0.113.0/24 up to /24 by AS64512",
    ]
    assert found.covering[0] == Vrp(ip_network("203.0.112.0/22"), 24, 64496)


def test_each_vrp_counts_once() -> None:
    assert Vrps([*LISTED, *LISTED]).count == len(LISTED)
    assert Vrps([]).count == 0


@pytest.mark.parametrize(
    "row",
    [
        ("203.0.113.0/24", 23, 1),
        ("203.0.113.0/24", 33, 1),
        ("2001:db8::/32", 129, 1),
        ("203.0.113.0/24", 24, -1),
        ("203.0.113.0/24", 24, 1 << 32),
        ("203.0.113.1/24", 24, 1),
        ("203.0.113/24", 24, 1),
        ("203.0.113.0/33", 33, 1),
        ("203.0.113.256/32", 32, 1),
        ("203.0.113.00/24", 24, 1),
        ("٢٠٣.0.113.0/24", 24, 1),
        ("203.0.113.0/²", 24, 1),
        ("2001:db8::1/32", 48, 1),
        ("nonsense", 24, 1),
        ("", 24, 1),
    ],
)
def test_half_a_list_never_passes_for_a_whole_one(row: Row) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # of the address library or of our own, each with what it was given
        Vrps([*LISTED, row])


def test_preflight_takes_the_worst_of_the_origins() -> None:
    two = speaker("a1", "a", neighbour(), neighbour(address=ip_address("198.51.100.9"), local_asn=64500))
    found = preflight(Vrps(LISTED), two, service())
    assert {str(prefix): one.validity for prefix, one in found.items()} == {
        "203.0.113.0/24": Validity.INVALID,
        "2001:db8:61::/48": Validity.INVALID,
    }
    one = preflight(Vrps(LISTED), speaker(), service())
    assert {finding.validity for finding in one.values()} == {Validity.VALID}
