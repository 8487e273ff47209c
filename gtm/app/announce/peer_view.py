"""What a neighbour's own table has of us, where that neighbour is an FRR or a BIRD of this machine."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from gtm.app.announce.beside import ask_bird, ask_frr
from gtm.model.address import IPAddress, IPNetwork
from gtm.model.announcing import RouteReport
from gtm.model.anycast import Neighbour, View, ViewKind
from gtm.model.errors import PeerError

LOOK_S = 1.0

_CODE = re.compile(r"^(?:1007[- ]| )")
_PROTOCOL = re.compile(r"(?:1002)?[- ](\S+)\s+BGP\s.*")
_NEIGHBOUR = re.compile(r"(?:1006)?[- ]\s*Neighbor address:\s*([0-9A-Fa-f.:]+)(?:%\S+)?\s*")


class PeerViews:
    """The tables of those neighbours that can be looked at, as of the last look. Nothing here waits but `run`."""

    def __init__(self, neighbours: Iterable[Neighbour], on_change: Callable[[], None]) -> None:
        self._viewed = {each.address: each for each in neighbours if each.view is not None}
        self._on_change = on_change
        self._seen: dict[IPAddress, Mapping[IPNetwork, bool]] = {}
        self._problems: dict[IPAddress, str] = {}

    async def run(self, prefixes: Callable[[], Iterable[IPNetwork]]) -> None:
        """Look each second at what the tables have of these prefixes; only wait where there is nothing to look at."""
        if not self._viewed:
            await asyncio.Event().wait()
        while True:
            wanted = tuple(dict.fromkeys(prefixes()))
            before = dict(self._seen), dict(self._problems)
            for address, neighbour in self._viewed.items():
                try:
                    self._seen[address] = await asyncio.to_thread(look, neighbour, wanted)
                    self._problems.pop(address, None)
                except PeerError as error:
                    self._seen.pop(address, None)
                    self._problems[address] = str(error)
            if (self._seen, self._problems) != before:
                self._on_change()
            await asyncio.sleep(LOOK_S)

    def told(self, route: RouteReport) -> RouteReport:
        """The route with what its neighbour's table has of it, where that is known."""
        neighbour = self._viewed.get(route.neighbour)
        if neighbour is None or neighbour.view is None:
            return route
        seen = self._seen.get(route.neighbour, {}).get(route.prefix)
        return replace(route, seen=seen, seen_by=f"{neighbour.view.kind} {neighbour.view.path}")

    @property
    def problem(self) -> str | None:
        """Why a table cannot be looked at, if that is so."""
        return next((f"{self._viewed[each].name}: {why}" for each, why in self._problems.items()), None)


def look(neighbour: Neighbour, prefixes: Iterable[IPNetwork]) -> dict[IPNetwork, bool]:
    """Whether the neighbour's table has each prefix from us. It takes a second at most for each; raises PeerError."""
    view = neighbour.view
    assert view is not None
    match view.kind:
        case ViewKind.FRR:
            return {prefix: _frr_has(view, neighbour.local_address, prefix) for prefix in prefixes}
        case ViewKind.BIRD:
            return _bird_has(view, neighbour.local_address, tuple(prefixes))


def _frr_has(view: View, source: IPAddress, prefix: IPNetwork) -> bool:
    return parse_frr(ask_frr(Path(view.path), "bgpd", f"show bgp ipv{prefix.version} unicast {prefix} json"), source)


def parse_frr(text: str, source: IPAddress) -> bool:
    """Whether `show bgp ... PREFIX json` has a path from a neighbour. Raises PeerError."""
    if not text.strip() or text.startswith("%"):  # no such prefix
        return False
    try:
        return any(path["peer"]["peerId"] == str(source) for path in json.loads(text).get("paths", ()))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise PeerError(f"`show bgp` makes no sense: {type(error).__name__} {error}", peer="vtysh") from None


def _bird_has(view: View, source: IPAddress, prefixes: tuple[IPNetwork, ...]) -> dict[IPNetwork, bool]:
    path = Path(view.path)
    protocol = parse_bird_protocols(ask_bird(path, ["show protocols all"])[0], source)
    if protocol is None:
        raise PeerError(f"{path}: has no session with {source}", peer="BIRD")
    name = protocol if protocol.isidentifier() else f"'{protocol}'"
    answers = ask_bird(path, [f"show route {prefix} protocol {name}" for prefix in prefixes])
    return {prefix: parse_bird_route(said, prefix) for prefix, said in zip(prefixes, answers, strict=True)}


def parse_bird_protocols(text: str, source: IPAddress) -> str | None:
    """The name of the protocol whose neighbour is `source` in `show protocols all`."""
    name = None
    for line in text.splitlines():
        if found := _PROTOCOL.fullmatch(line):
            name = found[1]
        elif (found := _NEIGHBOUR.fullmatch(line)) and found[1].lower() == str(source):
            return name
    return None


def parse_bird_route(text: str, prefix: IPNetwork) -> bool:
    """Whether `show route` has the prefix. Raises PeerError if BIRD refuses for another reason than not having it."""
    for line in text.splitlines():
        if _CODE.sub("", line).startswith(f"{prefix} "):
            return True
        if re.match(r"[89]\d\d\d", line) and not line.startswith("8001"):  # 8001: network not found
            raise PeerError(f"{line[5:205]}", peer="BIRD")
    return False
