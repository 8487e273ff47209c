"""What is known of routes that ExaBGP was told of."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from gtm.app.announce.pipe import Owned
from gtm.app.announce.readback import Readback
from gtm.model.anycast import Neighbour
from gtm.model.route import Attributes, Route
from gtm.wire.exabgp.command import announce, key, withdraw
from gtm.wire.exabgp.reply import NeighbourState, RibRoute
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


ONE = "198.51.100.1"


def rib(route: Route, **attributes: object) -> RibRoute:
    """ExaBGP's table as it has a route, with some attributes of its own."""
    made = Attributes(next_hop=OWN, **attributes)  # type: ignore[arg-type]
    return RibRoute(neighbour=route.neighbour, prefix=route.prefix, path_id=None, attributes=made)


def taken() -> tuple[Readback, Route]:
    """A route to a neighbour that is up, which ExaBGP has taken."""
    route = _route(ONE)
    found = Readback([neighbour(ONE)], ())
    found.heard([_state(ONE, up=True)], 0.0)
    found.wish("web", [route], 1.0)
    found.answered(Accepted(key=key(route), command=announce(route)))
    return found, route


def test_the_four_facts_are_apart() -> None:
    found, route = taken()
    (fact,) = found.routes()
    assert (fact.accepted, fact.on_wire, fact.seen) == (True, None, None)  # the table was not read yet
    found.read([rib(route)], 2.0)
    assert [each.on_wire for each in found.routes()] == [True]
    found.read([rib(route, med=7)], 3.0)
    assert [each.on_wire for each in found.routes()] == [False]  # it stands, and not as it should
    found.read([rib(route)], 4.0)
    found.heard([_state(ONE, up=False)], 5.0)
    (fact,) = found.routes()
    assert (fact.accepted, fact.on_wire) == (True, False)


def test_equal_wishes_are_told_once_and_others_replace_them() -> None:
    found, route = taken()
    assert found.wish("web", [route], 2.0) == []
    dearer = Route(neighbour=route.neighbour, prefix=PREFIX, attributes=Attributes(next_hop=OWN, med=9))
    (want,) = found.wish("web", [dearer], 3.0)
    assert (want.command, want.undo) == (announce(dearer), withdraw(dearer))
    found.answered(Accepted(key=key(route), command=announce(route)))  # a late answer to what is no more wished
    assert [each.accepted for each in found.routes()] == [None]


def test_a_withdrawn_route_is_gone_once_the_table_says_so() -> None:
    found, route = taken()
    found.read([rib(route)], 2.0)
    (want,) = found.wish("web", (), 3.0)
    assert want.undo is None
    found.read([], 3.1)
    assert not found.gone("web")  # read before the answer: that tells nothing
    found.answered(Accepted(key=key(route), command=want.command))
    found.read([rib(route)], 3.2)
    assert not found.gone("web")
    found.read([], 3.3)
    assert found.gone("web")


@pytest.mark.parametrize(("answer", "again_s"), [(Accepted, 3.0), (Refused, 62.0)])
def test_what_the_table_does_not_have_is_told_again(answer: type[Accepted | Refused], again_s: float) -> None:
    found, route = taken()
    found.answered(answer(key=key(route), command=announce(route)))
    found.read([], again_s - 2.0)
    assert found.wish("web", [route], again_s - 2.0) == []
    found.read([], again_s)
    assert [want.command for want in found.wish("web", [route], again_s)] == [announce(route)]
    assert found.wish("web", [route], again_s) == []


def test_what_a_dead_announcer_left_is_undone_if_nobody_wishes_it() -> None:
    route = _route(ONE)
    found = Readback([neighbour(ONE)], [Owned(key=key(route), group="gone", undo=withdraw(route))])
    assert found.services == {"gone"}
    (want,) = found.wish("gone", (), 1.0)
    assert (want.command, want.undo) == (withdraw(route), None)


def test_what_others_withdrew_is_told_again() -> None:
    found, route = taken()
    found.forget(["web"])
    assert [want.command for want in found.wish("web", [route], 2.0)] == [announce(route)]


def test_a_route_that_cannot_be_said_is_a_problem_and_no_command() -> None:
    found = Readback([neighbour(ONE)], ())
    wrong = Route(neighbour=ip_address(ONE), prefix=ip_network("2001:db8::/32"), attributes=Attributes())
    assert found.wish("web", [wrong], 1.0) == []
    assert found.problem is not None
    assert "needs a next hop" in found.problem
