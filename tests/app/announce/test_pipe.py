"""What supervisor and thinker tell each other comes as it was said, in datagrams that a socket takes."""

from __future__ import annotations

import os
import select
from ipaddress import ip_address, ip_network

import pytest

from gtm.app.announce.aside import LINES_MAX, Aside
from gtm.app.announce.pipe import (
    DATAGRAM_MAX_BYTES,
    Ask,
    Beat,
    Expired,
    Hail,
    Leaving,
    Lost,
    Order,
    Owned,
    Part,
    Renew,
    Stop,
    Version,
    Want,
    Word,
    orders,
    pack,
    split,
    words,
)
from gtm.model.route import Attributes, Communities, Community, LargeCommunity
from gtm.wire.exabgp.reply import Neighbours, NeighbourState, Other, RibRoute
from gtm.wire.exabgp.session import Accepted, Answer, Refused

PEER = ip_address("2001:db8::1")
ROUTE = RibRoute(
    neighbour=PEER,
    prefix=ip_network("203.0.113.0/24"),
    path_id=7,
    attributes=Attributes(
        next_hop=ip_address("192.0.2.1"),
        med=5,
        local_pref=100,
        as_path=(64500, 64500),
        communities=Communities(standard=(Community(65535, 0),), large=(LargeCommunity(64500, 1, 2),)),
    ),
)
STATE = NeighbourState(neighbour=PEER, up=False, reason="peer went away")
ORDERS: tuple[Order, ...] = (
    Want(key="k", group="web", command="announce", undo="withdraw"),
    Want(key="k", group="web", command="withdraw", undo=None),
    Renew(groups={"web": 3.0, "mail": None}),
    Ask(question="version"),
    Leaving(),
)
WORDS: tuple[Word, ...] = (
    Owned(key="k", group="web", undo="withdraw"),
    Hail(supervisor_pid=2, exabgp_pid=1),
    Version(text="5.0.15"),
    Beat(outstanding=1, waiting=2, waited_s=0.5),
    Accepted(key="k", command="announce"),
    Refused(key="k", command="announce"),
    Part(question="q", replies=(ROUTE, Neighbours(states=(STATE,)), Other("what"))),
    Answer(question="q", ok=True, replies=()),
    STATE,
    Expired(groups=("web", "mail")),
    Lost(),
    Stop(exabgp_ends=True),
)


def test_all_comes_as_it_was_said() -> None:
    assert [each for datagram in pack(ORDERS) for each in orders(datagram)] == list(ORDERS)
    assert [each for datagram in pack(WORDS) for each in words(datagram)] == list(WORDS)


def test_much_is_many_datagrams_in_order() -> None:
    many = [Want(key=f"k{n}", group="web", command=f"announce {n}" * 20, undo="w") for n in range(2000)]
    datagrams = list(pack(many))
    assert max(map(len, datagrams)) <= DATAGRAM_MAX_BYTES + 2 + len(datagrams)
    assert [each for datagram in datagrams for each in orders(datagram)] == many
    parts = list(split(Answer(question="q", ok=True, replies=(ROUTE,) * 1000)))
    assert sum(len(part.replies) for part in parts if isinstance(part, Part)) == 1000
    assert isinstance(parts[-1], Answer)
    assert all(len(datagram) <= DATAGRAM_MAX_BYTES + 2 for datagram in pack(parts))


def test_what_is_neither_is_not_understood() -> None:
    with pytest.raises(ValueError, match="no order: 'lost'"):
        orders(next(iter(pack([Lost()]))))
    with pytest.raises(ValueError, match="no word: 'leaving'"):
        words(next(iter(pack([Leaving()]))))


def test_logs_that_nobody_reads_hold_nobody_up() -> None:
    reading, writing = os.pipe()
    try:
        with Aside(writing) as aside:
            for _ in range(2 * LINES_MAX):  # far more than a pipe and the queue hold
                aside.write("x" * 999 + "\n")
            assert aside.left_out > 0
            assert select.select([reading], [], [], 60.0)[0]
            assert os.read(reading, 1000) == b"x" * 999 + b"\n"
    finally:
        os.close(reading)
