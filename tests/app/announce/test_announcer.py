"""The announcer under the real ExaBGP: checks to routes, and what becomes of them when its parts stop or die."""

from __future__ import annotations

from pathlib import Path

from gtm.model.anycast import Phase
from tests.app.announce.announcer import PREFIX, announcer, on_wire, route, web


def test_the_service_is_announced_while_its_check_is_good(tmp_path: Path) -> None:
    with announcer(tmp_path) as one:
        one.serve()
        one.start()
        one.wait_table(PREFIX)
        found = one.until("it is read back", on_wire)
        assert web(found).phase is Phase.UP
        assert found.exabgp is not None
        assert found.exabgp.startswith("exabgp 5.") or found.exabgp.startswith("5.")
        assert found.neighbours[0].up
        told = route(found)
        assert told is not None
        assert told.accepted
        assert told.seen is None  # nobody asked the peer
        one.fail()
        one.wait_table()
        found = one.until("it is read back", lambda found: not found.routes)
        assert web(found).phase is Phase.DOWN
        one.serve()
        one.wait_table(PREFIX)
        assert one.sink.sessions == 1
