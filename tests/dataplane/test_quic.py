"""QUIC connection IDs that name their server: where packets go, and where the table has server IDs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from gtm.decide.balance import UDP, Verdict, balance
from gtm.publish.dataplane import layout
from gtm.publish.dataplane.servers import Full, place_servers
from tests.dataplane import world as w
from tests.dataplane.kernel import Kernel


def outer(frame: bytes) -> bytes:
    """The outer target, of 4 or 16 bytes."""
    return frame[30:34] if frame[12:14] == b"\x08\x00" else frame[38:54]


@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("number", [3, 4, 5, 6])
@pytest.mark.parametrize("family", w.FAMILIES)
def test_a_connection_stays_though_its_client_moves(kernel: Kernel, family: int, number: int, long: bool) -> None:
    address = w.tables().backends[number].address
    for sport, host in itertools.product(range(1000, 1010), range(1, 4)):
        source = f"203.0.113.{host}" if family == 4 else f"2001:db8:d::{host}"
        payload = w.udp(sport=sport, payload=w.quic(*w.SERVER_IDS[number], long=long))
        frame = w.frame(w.packet(family, w.vip(family, w.QUIC), payload, protocol=UDP, source=source))
        _, out = kernel.run(frame)
        assert outer(out) in (address, address[12:])
        assert balance(frame, w.tables()) == (Verdict.TX_FORWARD, out)


@pytest.mark.parametrize(
    "payload",
    [
        w.quic(0, b"\x02"),  # nobody's
        w.quic(4, b"\x01"),  # a rotation that is not in use
        w.quic(7, b"\x01"),  # the one that names no server
        w.quic(0, b"\x09"),  # whose drain is over
        w.quic(0, b"\x01", long=True, nonce=3),  # a client's own
        w.quic(0, b"\x01")[:2],
    ],
)
def test_what_names_no_server_goes_by_the_hash(kernel: Kernel, payload: bytes) -> None:
    """As its flow's packets without any connection ID do."""
    targets = []
    for content in (payload, b""):
        kernel.forget()
        udp = w.udp(sport=1000, payload=content)
        _, out = kernel.run(w.frame(w.packet(4, w.vip(4, w.QUIC), udp, protocol=UDP)))
        targets.append(outer(out))
    assert targets[0] == targets[1]


def test_server_ids_keep_their_places() -> None:
    """While others come and go, so that no packet misses its server."""
    servers = {(1, 0, number.to_bytes(2, "big")): 1 + number % 4000 for number in range(9000)}
    before = place_servers(servers, w.SEED)
    assert np.count_nonzero(before) == len(servers)
    fewer = {server: number for server, number in servers.items() if number % 3}
    after = place_servers(fewer, w.SEED, standing=before)
    assert np.count_nonzero(after) == len(fewer)
    assert (after == before)[after != 0].all()


def test_a_full_table_says_so() -> None:
    with pytest.raises(Full):
        place_servers({(1, 0, number.to_bytes(2, "big")): 1 for number in range(layout.SERVER_BUCKETS * 8 + 1)}, w.SEED)
