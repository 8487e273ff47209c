"""struct tcp_info: the fields are where we read them, by what a connection must have in them."""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gtm.observe.rtt import tcpinfo

ESTABLISHED = 1
NO_OPTION = f"({errno.ENOPROTOOPT}|{errno.EOPNOTSUPP})"


@contextmanager
def connection(address: str = "127.0.0.1") -> Iterator[tuple[socket.socket, socket.socket]]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as listener:
        client = socket.create_connection(listener.getsockname()[:2], 30)
        server, _ = listener.accept()
        with client, server:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield client, server


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_real_connection(address: str) -> None:
    before_s = time.monotonic()
    with connection(address) as (client, server):
        for size in (100, 200, 300):
            client.sendall(bytes(size))
            assert len(server.recv(1000)) == size  # so each goes as a segment of its own
        server.sendall(b"x")
        assert client.recv(10) == b"x"
        ours, theirs = tcpinfo.of(server), tcpinfo.of(client)
        whole_s = time.monotonic() - before_s
    assert ours is not None
    assert theirs is not None
    assert (ours.state, ours.received_bytes, ours.segments_in, ours.segments_out) == (ESTABLISHED, 600, 3, 1)
    assert (theirs.state, theirs.received_bytes, theirs.segments_in, theirs.segments_out) == (ESTABLISHED, 1, 1, 3)
    for info in (ours, theirs):
        assert info.resent == 0
        assert info.least_s is not None
        assert 0 < info.least_s <= whole_s
        assert info.least_s <= info.smoothed_s * 2 <= 2 * whole_s  # the smoothed one is rounded to 8ths
        assert 0 <= info.quiet_s <= whole_s + 0.02  # the kernel's ticks are some milliseconds


def raw(least_us: int, resent: int) -> bytes:
    info = bytearray(248)
    struct.pack_into("=I", info, 148, least_us)
    struct.pack_into("=I", info, 100, resent)
    return bytes(info)


def test_what_was_sent_twice_tells_nothing() -> None:
    assert tcpinfo.clean_s(tcpinfo.parse(raw(2500, 0))) == 0.0025
    assert tcpinfo.clean_s(tcpinfo.parse(raw(2500, 1))) is None


@pytest.mark.parametrize("least_us", [0, 0xFFFFFFFF])
def test_nothing_measured_is_nothing(least_us: int) -> None:
    assert tcpinfo.clean_s(tcpinfo.parse(raw(least_us, 0))) is None


def test_an_older_kernel_tells_nothing() -> None:
    assert tcpinfo.parse(bytes(104)) is None
    assert tcpinfo.clean_s(None) is None


def test_a_socket_that_is_none_of_tcp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, pytest.raises(OSError, match=f"Errno {NO_OPTION}"):
        tcpinfo.of(sock)
