"""rtnetlink: what we write is what we read, what the kernel wrote is read, and nothing else gets past a WireError."""

from __future__ import annotations

import struct
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm.model.fib import Group, Hop, KernelRoute, Resilience
from gtm.wire import rtnetlink
from gtm.wire.error import WireError

HOPS = st.builds(
    Hop,
    st.ip_addresses(v=4).map(IPv4Address) | st.ip_addresses(v=6).map(IPv6Address),
    st.integers(1, 2**31 - 1),
    st.just(1),
)
GROUPS = st.builds(
    lambda members, buckets, idle, unbalanced: Group(
        members=tuple(sorted(members.items())),
        resilience=Resilience(buckets=buckets, idle_s=idle / 100, unbalanced_s=unbalanced / 100),
    ),
    st.dictionaries(st.integers(1, 2**32 - 1), st.integers(1, 256), min_size=1, max_size=8),
    st.integers(1, 65535),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
)


def only(data: bytes) -> rtnetlink.Message:
    (message,) = rtnetlink.messages(data)
    return message


@given(st.integers(1, 2**32 - 1), HOPS)
def test_a_hop_that_is_written_is_read(number: int, hop: Hop) -> None:
    message = only(rtnetlink.put_hop(number, hop, 103, 7))
    assert (message.kind, message.sequence) == (rtnetlink.RTM_NEWNEXTHOP, 7)
    assert rtnetlink.read_next_hop(message) == rtnetlink.NextHop(number=number, protocol=103, hop=hop)


@given(st.integers(1, 2**32 - 1), GROUPS)
def test_a_group_that_is_written_is_read(number: int, group: Group) -> None:
    message = only(rtnetlink.put_group(number, group, 103, 7))
    assert rtnetlink.read_next_hop(message) == rtnetlink.NextHop(number=number, protocol=103, group=group)


@pytest.mark.parametrize("prefix", ["203.0.113.0/24", "2001:db8:61::/48", "0.0.0.0/0", "::/0"])
def test_a_route_by_a_group_that_is_written_is_read(prefix: str) -> None:
    network = ip_network(prefix)
    for data in (
        rtnetlink.put_route(network, 9, metric=10, protocol=103, replaces=False, sequence=1),
        rtnetlink.delete_route(network, metric=10, protocol=103, sequence=1),
    ):
        found = rtnetlink.read_route(only(data))
        group = 9 if only(data).kind == rtnetlink.RTM_NEWROUTE else None
        assert found == KernelRoute(prefix=network, protocol=103, metric=10, hops=(), group=group)


def test_a_multipath_route_as_the_kernel_writes_it() -> None:
    def path(via: str, link: int, less: int) -> bytes:
        return struct.pack("=HBBi", 16, 0, less, link) + struct.pack("=HH", 8, 5) + ip_address(via).packed

    paths = path("10.62.1.2", 2, 0) + path("10.62.2.2", 3, 2)
    body = struct.pack("=BBBBBBBBI", 2, 32, 0, 0, 254, 12, 0, 1, 0)
    body += struct.pack("=HH", 8, 1) + ip_address("198.18.0.10").packed + struct.pack("=HHI", 8, 6, 32)
    body += struct.pack("=HH", 4 + len(paths), 9) + paths
    message = rtnetlink.Message(kind=24, flags=0, sequence=0, body=body)
    assert rtnetlink.read_route(message) == KernelRoute(
        prefix=ip_network("198.18.0.10/32"),
        protocol=12,
        metric=32,
        hops=(Hop(ip_address("10.62.1.2"), 2, 1), Hop(ip_address("10.62.2.2"), 3, 3)),
    )


@pytest.mark.parametrize("flag", [rtnetlink.RTNH_F_DEAD, rtnetlink.RTNH_F_LINKDOWN])
def test_hops_of_links_that_are_down_are_none(flag: int) -> None:
    via = struct.pack("=HH", 8, 5) + ip_address("10.62.1.2").packed
    paths = struct.pack("=HBBi", 16, flag, 0, 2) + via + struct.pack("=HBBi", 16, 0, 0, 3) + via
    body = struct.pack("=BBBBBBBBI", 2, 32, 0, 0, 254, 12, 0, 1, 0) + struct.pack("=HH", 4 + len(paths), 9) + paths
    found = rtnetlink.read_route(rtnetlink.Message(kind=24, flags=0, sequence=0, body=body))
    assert found is not None
    assert [hop.link for hop in found.hops] == [3]
    single = struct.pack("=BBBBBBBBI", 2, 32, 0, 0, 254, 12, 0, 1, flag) + via + struct.pack("=HHI", 8, 4, 2)
    found = rtnetlink.read_route(rtnetlink.Message(kind=24, flags=0, sequence=0, body=single))
    assert found is not None
    assert found.hops == ()


def test_a_route_is_made_or_replaced_but_never_either() -> None:
    made, replaced = (
        only(rtnetlink.put_route(ip_network("::/0"), 9, metric=10, protocol=103, replaces=replaces, sequence=1))
        for replaces in (False, True)
    )
    assert made.flags == rtnetlink.NLM_F_REQUEST | rtnetlink.NLM_F_ACK | rtnetlink.NLM_F_CREATE | rtnetlink.NLM_F_EXCL
    assert replaced.flags == rtnetlink.NLM_F_REQUEST | rtnetlink.NLM_F_ACK | rtnetlink.NLM_F_REPLACE


def test_routes_of_other_tables_and_kinds_are_not_ours() -> None:
    for table, kind in ((255, 1), (254, 6)):
        body = struct.pack("=BBBBBBBBI", 2, 0, 0, 0, table, 12, 0, kind, 0)
        assert rtnetlink.read_route(rtnetlink.Message(kind=24, flags=0, sequence=0, body=body)) is None


@given(st.binary(max_size=200))
def test_whatever_comes_is_read_or_refused(data: bytes) -> None:
    message = rtnetlink.Message(kind=24, flags=0, sequence=0, body=data)
    for read in (rtnetlink.read_route, rtnetlink.read_next_hop, rtnetlink.refusal):
        try:
            read(message)
        except WireError:
            continue
    with suppress(WireError):
        list(rtnetlink.messages(data))
