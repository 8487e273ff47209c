"""What the balancer wrapped, the backend unwraps: the balancer's model in front of the real program."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gtm.decide.balance import TCP, balance
from gtm.publish.dataplane import bpf, layout
from tests.dataplane import world as w

PASS, TX = 2, 3


@pytest.fixture(scope="module")
def decap(built: Path) -> Iterator[bpf.Object]:
    if os.geteuid() != 0:
        pytest.skip("needs root: loads BPF programs")
    with bpf.Object(built / "decap.bpf.o") as program:
        settings = program.map_view(".bss", layout.DECAP_SETTINGS)
        settings["source4"], settings["mask4"] = socket.inet_aton("172.16.0.0"), socket.inet_aton("255.255.0.0")
        settings["source6"], settings["port"] = w.packed("fd00:a::")[:8], 6080
        yield program


def wrapped(family: int, wrap: str, flags: int, *, sport: int = 40000, target: str = "") -> tuple[bytes, bytes]:
    """(the frame that the balancer sends, the IP packet that it got)."""
    ip = w.packet(family, target or w.vip(family, w.WRAPS[wrap]), w.tcp(flags=flags, sport=sport), protocol=TCP)
    return balance(w.frame(ip), w.tables())[1], ip


@pytest.mark.parametrize("family", w.FAMILIES)
@pytest.mark.parametrize("wrap", [name for name in w.WRAPS if name != "l2"])
def test_unwrapped(decap: bpf.Object, family: int, wrap: str) -> None:
    frame, ip = wrapped(family, wrap, w.SYN)
    ethertype = b"\x08\x00" if family == 4 else b"\x86\xdd"
    assert bpf.TestRun(decap.program("gtm_decap"))(frame) == (PASS, frame[:12] + ethertype + ip)


@pytest.mark.parametrize("family", w.FAMILIES)
def test_what_nobody_knows_goes_on_once(decap: bpf.Object, family: int) -> None:
    run = bpf.TestRun(decap.program("gtm_decap"))
    frame, ip = wrapped(family, "second", w.ACK)
    action, on = run(frame)
    assert action == TX
    assert on[:12] == frame[6:12] + frame[:6]
    assert on[30:34] == socket.inet_aton("10.0.0.10")
    assert sum(np.frombuffer(on[14:34], ">u2").tolist()) % 0xFFFF == 0
    assert (on[:24][12:], on[26:30], on[-len(ip) :]) == (frame[:24][12:], frame[26:30], ip)
    assert run(on)[0] == PASS, "a packet goes on once"
    assert run(on)[1][14:] == ip


def test_a_flow_with_a_socket_stays(decap: bpf.Object) -> None:
    """A connection of this machine is known; one that only its listener would take is not."""
    run = bpf.TestRun(decap.program("gtm_decap"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            sport = client.getsockname()[1]
            outer, _ = wrapped(4, "second", w.ACK)
            for local, action in ((sport, PASS), (sport ^ 1, TX)):
                inner = w.packet(4, "127.0.0.1", w.tcp(sport=local, dport=port), source="127.0.0.1")
                assert run(outer[: 14 + 40] + inner)[0] == action


def test_strangers_stay_wrapped(decap: bpf.Object) -> None:
    run = bpf.TestRun(decap.program("gtm_decap"))
    for wrap in ("ip", "ip6", "gre", "gue"):
        frame, _ = wrapped(4, wrap, w.SYN)
        at = 26 if frame[12:14] == b"\x08\x00" else 22
        foreign = frame[:at] + bytes([frame[at] ^ 1]) + frame[at + 1 :]
        assert run(foreign) == (PASS, foreign)


@pytest.mark.parametrize("wrap", [name for name in w.WRAPS if name != "l2"])
def test_truncated_at_every_byte(decap: bpf.Object, wrap: str) -> None:
    run = bpf.TestRun(decap.program("gtm_decap"))
    frame, _ = wrapped(4, wrap, w.ACK)
    for size in range(14, 34):
        assert run(frame[:size]) == (PASS, frame[:size])
    for size in range(34, len(frame)):
        assert run(frame[:size])[0] in {PASS, TX}
