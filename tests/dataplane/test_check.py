"""The program for checks through a VIP: what is marked leaves as the balancer would send it; all else as it was."""

from __future__ import annotations

import ctypes as c
import os
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from gtm.decide.balance import TCP, UDP, Verdict, balance
from gtm.publish.dataplane import bpf, checker, layout
from gtm.publish.dataplane.checker import Checker
from tests.dataplane import world as w

UNSPEC, SHOT = 0xFFFFFFFF, 2
HEADER = Path(__file__).resolve().parents[2] / "dataplane/include/gtm_check.h"


class Egress:
    """The program, run on frames of a socket with a mark."""

    def __init__(self, loaded: Checker) -> None:
        self.run = bpf.TestRun(loaded.program)
        self._skb = (
            c.c_uint32 * 48
        )()  # struct __sk_buff, of which a test run takes the mark and leaves the rest alone
        self.run.context(c.addressof(self._skb), c.sizeof(self._skb))

    def __call__(self, frame: bytes, mark: int) -> tuple[int, bytes]:
        self._skb[2] = mark
        return self.run(frame)


@pytest.fixture(scope="module")
def egress(built: Path) -> Iterator[Egress]:
    if os.geteuid() != 0:
        pytest.skip("needs root: loads BPF programs")
    with Checker(built / "check.bpf.o") as loaded:
        loaded.write(w.tables().backends)
        yield Egress(loaded)


def outgoing(family: int, wrap: str, payload: bytes, protocol: int, tos: int) -> tuple[bytes, bytes]:
    """A frame of this machine to the VIP's router, and the same as the balancer would have got it from there."""
    packet = w.packet(family, w.vip(family, w.WRAPS[wrap]), payload, protocol=protocol, tos=tos)
    type_ = b"\x08\x00" if family == 4 else b"\x86\xdd"
    return w.ROUTER + w.LB + type_ + packet, w.LB + w.ROUTER + type_ + packet


def blurred(frame: bytes, wrap: str) -> bytes:
    """Without what varies with a flow: the outer source's last 16 bits and the sum over them, or GUE's source port."""
    if wrap == "l2":
        return frame
    six = frame[12:14] == b"\x86\xdd"
    if wrap.startswith("gue"):
        at = 54 if six else 34
        return frame[:at] + frame[at + 2 :]
    return frame[:36] + frame[38:] if six else frame[:24] + frame[26:28] + frame[30:]


@pytest.mark.parametrize("wrap", [name for name in w.WRAPS if not name.startswith("second")])
@pytest.mark.parametrize(("family", "protocol"), list(product(w.FAMILIES, (TCP, UDP))))
def test_goes_as_the_balancer_would_send_it(egress: Egress, wrap: str, family: int, protocol: int) -> None:
    for tos, size in ((0, 0), (0xB8, 7), (0x03, 1200)):
        content = bytes(size)
        payload = w.tcp(flags=w.SYN, payload=content) if protocol == TCP else w.udp(payload=content)
        frame, came = outgoing(family, wrap, payload, protocol, tos)
        action, left = egress(frame, checker.mark(w.WRAPS[wrap]))
        verdict, expected = balance(came, w.tables())
        assert (action, verdict) == (UNSPEC, Verdict.TX_FORWARD)
        assert blurred(left, wrap) == blurred(expected, wrap)


@pytest.mark.parametrize("mark", [0, 1, w.WRAPS["ip"], 0x67730002, 0xE7740002, 0x67741002])
def test_what_is_not_marked_so_is_left_alone(egress: Egress, mark: int) -> None:
    frame, _ = outgoing(4, "ip", w.tcp(), TCP, 0)
    assert egress(frame, mark) == (UNSPEC, frame)


@pytest.mark.parametrize("number", [0, w.ABSENT, 4095])
def test_a_check_of_nobody_does_not_leave(egress: Egress, number: int) -> None:
    frame, _ = outgoing(4, "ip", w.tcp(), TCP, 0)
    assert egress(frame, checker.mark(number)) == (SHOT, frame)


def test_a_backend_that_goes_is_nobody(built: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: loads BPF programs")
    with Checker(built / "check.bpf.o") as loaded:
        frame, _ = outgoing(4, "l2", w.tcp(), TCP, 0)
        egress = Egress(loaded)
        loaded.write(w.tables().backends)
        assert egress(frame, checker.mark(1))[0] == UNSPEC
        loaded.write({2: w.tables().backends[2]})
        assert egress(frame, checker.mark(1))[0] == SHOT
        assert len(loaded.backends) == layout.BACKENDS


def test_constants() -> None:
    defined = dict(re.findall(r"#define GTM_CHECK_(\w+) +(0x[0-9a-f]+)u", HEADER.read_text()))
    assert {name: int(text, 16) for name, text in defined.items()} == {"MARK": checker.MARK, "NUMBER": checker.NUMBER}
