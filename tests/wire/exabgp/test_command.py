"""Routes to commands, and what is refused before ExaBGP sees it."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given

from gtm.model.route import (
    GRACEFUL_SHUTDOWN,
    Communities,
    Community,
    ExtendedCommunity,
    ExtendedKind,
    LargeCommunity,
    Route,
)
from gtm.wire.exabgp import command
from tests.wire.exabgp.routes import route, routes

FULL = route(
    med=50,
    local_pref=200,
    as_path=(65010, 65010),
    path_id=1,
    communities=Communities(
        standard=(Community(65010, 100), GRACEFUL_SHUTDOWN),
        extended=(
            ExtendedCommunity(ExtendedKind.TARGET, 65010, 7),
            ExtendedCommunity(ExtendedKind.ORIGIN, 70000, 7),
            ExtendedCommunity(ExtendedKind.TARGET, IPv4Address("192.0.2.1"), 7),
            ExtendedCommunity(ExtendedKind.BANDWIDTH, 65010, 3000000),
        ),
        large=(LargeCommunity(65010, 1, 2),),
    ),
)


def test_a_route_with_everything() -> None:
    assert command.announce(FULL) == (
        "neighbor 127.0.0.1 announce route 203.0.113.0/24 next-hop 192.0.2.1 med 50 local-preference 200 "
        "as-path [ 65010 65010 ] community [ 65010:100 65535:0 ] large-community [ 65010:1:2 ] "
        "extended-community [ 0x0002fdf200000007 0x0203000111700007 0x0102c00002010007 bandwidth:65010:3000000 ] "
        "path-information 0.0.0.1"
    )
    assert command.withdraw(FULL) == (
        "neighbor 127.0.0.1 withdraw route 203.0.113.0/24 next-hop 192.0.2.1 path-information 0.0.0.1"
    )
    assert command.key(FULL) == "127.0.0.1 203.0.113.0/24 1"


def test_a_route_with_nothing() -> None:
    assert command.announce(route(next_hop=None)) == "neighbor 127.0.0.1 announce route 203.0.113.0/24 next-hop self"


@given(routes())
def test_commands_are_one_line_of_ascii(one: Route) -> None:
    for text in (command.announce(one), command.withdraw(one)):
        assert text.isascii()
        assert text.isprintable()
        assert text.count("[") == text.count("]") <= 4


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (route("2001:db8:61::/48", next_hop=None), "needs a next hop"),
        (route("2001:db8:61::/48", next_hop="192.0.2.1"), "the same family"),
        (route(next_hop="0.0.0.0"), "the address of a host"),
        (route(next_hop="224.0.0.5"), "the address of a host"),
        (route(med=2**32), "MED 4294967296 is out of range (allowed: 0 to 4294967295)"),
        (route(med=-1), "MED -1 is out of range"),
        (route(local_pref=2**32), "local preference"),
        (route(path_id=2**32), "path identifier"),
        (route(as_path=(0,)), "AS number 0 is out of range (allowed: 1 to"),
        (route(as_path=(65010,) * 65), "too long (allowed: 64)"),
        (route(communities=Communities(standard=(Community(65536, 0),))), "community 65536:0"),
        (route(communities=Communities(standard=(Community(1, 1),) * 129)), "too many (allowed: 128)"),
        (route(communities=Communities(large=(LargeCommunity(1, 2, 2**32),))), "large community"),
        (
            route(communities=Communities(extended=(ExtendedCommunity(ExtendedKind.TARGET, 70000, 65536),))),
            "target:70000:65536: 65536 is out of range (allowed: 0 to 65535)",
        ),
        (
            route(communities=Communities(extended=(ExtendedCommunity(ExtendedKind.BANDWIDTH, 70000, 1),))),
            "bandwidth:70000:1: 70000 is out of range",
        ),
        (
            route(
                communities=Communities(
                    extended=(ExtendedCommunity(ExtendedKind.BANDWIDTH, IPv4Address("192.0.2.1"), 1),)
                )
            ),
            "link bandwidth is of an AS",
        ),
    ],
)
def test_what_must_not_be_sent_is_refused_with_what_is_allowed(wrong: Route, said: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the text is looked at
        command.announce(wrong)
    assert said in str(refused.value)


@pytest.mark.parametrize("zone", ["eth0", "e\nshutdown"])
def test_a_zone_is_refused_as_it_may_be_any_text(zone: str) -> None:
    address = f"fe80::1%{zone}"
    for wrong in (
        route("2001:db8:61::/48", peer=address, next_hop="2001:db8::1"),
        route("2001:db8:61::/48", peer="2001:db8::2", next_hop=address),
    ):
        for make in (command.announce, command.withdraw):
            with pytest.raises(ValueError, match="has a zone"):
                make(wrong)
