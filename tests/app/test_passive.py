"""A worker's TCP clients, and the round-trip times that it puts down of them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from ipaddress import ip_network
from pathlib import Path

import pytest

from gtm.model.rtt import RttSample
from gtm.observe.rtt.ring import RttRing
from tests.answer.test_paths import query
from tests.app import distance
from tests.app.conftest import Publish
from tests.app.node import until
from tests.app.worker import ask, connect, framed, free_port, receive, worker


def put_down(rings: RttRing, count: int) -> list[RttSample]:
    """The samples of a ring, once there are as many as are waited for."""
    found: list[RttSample] = []

    def enough() -> bool:
        found.extend(rings.drain())
        return len(found) >= count

    until(enough)
    return found


@pytest.mark.parametrize(
    ("address", "network", "client_ends"),
    [("127.0.0.1", "127.0.0.0/24", True), ("::1", "::/48", True), ("127.0.0.1", "127.0.0.0/24", False)],
)
def test_a_connection_that_asked_leaves_its_round_trip_time(
    publish: Publish, tmp_path: Path, address: str, network: str, client_ends: bool
) -> None:
    port = free_port(address)
    rings = RttRing(tmp_path / "workers", "us-east")
    before_s, wall_s = time.monotonic(), time.time()
    with worker(tmp_path, f"[{address}]:{port}" if ":" in address else f"{address}:{port}"):
        assert rings.drain() == []
        with connect(port, address) as sock:
            sock.sendall(framed(query("www.example.com.")) * 2)
            assert receive(sock)
            assert receive(sock)
            if client_ends:
                sock.close()
            else:  # the worker closes what has been idle for some seconds
                assert receive(sock) is None
        [sample] = put_down(rings, 1)
    assert sample.network == ip_network(network)
    assert (sample.region, sample.count) == ("us-east", 1)
    assert 0 < sample.rtt_s < time.monotonic() - before_s
    assert wall_s - 1 < sample.at_s < time.time() + 1


def test_who_asked_nothing_or_came_by_udp_leaves_nothing(publish: Publish, tmp_path: Path) -> None:
    port = free_port()
    rings = RttRing(tmp_path / "workers", "us-east")
    with worker(tmp_path, f"127.0.0.1:{port}"):
        rings.drain()
        connect(port).close()
        with connect(port) as half:
            half.sendall(framed(query("www.example.com."))[:9])
            half.shutdown(socket.SHUT_WR)
            assert receive(half) is None
        with connect(port) as garbage:
            garbage.sendall(framed(b"ab"))
            assert receive(garbage) is None
        assert ask(query("www.example.com."), port)
        with connect(port) as last:
            last.sendall(framed(query("www.example.com.")))
            assert receive(last)
        assert len(put_down(rings, 1)) == 1


def test_without_a_reader_nothing_is_kept(publish: Publish, tmp_path: Path) -> None:
    port = free_port()
    path = tmp_path / "workers" / "dns-0.rtts"
    with worker(tmp_path, f"127.0.0.1:{port}"):
        before = path.read_bytes()
        for _ in range(3):
            with connect(port) as sock:
                sock.sendall(framed(query("www.example.com.")))
                sock.shutdown(socket.SHUT_WR)
                assert receive(sock)
                assert receive(sock) is None  # closed: whatever is put down has been by now
        assert path.read_bytes() == before


def test_a_worker_whose_ring_cannot_be_made_serves_without(publish: Publish, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "workers" / "dns-0.rtts").mkdir(parents=True)
    with worker(tmp_path, f"127.0.0.1:{port}"), connect(port) as sock:
        sock.sendall(framed(query("www.example.com.")))
        assert receive(sock)


def test_over_a_long_way_all_say_how_long_it_is(publish: Publish, tmp_path: Path) -> None:
    """The worker's ring, an agent and three kinds of probes, over a relay that delays every packet."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare: network namespaces are made")
    if not Path("/dev/net/tun").exists():
        pytest.skip("this kernel has no tun device")
    began_s = time.monotonic()
    ended = subprocess.run(
        ["unshare", "--net", sys.executable, "-m", "tests.app.distance", str(tmp_path)],
        cwd=Path(__file__).resolve().parents[2],
        stdout=subprocess.PIPE,
        check=True,
        timeout=300,
    )
    said = json.loads(ended.stdout)
    assert set(said) == {"passive", "agent", "icmp", "tcp", "dns"}
    for rtt_s in said.values():
        assert 2 * distance.WAY_S <= rtt_s < time.monotonic() - began_s
