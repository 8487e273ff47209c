from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from gtm.app.announce.bfd import parse_bird, parse_frr, read_sessions
from gtm.model.errors import PeerError
from gtm.web.status import BfdStatus
from tests.store.sharing import DEADLINE_S

FRR = [
    {
        "multihop": False, "peer": "10.63.0.1", "local": "10.63.0.2", "vrf": "default", "interface": "ev0",
        "id": 2312, "remote-id": 99, "status": "up", "uptime": 12, "diagnostic": "ok", "receive-interval": 50,
        "transmit-interval": 50, "echo-receive-interval": 50, "detect-multiplier": 3, "remote-detect-multiplier": 3,
    },
    {"peer": "fd63::1", "status": "down", "downtime": 3, "diagnostic": "control detection time expired"},
    {"peer": "10.63.0.9", "status": "something new"},
]  # fmt: skip
BIRD = """\
0001 BIRD 2.0.12 ready.
1020-bfd1:
 IP address                Interface  State      Since         Interval  Timeout
 10.63.0.1                 ev0        Up         12:00:00.123    0.050    0.150
 fd63::1                   ev1        Down       2026-01-31 12:00:00    0.300    0.000
0000 
"""  # noqa: W291 - it is what BIRD says


def test_what_frr_says() -> None:
    assert parse_frr(json.dumps(FRR)) == (
        BfdStatus(
            peer=ip_address("10.63.0.1"), up=True, since_s_ago=12.0, transmit_ms=50.0, receive_ms=50.0, multiplier=3
        ),
        BfdStatus(peer=ip_address("fd63::1"), up=False, since_s_ago=3.0),
        BfdStatus(peer=ip_address("10.63.0.9"), up=None),
    )
    assert parse_frr("[]") == ()


@pytest.mark.parametrize("text", ["", "{", "[1]", '[{"peer": "x", "status": "up"}]', '{"a": 1}', "[" * 100_000])
def test_what_is_not_what_frr_says(text: str) -> None:
    with pytest.raises(PeerError, match="vtysh: `show bfd peers json` makes no sense"):
        parse_frr(text)


def test_what_bird_says() -> None:
    assert parse_bird(BIRD) == (
        BfdStatus(peer=ip_address("10.63.0.1"), up=True, transmit_ms=50.0, timeout_ms=150.0),
        BfdStatus(peer=ip_address("fd63::1"), up=False, transmit_ms=300.0, timeout_ms=0.0),
    )
    with pytest.raises(PeerError, match="BIRD: There is no protocol"):
        parse_bird("9001 There is no protocol that matches\n")


@contextmanager
def bird(folder: Path) -> Iterator[Path]:
    """A real BIRD with one BFD neighbour that is not there."""
    program = shutil.which("bird") or "/usr/sbin/bird"
    if not Path(program).exists():
        pytest.skip("needs BIRD (apt-get install bird2)")
    (folder / "bird.conf").write_text(
        "router id 10.0.0.1; protocol device {}\n"
        'protocol bfd bfd1 { interface "*" { interval 50 ms; multiplier 3; };'
        " neighbor 127.0.0.9 local 127.0.0.1 multihop on; }\n"
    )
    control, log = folder / "bird.ctl", folder / "log"
    command = (program, "-f", "-c", str(folder / "bird.conf"), "-s", str(control), "-P", str(folder / "pid"))
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            until(lambda: control.exists() or process.poll() is not None)
            assert process.poll() is None, log.read_text()
            yield control
        finally:
            process.kill()


def until(holds: Callable[[], bool]) -> None:
    """Wait for what no event tells."""
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_real_bird_is_asked(tmp_path: Path) -> None:
    with bird(tmp_path) as control:
        found = read_sessions(frr=tmp_path, bird=(control,))
    assert (found.daemon, found.problem) == ("bird", None)
    assert [(one.peer, one.up) for one in found.sessions] == [(ip_address("127.0.0.9"), False)]


def test_where_neither_runs(tmp_path: Path) -> None:
    found = read_sessions(frr=tmp_path, bird=(tmp_path / "bird.ctl",))
    assert (found.daemon, found.problem) == (None, "neither FRR's bfdd nor BIRD runs here")


def test_a_socket_that_nobody_serves_or_that_says_nothing_of_use(tmp_path: Path) -> None:
    control = tmp_path / "bird.ctl"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(control))
        assert "connection refused" in str(read_sessions(frr=tmp_path, bird=(control,)).problem)
        listener.listen()

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.sendall(b"0001 BIRD ready.\n")
            connection.recv(100)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        assert read_sessions(frr=tmp_path, bird=(control,)).problem == "BIRD: closed the connection"
        thread.join(DEADLINE_S)
