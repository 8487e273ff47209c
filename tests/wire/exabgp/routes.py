"""Routes for tests."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

from hypothesis import strategies as st

from gtm.model.route import (
    Attributes,
    Communities,
    Community,
    ExtendedCommunity,
    ExtendedKind,
    LargeCommunity,
    Route,
)

PEER = "127.0.0.1"


def route(prefix: str = "203.0.113.0/24", *, path_id: int | None = None, peer: str = PEER, **attributes: Any) -> Route:
    """A route to PEER, by way of a documentation address."""
    network = ip_network(prefix)
    hop = attributes.pop("next_hop", "192.0.2.1" if network.version == 4 else "2001:db8::1")
    return Route(
        neighbour=ip_address(peer),
        prefix=network,
        path_id=path_id,
        attributes=Attributes(next_hop=None if hop is None else ip_address(hop), **attributes),
    )


U16, U32 = st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1)
EXTENDED = st.one_of(
    st.builds(ExtendedCommunity, st.sampled_from([ExtendedKind.TARGET, ExtendedKind.ORIGIN]), U16, U32),
    st.builds(
        ExtendedCommunity,
        st.sampled_from([ExtendedKind.TARGET, ExtendedKind.ORIGIN]),
        st.integers(2**16, 2**32 - 1) | st.ip_addresses(v=4),
        U16,
    ),
    st.builds(ExtendedCommunity, st.just(ExtendedKind.BANDWIDTH), U16, st.integers(0, 2**40)),
)
COMMUNITIES = st.builds(
    lambda standard, extended, large: Communities() | Communities(standard=standard, extended=extended, large=large),
    st.lists(st.builds(Community, U16, U16), max_size=4).map(tuple),
    st.lists(EXTENDED, max_size=4).map(tuple),
    st.lists(st.builds(LargeCommunity, U32, U32, U32), max_size=4).map(tuple),
)
PREFIXES = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.integers(0, 32)), st.tuples(st.ip_addresses(v=6), st.integers(0, 128))
).map(lambda pair: ip_network(f"{pair[0]}/{pair[1]}", strict=False))


@st.composite
def routes(draw: st.DrawFn) -> Route:
    """Any route that may be sent, with a next hop of its own."""
    prefix = draw(PREFIXES)
    hop = "192.0.2.1" if prefix.version == 4 else "2001:db8::1"
    return Route(
        neighbour=ip_address(PEER),
        prefix=prefix,
        path_id=draw(st.none() | U32),
        attributes=Attributes(
            next_hop=ip_address(hop),
            med=draw(st.none() | U32),
            local_pref=draw(st.none() | U32),
            as_path=tuple(draw(st.lists(st.integers(1, 2**32 - 1), max_size=5))),
            communities=draw(COMMUNITIES),
        ),
    )
