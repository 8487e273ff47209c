"""What is made of the words of FRR and BIRD, and of their silence."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from gtm.app.announce.peer_view import PeerViews, look, parse_bird_protocols, parse_bird_route, parse_frr
from gtm.model.announcing import RouteReport
from gtm.model.anycast import Neighbour, View, ViewKind
from gtm.model.errors import PeerError

US = ip_address("10.66.1.2")
PREFIX, OTHER = ip_network("203.0.113.0/24"), ip_network("198.51.100.0/24")
PROTOCOLS = """\
2002-Name       Proto      Table      State  Since         Info
1002-device1    Device     ---        up     05:13:21.721  
1006-
1002-edge-1     BGP        ---        up     05:13:24.243  Established   
1006-  BGP state:          Established
     Neighbor address: 10.66.1.2
     Neighbor AS:      65010
1002-other      BGP        ---        start  05:13:24.243  Active
1006-  BGP state:          Active
     Neighbor address: fd66:1::9%ev0
0000 
"""  # noqa: W291 - BIRD's own blanks
ROUTE = """\
1007-Table master4:
 203.0.113.0/24       unicast [edge-1 05:13:24.243] * (100) [AS65010i]
 \tvia 10.66.1.2 on s
0000 
"""  # noqa: W291 - as above
MISSING = "8001 Network not found\n"


def neighbour(path: Path, kind: ViewKind = ViewKind.BIRD) -> Neighbour:
    return Neighbour(
        name="router",
        address=ip_address("10.66.1.1"),
        local_address=US,
        asn=65000,
        local_asn=65010,
        next_hops={},
        view=View(kind=kind, path=str(path)),
    )


def test_protocols_are_found_by_their_neighbour() -> None:
    assert parse_bird_protocols(PROTOCOLS, US) == "edge-1"
    assert parse_bird_protocols(PROTOCOLS, ip_address("fd66:1::9")) == "other"
    assert parse_bird_protocols(PROTOCOLS, ip_address("10.66.1.3")) is None


def test_routes_are_there_or_not_or_bird_says_what_is_wrong() -> None:
    assert parse_bird_route(ROUTE, PREFIX)
    assert not parse_bird_route(MISSING, PREFIX)
    assert not parse_bird_route("0000 \n", PREFIX)
    assert not parse_bird_route(ROUTE.replace("203.0.113.0/24", "203.0.113.0/25"), PREFIX)
    with pytest.raises(PeerError, match="syntax error"):
        parse_bird_route("9001 syntax error, unexpected CF_SYM_UNDEFINED\n", PREFIX)


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        (json.dumps({"paths": [{"peer": {"peerId": "10.9.9.9"}}, {"peer": {"peerId": str(US)}}]}), True),
        (json.dumps({"paths": [{"peer": {"peerId": "10.9.9.9"}}]}), False),
        ("{}", False),
        ("", False),
        ("% Network not in table\n", False),
    ],
)
def test_frr_has_paths_from_us_or_not(said: str, seen: bool) -> None:
    assert parse_frr(said, US) is seen


@pytest.mark.parametrize("said", ["[]", "x", '{"paths": [1]}', '{"paths": [{}]}', "[" * 100_000])
def test_frr_that_makes_no_sense(said: str) -> None:
    with pytest.raises(PeerError, match="makes no sense"):
        parse_frr(said, US)


@contextmanager
def bird(path: Path, words: dict[str, str]) -> Iterator[None]:
    """Something on a control socket that answers as BIRD does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(16)

        def serve() -> None:
            while True:
                try:
                    control, _ = listener.accept()
                except OSError:
                    return
                with control, control.makefile("rw", encoding="utf-8") as file:
                    file.write("0001 BIRD 2.0.12 ready.\n")
                    file.flush()
                    for line in file:
                        file.write(next((said for key, said in words.items() if key in line), MISSING))
                        file.flush()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(60)


def test_bird_is_asked_by_the_protocol_that_is_ours(tmp_path: Path) -> None:
    path = tmp_path / "bird.ctl"
    words = {"show protocols all": PROTOCOLS, f"show route {PREFIX} protocol 'edge-1'": ROUTE}
    with bird(path, words):
        assert look(neighbour(path), (PREFIX, OTHER)) == {PREFIX: True, OTHER: False}
    with pytest.raises(PeerError):
        look(neighbour(path), (PREFIX,))


def test_a_bird_that_does_not_know_us_says_so(tmp_path: Path) -> None:
    path = tmp_path / "bird.ctl"
    with (
        bird(path, {"show protocols all": PROTOCOLS.replace(str(US), "10.66.1.3")}),
        pytest.raises(PeerError, match="has no session with 10.66.1.2"),
    ):
        look(neighbour(path), (PREFIX,))


def route(prefix: str, at: str = "10.66.1.1") -> RouteReport:
    return RouteReport(service="web", neighbour=ip_address(at), prefix=ip_network(prefix), wished=None)


def test_routes_are_told_with_what_their_neighbour_has(tmp_path: Path) -> None:
    path = tmp_path / "bird.ctl"

    async def scenario() -> None:
        changed = asyncio.Event()
        views = PeerViews([neighbour(path)], changed.set)
        assert views.told(route(str(PREFIX))).seen is None
        watching = asyncio.create_task(views.run(lambda: [PREFIX, PREFIX, OTHER]))
        try:
            async with asyncio.timeout(60):
                await changed.wait()
            assert views.problem is not None
            assert views.problem.startswith("router: BIRD: ")
            assert views.told(route(str(PREFIX))).seen is None
            changed.clear()
            words = {"show protocols all": PROTOCOLS, f"show route {PREFIX} ": ROUTE}
            with bird(path, words):
                async with asyncio.timeout(60):
                    await changed.wait()
                told = views.told(route(str(PREFIX)))
                assert (told.seen, told.seen_by) == (True, f"bird {path}")
                assert views.told(route(str(OTHER))).seen is False
                assert views.told(route("192.0.2.0/24")).seen is None  # not looked at yet
                assert views.told(route(str(PREFIX), "10.66.1.9")) == route(str(PREFIX), "10.66.1.9")
                assert views.problem is None
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    asyncio.run(scenario())
