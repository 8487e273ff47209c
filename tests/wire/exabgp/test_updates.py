"""Our commands through the real ExaBGP: the UPDATE messages are these, octet for octet.

The cases are those of ExaBGP's own encoding tests that are of a kind that gtm announces (named after them), and ours
for the rest of it, as a route and the body of its UPDATE (RFC 4271 section 4.3).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, ip_address

import pytest

from gtm.model.route import (
    GRACEFUL_SHUTDOWN,
    Communities,
    Community,
    ExtendedCommunity,
    ExtendedKind,
    LargeCommunity,
    Route,
)
from gtm.wire.exabgp.command import announce, key, withdraw
from gtm.wire.exabgp.reply import NeighbourState
from gtm.wire.exabgp.session import Accepted, Session
from tests.bgp_sink import Sink, sink
from tests.exabgp import ExaBgp, Peer, exabgp
from tests.wire.exabgp.routes import route

TARGET, ORIGIN, BANDWIDTH = ExtendedKind.TARGET, ExtendedKind.ORIGIN, ExtendedKind.BANDWIDTH
IBGP, EBGP, PATHS = "127.0.0.2", "127.0.0.3", "127.0.0.4"
ORIGIN_IGP, NO_PATH, PATH = "40010100", "400200", "4002060201" + "0000FFFD"
LP_100 = "40050400000064"


def standard(*pairs: tuple[int, int]) -> Communities:
    return Communities(standard=tuple(Community(*pair) for pair in pairs))


def large(*triples: tuple[int, int, int]) -> Communities:
    return Communities(large=tuple(LargeCommunity(*triple) for triple in triples))


def extended(kind: ExtendedKind, administrator: int | str, value: int) -> Communities:
    who = administrator if isinstance(administrator, int) else IPv4Address(administrator)
    return Communities(extended=(ExtendedCommunity(kind, who, value),))


LARGE = large((1, 2, 3), (10, 11, 12))
PAIR = standard((30740, 0), (30740, 30740))


def ipv4(prefix: str, attributes: str) -> str:
    """The body of an UPDATE that announces a prefix of IPv4, in hex."""
    octets = attributes.replace(" ", "")
    return f"0000{len(octets) // 2:04X}{octets}{prefix}"


@dataclass(frozen=True)
class Case:
    name: str
    route: Route
    body: str


CASES = (
    Case(
        "conf-ebgp",
        route("10.0.0.0/24", peer=EBGP, next_hop="10.0.1.254", as_path=(65533,)),
        ipv4("180A0000", f"{ORIGIN_IGP} {PATH} 4003040A0001FE"),
    ),
    Case(
        "conf-attributes: large communities",
        route(
            "10.0.0.7/32", peer=IBGP, next_hop="192.0.2.255", local_pref=100, communities=large((1, 2, 3), (10, 11, 12))
        ),
        ipv4(
            "200A000007",
            f"{ORIGIN_IGP} {NO_PATH} 400304C00002FF {LP_100} C02018 000000010000000200000003 0000000A0000000B0000000C",
        ),
    ),
    Case(
        "conf-largecommunity",
        route(
            "8.8.8.10/32",
            peer=IBGP,
            local_pref=100,
            communities=large((2914, 0, 666), (2914, 3320, 123)),
        ),
        ipv4(
            "200808080A",
            f"{ORIGIN_IGP} {NO_PATH} 400304C0000201 {LP_100} C02018 00000B62000000000000029A 00000B6200000CF80000007B",
        ),
    ),
    Case(
        "conf-path-information: 1",
        route("10.0.0.10/32", peer=PATHS, next_hop="10.10.1.1", path_id=1, local_pref=100),
        ipv4("00000001200A00000A", f"{ORIGIN_IGP} {NO_PATH} 4003040A0A0101 {LP_100}"),
    ),
    Case(
        "conf-path-information: 2",
        route("10.0.0.10/32", peer=PATHS, next_hop="10.10.1.2", path_id=2, local_pref=100),
        ipv4("00000002200A00000A", f"{ORIGIN_IGP} {NO_PATH} 4003040A0A0102 {LP_100}"),
    ),
    Case(
        "conf-new-v4: communities",
        route(
            "82.219.5.0/24",
            peer=IBGP,
            next_hop="192.0.2.2",
            local_pref=200,
            communities=PAIR,
        ),
        ipv4("1852DB05", f"{ORIGIN_IGP} {NO_PATH} 400304C0000202 400504000000C8 C00808 78140000 78147814"),
    ),
    Case(
        "conf-new-v6: communities",
        route(
            "2001:db8:0:1::1/128",
            peer=IBGP,
            next_hop="2001:db8:0:2::1",
            local_pref=200,
            communities=PAIR,
        ),
        "00000042"
        f"{ORIGIN_IGP}{NO_PATH}400504000000C8C008087814000078147814"
        "800E2600020110 20010DB8000000020000000000000001 00 80 20010DB8000000010000000000000001".replace(" ", ""),
    ),
    *(
        Case(
            f"conf-extended-attributes: {name}",
            route("10.0.0.1/32", peer=IBGP, next_hop="15.15.15.1", local_pref=100, communities=extended(*community)),
            ipv4("200A000001", f"{ORIGIN_IGP} {NO_PATH} 4003040F0F0F01 {LP_100} C01008 {octets}"),
        )
        for name, community, octets in (
            ("origin, AS of two octets", (ORIGIN, 100, 1000), "00030064000003E8"),
            ("target, AS of two octets", (TARGET, 200, 2000), "000200C8000007D0"),
            ("origin, AS of two octets, large number", (ORIGIN, 300, 73000), "0003012C00011D28"),
            ("target, AS of two octets, large number", (TARGET, 400, 74000), "0002019000012110"),
            ("origin, address", (ORIGIN, "0.1.19.100", 5000), "0103000113641388"),
            ("target, address", (TARGET, "8.8.8.8", 8000), "0102080808081F40"),
            ("origin, AS of four octets", (ORIGIN, 70500, 5000), "0203000113641388"),
            ("target, AS of four octets", (TARGET, 71000, 6000), "0202000115581770"),
            ("link bandwidth", (BANDWIDTH, 65010, 3000000), "4004FDF24A371B00"),
        )
    ),
    Case(
        "MED and a path that is repeated",
        route("203.0.113.0/24", peer=EBGP, next_hop=None, med=50, as_path=(65533, 65533, 65533)),
        ipv4(
            "18CB0071",
            f"{ORIGIN_IGP} 40020E0203 0000FFFD 0000FFFD 0000FFFD 4003047F000001 80040400000032",
        ),
    ),
    Case(
        "the path that the speaker gives",
        route("203.0.113.64/32", peer=EBGP),
        ipv4("20CB007140", f"{ORIGIN_IGP} {PATH} 400304C0000201"),
    ),
    Case(
        "everything that a drain adds",
        route(
            "203.0.113.0/25",
            peer=EBGP,
            med=1000,
            as_path=(65533, 65533),
            communities=Communities(
                standard=(Community(65533, 666), GRACEFUL_SHUTDOWN), large=(LargeCommunity(65533, 1, 4200000000),)
            ),
        ),
        ipv4(
            "19CB007100",
            f"{ORIGIN_IGP} 40020A0202 0000FFFD 0000FFFD 400304C0000201 800404000003E8 "
            "C00808 FFFD029A FFFF0000 C0200C 0000FFFD 00000001 FA56EA00",
        ),
    ),
    Case(
        "IPv6 with MED, to another AS",
        route("2001:db8:61::/48", peer=EBGP, med=60),
        f"00000033{ORIGIN_IGP}{PATH}8004040000003C"
        "800E1C00020110 20010DB8000000000000000000000001 00 30 20010DB80061".replace(" ", ""),
    ),
    Case(
        "a route of IPv6 with a path identifier",
        route("2001:db8:61::/48", peer=PATHS, path_id=7, local_pref=100),
        f"00000031{ORIGIN_IGP}{NO_PATH}{LP_100}"
        "800E2000020110 20010DB8000000000000000000000001 00 00000007 30 20010DB80061".replace(" ", ""),
    ),
)
WITHDRAWN = {
    "conf-ebgp": "0004180A00000000",
    "conf-path-information: 2": "000900000002200A00000A0000",
    "IPv6 with MED, to another AS": "0000000D800F0A000201 30 20010DB80061".replace(" ", ""),
}


def talk(speaker: ExaBgp, session: Session, *, until: int) -> None:
    """Write what the session has, and read until `until` sessions with neighbours are up and all is answered."""
    up: set[str] = set()
    while not (session.idle and len(up) >= until):
        speaker.link.sendall(session.take(0.0))
        data = speaker.link.recv(65536)
        assert data, speaker.log.read_text()
        for event in session.receive(data):
            if isinstance(event, NeighbourState) and event.up:
                up.add(str(event.neighbour))
            else:
                assert isinstance(event, Accepted | NeighbourState), event


@pytest.fixture(scope="module")
def speaking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ExaBgp, dict[str, Sink], Session]]:
    with ExitStack() as stack:
        sinks = {
            IBGP: stack.enter_context(sink(65533, address=IBGP)),
            EBGP: stack.enter_context(sink(65000, address=EBGP)),
            PATHS: stack.enter_context(sink(65533, address=PATHS, add_path=True)),
        }
        peers = [
            Peer(address=address, port=made.port, local_asn=65533, asn=made.asn, add_path=made.add_path)
            for address, made in sinks.items()
        ]
        speaker = stack.enter_context(exabgp(tmp_path_factory.mktemp("exabgp"), peers))
        session = Session()
        talk(speaker, session, until=3)
        for made in sinks.values():
            made.wait("the end of both tables (RFC 4724)", lambda made=made: len(made.updates) == 2)
        yield speaker, sinks, session


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_commands_come_to_these_octets(case: Case, speaking: tuple[ExaBgp, dict[str, Sink], Session]) -> None:
    speaker, sinks, session = speaking
    heard = sinks[str(case.route.neighbour)].updates
    before = len(heard)
    session.wish(key(case.route), announce(case.route))
    talk(speaker, session, until=0)
    sinks[str(case.route.neighbour)].wait(case.name, lambda: len(heard) > before)
    assert [body.hex().upper() for body in heard[before:]] == [case.body]
    session.wish(key(case.route), withdraw(replace(case.route)))
    talk(speaker, session, until=0)
    sinks[str(case.route.neighbour)].wait(case.name, lambda: len(heard) > before + 1)
    if case.name in WITHDRAWN:
        assert heard[-1].hex().upper() == WITHDRAWN[case.name]
    assert ip_address(str(case.route.neighbour)) == case.route.neighbour
