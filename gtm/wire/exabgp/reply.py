"""What ExaBGP writes to its processes, line by line. Whatever it may send comes to a value; nothing raises."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any

from gtm.model.address import IPAddress, IPNetwork
from gtm.model.route import Attributes, Communities, Community, LargeCommunity

LINE_MAX_BYTES = 1 << 20
ESTABLISHED = "ESTABLISHED"
_BRACKETS = {"[": "]", "(": ")"}


@dataclass(frozen=True, slots=True)
class Done:
    """The command was taken. That it had any effect is not said."""


@dataclass(frozen=True, slots=True)
class Error:
    """The command was refused; why is in ExaBGP's log alone."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """ExaBGP is ending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourState:
    """A neighbour's session is `up`, or not, and why."""

    neighbour: IPAddress
    up: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """All neighbours' states, as they are now."""

    states: tuple[NeighbourState, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RibRoute:
    """A route of Adj-RIB-Out. `attributes` has no extended communities: ExaBGP writes them in forms of its own."""

    neighbour: IPAddress
    prefix: IPNetwork
    path_id: int | None
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Other:
    """A line that gtm does not know; it belongs to the command that is being answered."""

    text: str


Reply = Done | Error | Shutdown | NeighbourState | Neighbours | RibRoute | Other


class Lines:
    """Octets to lines. A line longer than LINE_MAX_BYTES is left out, and counted in `dropped`."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._skipping = False
        self.dropped = 0

    def feed(self, data: bytes) -> list[str]:
        """The lines that are whole now, without their ends; octets that are not UTF-8 are replaced."""
        whole, newline, rest = data.rpartition(b"\n")
        if not newline:
            self._keep(data)
            return []
        lines = (bytes(self._rest) + whole).split(b"\n")
        if self._skipping or len(lines[0]) > LINE_MAX_BYTES:
            del lines[0]
            self.dropped += not self._skipping
        self._skipping = False
        self._rest.clear()
        self._keep(rest)
        return [line.decode("utf-8", "replace").strip() for line in lines]

    def _keep(self, data: bytes) -> None:
        if self._skipping:
            return
        self._rest += data
        if len(self._rest) > LINE_MAX_BYTES:
            self._rest.clear()
            self._skipping = True
            self.dropped += 1


def parse(line: str) -> Reply:
    """What a line says."""
    match line:
        case "done":
            return Done()
        case "error":
            return Error()
        case "shutdown":
            return Shutdown()
    try:
        if line.startswith(("{", "[")):
            return _json(json.loads(line)) or Other(line)
        if line.startswith("neighbor "):
            return _rib(line.split()) or Other(line)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        pass
    return Other(line)


def _json(said: Any) -> Reply | None:  # noqa: ANN401 - it may be anything
    if isinstance(said, list):
        return Neighbours(states=tuple(_listed(one) for one in said))
    match said.get("type"):
        case "state":
            neighbour = said["neighbor"]
            return NeighbourState(
                neighbour=ip_address(neighbour["address"]["peer"]),
                up=neighbour["state"] == "up",
                reason=_text(neighbour.get("reason")),
            )
        case "notification" if said.get("notification") == "shutdown":
            return Shutdown()
    return None


def _listed(one: Any) -> NeighbourState:  # noqa: ANN401 - as above
    up = one.get("fsm") == ESTABLISHED
    return NeighbourState(
        neighbour=ip_address(one["peer"]["address"]), up=up, reason=None if up else _text(one.get("fsm"))
    )


def _text(said: Any) -> str | None:  # noqa: ANN401 - as above
    return said if isinstance(said, str) else None


def _rib(words: list[str]) -> RibRoute | None:
    """A line of `show adj-rib out extensive`: neighbour, its settings, family, prefix, attributes."""
    for family in (("ipv4", "unicast"), ("ipv6", "unicast")):
        for position in range(2, len(words) - 2):
            if (words[position], words[position + 1]) == family:
                return _route(words[1], words[position + 2], words[position + 3 :])
    return None


def _route(neighbour: str, prefix: str, words: list[str]) -> RibRoute:
    fields = _fields(words)
    (path,) = fields.get("path-information", [None])
    return RibRoute(
        neighbour=ip_address(neighbour),
        prefix=ip_network(prefix),
        path_id=None if path is None else int(IPv4Address(path)),
        attributes=Attributes(
            next_hop=ip_address(fields["next-hop"][0]),
            med=_one(fields.get("med")),
            local_pref=_one(fields.get("local-preference")),
            as_path=tuple(map(int, fields.get("as-path", ()))),
            communities=Communities(
                standard=tuple(sorted(Community(*map(int, one.split(":"))) for one in fields.get("community", ()))),
                large=tuple(
                    sorted(LargeCommunity(*map(int, one.split(":"))) for one in fields.get("large-community", ()))
                ),
            ),
        ),
    )


def _one(words: list[str] | None) -> int | None:
    return None if words is None else int(words[0])


def _fields(words: list[str]) -> dict[str, list[str]]:
    """Attributes by name: one word each, or those between brackets."""
    fields: dict[str, list[str]] = {}
    rest = iter(words)
    for name in rest:
        value = next(rest, "")
        end = _BRACKETS.get(value)
        fields[name] = [value] if end is None else list(iter(partial(next, rest, end), end))
    return fields
