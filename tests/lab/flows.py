"""Flows: which instance answers each of many source ports, by UDP."""

from __future__ import annotations

import secrets
import selectors
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from tests.lab.network import Host

PORT = 7
BATCH = 500  # questions in the air
FREEBIND = 15  # IP_FREEBIND of linux/in.h, for IPv6 too
TRIES = 5
FIRST_PORT = 10_000
TOKEN_BYTES = 8
IPV6_CHECKSUM, SO_RCVBUFFORCE = 7, 33
BUFFER_BYTES = 4 << 20
_DATAGRAM = struct.Struct(">HHHH")  # UDP: source, destination, length, checksum


@contextmanager
def answering(hosts: Mapping[str, Host], addresses: Sequence[str]) -> Iterator[None]:
    """Instances that answer with their names at some addresses."""
    with selectors.DefaultSelector() as ready:
        sockets = []
        for name, host in hosts.items():
            for address in addresses:
                sock = host.inside(partial(_bound, address, PORT))
                sock.setblocking(False)
                sockets.append(sock)
                ready.register(sock, selectors.EVENT_READ, name.encode())
        stop, told = socket.socketpair()
        ready.register(told, selectors.EVENT_READ, None)
        thread = threading.Thread(target=_answer, args=(ready,))
        thread.start()
        try:
            yield
        finally:
            stop.close()
            thread.join()
            for sock in (*sockets, told):
                sock.close()


def _answer(ready: selectors.BaseSelector) -> None:
    while True:
        for key, _ in ready.select():
            if key.data is None:
                return
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            try:
                while True:
                    token, peer = sock.recvfrom(64)
                    sock.sendto(token + key.data, peer)
            except BlockingIOError:
                continue


def ask(client: Host, address: str, count: int) -> dict[int, str]:
    """Who answers each of `count` flows, by source port. Each is asked again until it is answered, a few times.

    One raw socket stands for all source ports: a socket for each costs ten times as much. Each call has a token of its
    own, as answers to the questions of an earlier one may still be on their way.
    """
    found: dict[int, str] = {}
    token = secrets.token_bytes(TOKEN_BYTES)
    ports = range(FIRST_PORT, FIRST_PORT + count)
    with client.inside(partial(_raw, address)) as sock:
        for _ in range(TRIES):
            left = [port for port in ports if port not in found]
            for start in range(0, len(left), BATCH):
                batch = left[start : start + BATCH]
                for port in batch:
                    sock.send(_DATAGRAM.pack(port, PORT, _DATAGRAM.size + TOKEN_BYTES, 0) + token)
                _hear(sock, token, found, set(batch))
    assert len(found) == count, f"{count - len(found)} of {count} flows were never answered"
    return found


def _hear(sock: socket.socket, token: bytes, found: dict[int, str], waiting: set[int]) -> None:
    """Answers, until all have come or nothing has for a second."""
    before = 20 if sock.family == socket.AF_INET else 0  # a raw socket of IPv4 gets the header too
    while waiting:
        try:
            data = sock.recv(128)[before:]
        except TimeoutError:
            return
        source, port, _, _ = _DATAGRAM.unpack_from(data)
        said = data[_DATAGRAM.size :]
        if source == PORT and port in waiting and said.startswith(token):
            found[port] = said[TOKEN_BYTES:].decode()
            waiting.remove(port)


def _raw(address: str) -> socket.socket:
    family = socket.AF_INET if "." in address else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_UDP)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_CHECKSUM, 6)  # RFC 8200: IPv6 wants one; IPv4 may go without
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
    sock.connect((address, 0))
    sock.settimeout(1.0)
    return sock


def shares(flows: Mapping[int, str]) -> dict[str, float]:
    """The share of all flows that each instance has."""
    return {name: count / len(flows) for name, count in sorted(Counter(flows.values()).items())}


def moved(before: Mapping[int, str], after: Mapping[int, str], left: str) -> float:
    """The share of the flows of those that stayed which another one answers now."""
    stayed = [port for port, name in before.items() if name != left]
    return sum(after[port] != before[port] for port in stayed) / len(stayed)


def _bound(address: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET if "." in address else socket.AF_INET6, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IP if "." in address else socket.IPPROTO_IPV6, FREEBIND if "." in address else 78, 1)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)  # a whole batch may come before one is answered
    sock.bind((address, port))
    return sock
