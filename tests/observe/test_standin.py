"""The stand-in instance: it answers, says who it is, and goes when told."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "gtm.app.standin", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class Running(NamedTuple):
    process: subprocess.Popen[str]
    address: str
    port: int

    def ask(self, data: bytes) -> bytes:
        """Everything that is answered until the stand-in closes."""
        with socket.create_connection((self.address, self.port), timeout=30) as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: sock.recv(65536), b""))


@pytest.fixture
def standin() -> Iterator[Running]:
    process = start("127.0.78.1:0", "--name", "web-1", "--region", "us-east")
    assert process.stdout is not None
    port = int(process.stdout.readline().rsplit(":", 1)[1])
    yield Running(process, "127.0.78.1", port)
    if process.poll() is None:
        process.kill()
    process.communicate()


def test_health_and_banner(standin: Running) -> None:
    health = standin.ask(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert health.startswith(b"HTTP/1.1 200 OK\r\n")
    assert health.endswith(b"\r\n\r\nok")
    assert standin.ask(b"GET / HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\nweb-1 in us-east answers\n")


def test_keep_alive_and_pipelining(standin: Running) -> None:
    one = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    said = standin.ask(one + one + b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" + one)
    assert said.count(b"HTTP/1.1 200 OK") == 3
    assert said.count(b"web-1 in us-east answers\n") == 2


def test_content_is_skipped_and_other_methods_are_refused(standin: Running) -> None:
    content = b"GET /healthz HTTP/1.1\r\n\r\n"
    post = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content)
    said = standin.ask(post + b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert said.count(b"HTTP/1.1 ") == 2
    assert said.startswith(b"HTTP/1.1 405 ")
    assert said.endswith(b"web-1 in us-east answers\n")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"hello\r\n\r\n", b"400"),
        (b"GET / HTTP/2\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * 20_000, b"431"),
    ],
)
def test_nonsense_is_refused_and_closed(standin: Running, sent: bytes, status: bytes) -> None:
    with socket.create_connection((standin.address, standin.port), timeout=30) as sock:
        sock.sendall(sent)
        assert sock.recv(65536).startswith(b"HTTP/1.1 " + status)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_with_clients_connected(standin: Running, number: signal.Signals) -> None:
    with socket.create_connection((standin.address, standin.port), timeout=30) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")
        standin.process.send_signal(number)
        assert sock.recv(65536) == b""
    assert standin.process.wait() == 0
    assert standin.process.stderr is not None
    assert standin.process.stderr.read() == ""


@pytest.mark.parametrize("arguments", [[], ["127.0.78.1:80"], ["nonsense", "--name", "a", "--region", "b"],
                                       ["127.0.78.1:x", "--name", "a", "--region", "b"]])  # fmt: skip
def test_wrong_usage(arguments: list[str]) -> None:
    process = start(*arguments)
    _, said = process.communicate()
    assert (process.returncode, said[:6]) == (2, "usage:")


def test_a_port_that_is_taken(standin: Running) -> None:
    process = start(f"127.0.78.1:{standin.port}", "--name", "web-2", "--region", "us-east")
    _, said = process.communicate()
    assert process.returncode == 1
    assert said.startswith("web-2 in us-east: cannot listen on 127.0.78.1:")
    assert "Traceback" not in said
