"""What was told to ExaBGP of each route, and what is known of it since: accepted, on the wire."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network

from gtm.app.announce.pipe import Owned, Want
from gtm.model.address import IPAddress, IPNetwork
from gtm.model.announcing import NeighbourReport, RouteReport
from gtm.model.anycast import Neighbour
from gtm.model.route import Attributes, Communities, Route
from gtm.wire.exabgp.command import announce, key, withdraw
from gtm.wire.exabgp.reply import Neighbours, NeighbourState, Reply, RibRoute
from gtm.wire.exabgp.session import Accepted, Refused

# Between two commands that say the same again: of what was taken, was refused, and is not answered.
AMEND_S = {True: 1.0, False: 60.0, None: math.inf}


@dataclass(slots=True, kw_only=True)
class _Told:
    """A key's last command, and what came of it. `undo` withdraws it; `wished` None: it is to be gone."""

    service: str
    command: str
    undo: str
    wished: Route | None
    since_s: float
    accepted: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rib:
    """The Adj-RIB-Out as it was read."""

    read_s: float
    routes: Mapping[str, RibRoute]


class Readback:
    """The routes of one speaker, as wished and as they are. Times are seconds since the epoch, given by the caller."""

    def __init__(self, neighbours: Iterable[Neighbour], owned: Iterable[Owned]) -> None:
        """What ExaBGP may have from an announcer before is `owned`: it stays until it is wished otherwise."""
        self._told: dict[str, _Told] = {
            each.key: _Told(service=each.group, command="", undo=each.undo, wished=None, since_s=0.0) for each in owned
        }
        self._rib: _Rib | None = None
        self._problems: dict[str, str] = {}
        self.neighbours: dict[IPAddress, NeighbourReport] = {
            each.address: NeighbourReport(name=each.name, address=each.address, asn=each.asn) for each in neighbours
        }
        self.refused = 0
        self.amended = 0

    @property
    def services(self) -> frozenset[str]:
        """Those that have a route here, or had one that is not known to be gone."""
        return frozenset(told.service for told in self._told.values())

    @property
    def size(self) -> int:
        """How many routes there are."""
        return len(self._told)

    @property
    def problem(self) -> str | None:
        """A route that could not be announced, and why."""
        return next(iter(self._problems.values()), None)

    def wish(self, service: str, routes: Iterable[Route], now_s: float) -> list[Want]:
        """What has to be told so that these are the service's routes, and no others. Equal wishes come to nothing."""
        wants: list[Want] = []
        wished: set[str] = set()
        for route in routes:
            name = key(route)
            try:
                command = announce(route)
            except ValueError as error:
                self._problems[name] = str(error)
                continue
            self._problems.pop(name, None)
            wished.add(name)
            told = self._told.get(name)
            if told is None or told.command != command:
                undo = withdraw(route)
                self._told[name] = _Told(service=service, command=command, undo=undo, wished=route, since_s=now_s)
                wants.append(Want(key=name, group=service, command=command, undo=undo))
        for name, told in self._told.items():
            if told.service == service and name not in wished and told.command != told.undo:
                told.command, told.wished, told.accepted, told.since_s = told.undo, None, None, now_s
                wants.append(Want(key=name, group=service, command=told.undo, undo=None))
        return wants

    def forget(self, services: Iterable[str]) -> None:
        """Take it that nothing was told of these services' routes that stand: somebody else has withdrawn them."""
        for told in self._told.values():
            if told.service in services and told.wished is not None:
                told.command, told.accepted = "", None

    def answered(self, event: Accepted | Refused) -> None:
        """Take in what came of a command."""
        told = self._told.get(event.key)
        if told is not None and told.command == event.command:
            told.accepted = isinstance(event, Accepted)
        self.refused += isinstance(event, Refused)

    def read(self, replies: Iterable[Reply], now_s: float) -> None:
        """Take in a whole Adj-RIB-Out.

        Withdrawn routes that are not in it any more are gone. What ExaBGP has taken and yet does not have, or has
        still, is told again by the next `wish`: somebody else gave it commands. So is what it has refused, later.
        """
        found = {_key(one): one for one in replies if isinstance(one, RibRoute)}
        self._rib = _Rib(read_s=now_s, routes=found)
        for name, told in list(self._told.items()):
            if told.wished is None and told.accepted is not None and name not in found:
                del self._told[name]
            elif (told.wished is None) is (name in found) and now_s - told.since_s > AMEND_S[told.accepted]:
                told.command, told.since_s = "", now_s
                self.amended += 1

    def heard(self, states: Iterable[NeighbourState], now_s: float) -> list[NeighbourReport]:
        """Take in what neighbours' sessions are; those that changed."""
        changed = []
        for state in states:
            before = self.neighbours.get(state.neighbour)
            if before is None or before.up is state.up:
                continue
            after = replace(
                before,
                up=state.up,
                since_s=now_s,
                reason=state.reason,
                changes=before.changes + (before.up is not None),
            )
            self.neighbours[state.neighbour] = after
            changed.append(after)
        return changed

    def gone(self, service: str) -> bool:
        """Whether no route of a service stands, as far as ExaBGP's own table tells."""
        return not any(told.service == service for told in self._told.values())

    def stands(self, service: str) -> bool:
        """Whether a route of a service may be relied on by others: not refused, and its neighbour not known to be down.

        While an answer, or word of the neighbour, is not there yet it counts as standing, so that nothing flaps.
        """
        return any(
            told.wished is not None and told.accepted is not False and self._may_be_up(told.wished.neighbour)
            for told in self._told.values()
            if told.service == service
        )

    def _may_be_up(self, neighbour: IPAddress) -> bool:
        session = self.neighbours.get(neighbour)
        return session is None or session.up is not False

    def settled(self) -> bool:
        """Whether all is answered, and the Adj-RIB-Out has been read since the last change."""
        newest_s = max((told.since_s for told in self._told.values()), default=0.0)
        read_s = -1.0 if self._rib is None else self._rib.read_s
        return all(told.accepted is not None for told in self._told.values()) and read_s >= newest_s

    def routes(self) -> Iterator[RouteReport]:
        """Each route with its four facts. What the peer has in its table is not known here."""
        for name, told in self._told.items():
            neighbour, prefix = _parts(name)
            yield RouteReport(
                service=told.service,
                neighbour=neighbour,
                prefix=prefix,
                wished=None if told.wished is None else told.wished.attributes,
                accepted=told.accepted,
                on_wire=self._on_wire(name, neighbour, told.wished),
                since_s=told.since_s,
                read_s=None if self._rib is None else self._rib.read_s,
            )

    def _on_wire(self, name: str, neighbour: IPAddress, wished: Route | None) -> bool | None:
        session = self.neighbours.get(neighbour)
        if session is None or session.up is None or self._rib is None:
            return None
        found = self._rib.routes.get(name)
        if not session.up or found is None:
            return False
        return wished is None or _alike(wished.attributes, found.attributes)


def states(replies: Iterable[Reply]) -> Iterator[NeighbourState]:
    """The neighbours' states in an answer."""
    for one in replies:
        match one:
            case Neighbours(states=found):
                yield from found
            case NeighbourState():
                yield one


def _alike(wished: Attributes, found: Attributes) -> bool:
    """Whether two sets of attributes are the same, as far as ExaBGP's table tells: not the next hop if it is its own,
    and no extended communities.
    """
    same_hop = wished.next_hop is None or wished.next_hop == found.next_hop
    communities = Communities(standard=wished.communities.standard, large=wished.communities.large)
    same_path = not wished.as_path or wished.as_path == found.as_path
    same_pref = wished.local_pref is None or wished.local_pref == found.local_pref
    return same_hop and same_path and same_pref and wished.med == found.med and communities == found.communities


def _key(one: RibRoute) -> str:
    return key(Route(neighbour=one.neighbour, prefix=one.prefix, attributes=one.attributes, path_id=one.path_id))


def _parts(name: str) -> tuple[IPAddress, IPNetwork]:
    neighbour, prefix = name.split()[:2]
    return ip_address(neighbour), ip_network(prefix)
