"""What is known of routes that ExaBGP was told of."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from gtm.app.announce.readback import Readback
from gtm.model.anycast import Neighbour
from gtm.model.route import Attributes, Route
from gtm.wire.exabgp.reply import NeighbourState
from gtm.wire.exabgp.session import Accepted, Refused

OWN = ip_address("198.51.100.2")
PREFIX = ip_network("203.0.113.0/24")


def neighbour(address: str) -> Neighbour:
    return Neighbour(
        name=address, address=ip_address(address), local_address=OWN, asn=64500, local_asn=64512, next_hops={}
    )


def told() -> Readback:
    """A service with a route to each of two neighbours."""
    found = Readback([neighbour("198.51.100.1"), neighbour("198.51.100.3")], ())
    wanted = found.wish("web", [_route("198.51.100.1"), _route("198.51.100.3")], 1.0)
    assert len(wanted) == 2
    return found


def _route(address: str) -> Route:
    return Route(neighbour=ip_address(address), prefix=PREFIX, attributes=Attributes(next_hop=OWN))


def _state(address: str, *, up: bool) -> NeighbourState:
    return NeighbourState(neighbour=ip_address(address), up=up, reason="")


def test_a_service_stands_while_one_neighbour_may_have_it() -> None:
    found = told()
    assert found.stands("web")  # neither an answer nor word of a neighbour yet
    assert not found.stands("dns")
    found.heard([_state("198.51.100.1", up=False)], 2.0)
    assert found.stands("web")
    found.heard([_state("198.51.100.3", up=False)], 2.0)
    assert not found.stands("web")
    found.heard([_state("198.51.100.3", up=True)], 3.0)
    assert found.stands("web")


def test_what_was_refused_or_withdrawn_does_not_stand() -> None:
    found = told()
    found.wish("web", [_route("198.51.100.1")], 2.0)
    (one,) = Readback([neighbour("198.51.100.1")], ()).wish("web", [_route("198.51.100.1")], 1.0)
    found.answered(Accepted(key=one.key, command=one.command))
    assert found.stands("web")
    found.answered(Refused(key=one.key, command=one.command))
    assert not found.stands("web")
    found = told()
    found.wish("web", (), 2.0)
    assert not found.stands("web")
