"""Real worker processes for tests: a published state folder, a free port, and questions over real sockets."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPLY_S = 20.0


def free_port(address: str = "127.0.0.1") -> int:
    """A port that is free for UDP and TCP now."""
    for _ in range(100):
        with socket.socket(_family(address), socket.SOCK_STREAM) as tcp:
            tcp.bind((address, 0))
            port = int(tcp.getsockname()[1])
            with socket.socket(_family(address), socket.SOCK_DGRAM) as udp:
                try:
                    udp.bind((address, port))
                except OSError:
                    continue
                return port
    raise RuntimeError("no free port")


@contextmanager
def worker(state: Path, *listen: str, slot: int = 0) -> Iterator[subprocess.Popen[bytes]]:
    """A DNS worker that serves a state folder, until the block ends."""
    reading, writing = os.pipe()
    addresses = [word for one in listen for word in ("--listen", one)]
    command = [sys.executable, "-m", "gtm.app.worker", "--state", str(state), "--slot", str(slot), *addresses]
    process = subprocess.Popen([*command, "--ready-fd", str(writing)], pass_fds=(writing,))
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as pipe:
            assert pipe.read(1) == b"1", "the worker did not start"
        yield process
    finally:
        process.terminate()
        process.wait(REPLY_S)


def ask(query: bytes, port: int, address: str = "127.0.0.1") -> bytes:
    """The answer over UDP; asked again after a while, as any resolver would."""
    with socket.socket(_family(address), socket.SOCK_DGRAM) as sock:
        sock.connect((address, port))
        sock.settimeout(REPLY_S / 10)
        for _ in range(10):
            sock.send(query)
            try:
                return sock.recv(65535)
            except TimeoutError:
                continue
    raise TimeoutError(f"no answer from {address}:{port}")


def connect(port: int, address: str = "127.0.0.1") -> socket.socket:
    """A TCP connection with a deadline."""
    return socket.create_connection((address, port), REPLY_S)


def framed(message: bytes) -> bytes:
    """A message as it goes over TCP."""
    return len(message).to_bytes(2, "big") + message


def receive(sock: socket.socket) -> bytes | None:
    """The next message over TCP, None at the end."""
    head = _exactly(sock, 2)
    return None if head is None else _exactly(sock, int.from_bytes(head, "big"))


def _exactly(sock: socket.socket, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            return None
        data += more
    return data


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
