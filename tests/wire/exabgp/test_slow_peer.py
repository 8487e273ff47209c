"""50,000 commands while the peer does not read, and then does: no wedge, nothing grows, the last wishes stand."""

from __future__ import annotations

import random
import select
from pathlib import Path

from gtm.wire.exabgp.command import announce, key, withdraw
from gtm.wire.exabgp.dialect import SHOW_RIB
from gtm.wire.exabgp.reply import NeighbourState, RibRoute
from gtm.wire.exabgp.session import WINDOW, Accepted, Answer, Session
from tests.bgp_sink import sink
from tests.exabgp import Peer, exabgp
from tests.wire.exabgp.routes import route

COMMANDS = 50_000
KEYS = 4_000
STALLED = range(10_000, 40_000)  # commands during which the peer reads nothing


def test_a_peer_that_reads_slowly(tmp_path: Path) -> None:
    dice = random.Random(1)
    wished: dict[str, int | None] = {}
    with sink() as peer, exabgp(tmp_path, [Peer(address="127.0.0.1", port=peer.port)]) as speaker:
        session = Session()
        speaker.link.setblocking(False)
        out = b""
        made = taken = longest = 0
        answers: list[Answer] = []
        while made < COMMANDS or not session.idle or out:
            while made < COMMANDS and session.waiting < WINDOW:
                number = dice.randrange(KEYS)
                med = None if dice.random() < 0.3 else made
                one = route(f"10.{number >> 8}.{number & 255}.0/24", med=med)
                wished[key(one)] = med
                session.wish(key(one), withdraw(one) if med is None else announce(one))
                made += 1
                if made in {STALLED.start, STALLED.stop}:
                    (peer.reading.clear if made == STALLED.start else peer.reading.set)()
                if made == COMMANDS:
                    session.ask(SHOW_RIB)
            out = out or session.take(0.0)
            readable, writable, _ = select.select([speaker.link], [speaker.link] if out else [], [], 60.0)
            assert readable or writable, "it is wedged"
            if writable:
                out = out[speaker.link.send(out) :]
            if readable:
                data = speaker.link.recv(1 << 16)
                assert data, speaker.log.read_text()
                for event in session.receive(data):
                    assert isinstance(event, Accepted | Answer | NeighbourState), event
                    taken += isinstance(event, Accepted)
                    if isinstance(event, Answer):
                        answers.append(event)
            longest = max(longest, session.outstanding + session.waiting)
        assert longest <= 2 * WINDOW + 1
        assert taken + 10_000 > COMMANDS  # few are overtaken by a newer wish while they wait
        (answer,) = answers
        assert answer.ok
        rib = {
            f"{one.neighbour} {one.prefix}": one.attributes.med for one in answer.replies if isinstance(one, RibRoute)
        }
        assert rib == {name: med for name, med in wished.items() if med is not None}
        left = {name.split()[1] for name in rib}
        peer.wait("the peer has what is left", lambda: peer.table == left)
