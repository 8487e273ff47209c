"""sock_diag on real connections of this machine."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path

import pytest

from gtm.observe.rtt import sockdiag
from gtm.observe.rtt.sockdiag import Peer, peers

ROOT = Path(__file__).resolve().parents[3]


def connected(stack: ExitStack, listener: socket.socket, source: str, payload: bytes = b"hello") -> None:
    """A connection from an address on which something has been sent and acknowledged."""
    client = stack.enter_context(socket.socket(listener.family, socket.SOCK_STREAM))
    client.bind((source, 0))
    client.connect((source if ":" in source else "127.0.0.1", listener.getsockname()[1]))
    server = stack.enter_context(listener.accept()[0])
    client.sendall(payload)
    assert server.recv(100) == payload
    server.sendall(b"x")
    assert client.recv(100) == b"x"


def test_those_who_are_connected_to_the_port_and_nobody_else() -> None:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        other = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        for source in ("127.0.0.5", "127.9.9.9"):
            connected(stack, listener, source)
        connected(stack, other, "127.0.0.6")
        port = listener.getsockname()[1]
        found = {str(peer.address): peer for peer in peers(port)}
        assert set(found) == {"127.0.0.5", "127.9.9.9"}
        for peer in found.values():
            assert peer.local_port == port
            assert (peer.info.received_bytes, peer.info.segments_in, peer.info.resent) == (5, 1, 0)
            assert peer.info.least_s is not None
            assert peer.info.least_s > 0
    assert list(peers(port)) == []


def test_ipv6_and_ipv4_on_a_socket_for_both() -> None:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True))
        connected(stack, listener, "::1")
        port = listener.getsockname()[1]
        client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        stack.enter_context(listener.accept()[0])
        assert sorted(str(peer.address) for peer in peers(port)) == ["127.0.0.1", "::1"]
        del client


def test_many_connections_take_many_messages() -> None:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=300))
        for number in range(300):
            connected(stack, listener, f"127.1.{number % 200}.{number // 200 + 1}")
        assert sum(1 for _ in peers(listener.getsockname()[1])) == 300


def test_it_takes_no_right() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to give it up")
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        connected(stack, listener, "127.0.0.7")
        port = listener.getsockname()[1]
        program = (
            "import os; from gtm.observe.rtt.sockdiag import peers; os.setgroups([]); os.setgid(65534);"
            f"os.setuid(65534); print([str(one.address) for one in peers({port})])"
        )
        ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True)
    assert ended.stdout.strip() == "['127.0.0.7']"


def message(attributes: bytes) -> bytes:
    """A v4 connection from 192.0.2.7:4242 to port 443."""
    head = bytes((socket.AF_INET, 1, 0, 0)) + struct.pack("!HH4s12x4s12x", 443, 4242, bytes(4), bytes((192, 0, 2, 7)))
    return head + bytes(72 - len(head)) + attributes


def info(least_us: int) -> bytes:
    data = bytearray(232)
    struct.pack_into("=I", data, 148, least_us)
    return struct.pack("=HH", 4 + len(data), 2) + data


def test_other_attributes_are_passed_over() -> None:
    shutdown = struct.pack("=HHB3x", 5, 8, 0)  # an odd length, padded to four
    peer = sockdiag._peer(message(shutdown + info(1500)))
    assert isinstance(peer, Peer)
    assert (peer.address, peer.port, peer.local_port, peer.info.least_s) == (ip_address("192.0.2.7"), 4242, 443, 0.0015)


@pytest.mark.parametrize(
    "broken", [b"", bytes(71), message(b""), message(struct.pack("=HH", 0, 2)), message(struct.pack("=HH", 12, 2))]
)
def test_a_message_without_its_tcp_info_is_nobody(broken: bytes) -> None:
    assert sockdiag._peer(broken) is None
