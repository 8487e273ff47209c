"""Mutated packets against a real worker, over UDP and TCP: no crash, no hang, nothing too long, memory flat.

GTM_STORM sets how many; `make storm` sends a million.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path

from gtm.app.nameserver import counters
from tests.answer.table import ASKED
from tests.answer.test_paths import ecs, opt, query
from tests.app.conftest import Publish
from tests.app.worker import connect, framed, free_port, receive, worker

COUNT = int(os.environ.get("GTM_STORM", "20000"))
BATCH = 50
GROWTH_MAX_BYTES = 16 << 20
SENTINEL = b"\xff\xff" + query("www.example.com.")[2:]

SEEDS = [
    query(owner, rtype, edns=edns)
    for owner in ASKED
    for rtype in (1, 16, 255)
    for edns in (None, opt(), opt(ecs(b"\xcb\0\x71", 24)), opt(ecs(b"\x20\1\x0d\xb8", 32, family=2), size=512))
]


def mutants(rng: random.Random) -> Iterator[bytes]:
    """Packets without end: seeds with octets changed, cut, doubled, joined, or nothing but noise."""
    while True:
        packet = bytearray(rng.choice(SEEDS))
        for _ in range(rng.choice((0, 1, 1, 2, 4, 16))):
            packet[rng.randrange(2, len(packet))] = rng.choice((0, 1, 0xC0, 0xFF, 0x3F, 0x40, rng.randrange(256)))
        kind = rng.randrange(12)
        if kind == 0:
            del packet[rng.randrange(len(packet)) :]
        elif kind == 1:
            packet += rng.choice(SEEDS)[rng.randrange(12) :]
        elif kind == 2:
            packet = bytearray(rng.randbytes(rng.randrange(600)))
        elif kind == 3:
            packet += rng.randbytes(rng.randrange(1500))
        yield bytes(packet)


def resident_bytes(pid: int) -> int:
    """A process's resident memory without the mapped table, which comes in as it is used."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")


def udp_batch(sock: socket.socket, packets: list[bytes]) -> None:
    """Send numbered packets and a sentinel; everything that comes back before the sentinel's answer must be short."""
    asked = {}
    for number, packet in enumerate(packets):
        numbered = number.to_bytes(2, "big") + packet[2:] if len(packet) > 2 else packet
        asked[numbered[:2]] = numbered
        sock.send(numbered)
    sock.send(SENTINEL)
    while (reply := sock.recv(65535))[:2] != SENTINEL[:2]:  # TimeoutError: the worker hangs
        limit = 1232 if asked[reply[:2]][10:12] != b"\0\0" else 512
        assert len(reply) <= limit, asked[reply[:2]].hex()
        assert reply[2] & 0x80


def tcp_batch(port: int, packets: list[bytes], rng: random.Random) -> None:
    """Send framed packets, some with a wrong length, then take whatever comes until the end."""
    with connect(port) as sock:
        for packet in packets:
            data = framed(packet)
            if rng.randrange(50) == 0:
                data = rng.randbytes(2) + packet
            try:
                sock.sendall(data)
            except OSError:  # the worker has had enough of this connection
                break
        try:
            sock.shutdown(socket.SHUT_WR)
            while (reply := receive(sock)) is not None:
                assert len(reply) >= 12
        except OSError:  # closed on us, which is an answer to garbage
            return


def test_a_storm_of_mutated_packets(publish: Publish, tmp_path: Path) -> None:
    rng = random.Random(20261122)
    packets = mutants(rng)
    port = free_port()
    with worker(tmp_path, f"127.0.0.1:{port}") as process, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", port))
        sock.settimeout(60)
        before = 0
        for number in range(COUNT // BATCH):
            batch = [next(packets) for _ in range(BATCH)]
            if number % 2:
                udp_batch(sock, batch)
            else:
                tcp_batch(port, batch, rng)
            if number == COUNT // BATCH // 4:  # all that is kept on purpose has been asked for by now
                before = resident_bytes(process.pid)
        assert process.poll() is None
        assert resident_bytes(process.pid) - before < GROWTH_MAX_BYTES
        sock.send(SENTINEL)
        assert sock.recv(512)[:2] == SENTINEL[:2]
        # All datagrams came through; of a connection, garbage may be the end before its last query.
        _, counts = counters.read(tmp_path / "workers" / "dns-0.counters")
        assert counts["udp4_queries"] >= COUNT // 2
        assert counts["tcp4_queries"] >= COUNT // 16
