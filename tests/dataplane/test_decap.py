"""What the balancer wrapped, the backend unwraps: the balancer's model before the real programs and their model."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from random import Random

import numpy as np
import pytest

from gtm.decide.balance import ICMP, ICMP6, TCP, UDP, balance
from gtm.decide.decap import Flow, Settings, Verdict, decap
from gtm.publish.dataplane import bpf, layout
from tests.dataplane import world as w
from tests.dataplane.test_differential import PACKETS, SEED, mutate

FORMS = {"gtm_decap": (2, 3), "gtm_decap_tc": (0xFFFFFFFF, 7)}  # XDP_PASS, XDP_TX; TC_ACT_UNSPEC, TC_ACT_REDIRECT
WRAPPED = [name for name in w.WRAPS if name != "l2"]
TAGS = (b"", b"\x81\x00\x00\x05", b"\x88\xa8\x00\x06\x81\x00\x00\x05")
EXPECTED = {
    "source4": socket.inet_aton("172.16.0.0"),
    "mask4": socket.inet_aton("255.255.0.0"),
    "source6": w.packed("fd00:a::")[:8],
    "port": 6080,
}


class Backend:
    """The programs, and connections of this machine: the flows that they know."""

    def __init__(self, program: bpf.Object, known: frozenset[Flow]) -> None:
        self.program, self.known = program, known
        self.settings = Settings(**EXPECTED, known=lambda flow: flow in known)  # type: ignore[arg-type]
        self._runs = {name: bpf.TestRun(program.program(name)) for name in FORMS}

    def run(self, form: str, frame: bytes) -> tuple[Verdict, bytes]:
        """As the model says it; what the program counts is what it does."""
        before = self.counted()
        action, left = self._runs[form](frame)
        (verdict,) = (self.counted() - before).elements()
        assert action == FORMS[form][verdict is Verdict.SENT_ON]
        return verdict, left

    def counted(self) -> Counter[Verdict]:
        totals = self.program.map_view("counters", layout.DECAP_COUNTERS)["packets"].sum(axis=0)
        return Counter({verdict: int(totals[verdict]) for verdict in Verdict})

    def expected(self, form: str, frame: bytes) -> tuple[Verdict, bytes]:
        """The model's; before tc the kernel has taken off one tag, and what still has one is not for it."""
        tagged = frame[12:14] in (b"\x81\x00", b"\x88\xa8")
        return (Verdict.LEFT, frame) if tagged and form == "gtm_decap_tc" else decap(frame, self.settings)


@pytest.fixture(scope="module")
def backend(built: Path) -> Iterator[Backend]:
    if os.geteuid() != 0:
        pytest.skip("needs root: loads BPF programs")
    with ExitStack() as stack:
        program = stack.enter_context(bpf.Object(built / "decap.bpf.o"))
        settings = program.map_view(".bss", layout.DECAP_SETTINGS)[0]
        for name, value in EXPECTED.items():
            settings[name] = value
        known = set()
        for family, here in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            listener = stack.enter_context(socket.create_server((here, 0), family=family))
            client = stack.enter_context(socket.create_connection(listener.getsockname()[:2]))
            address = socket.inet_pton(family, here)
            ports = client.getsockname()[1], listener.getsockname()[1]
            known.add(Flow(source=address, target=address, source_port=ports[0], target_port=ports[1]))
        yield Backend(program, frozenset(known))


def wrapped(family: int, wrap: str, payload: bytes, *, protocol: int = TCP, tags: int = 0) -> tuple[bytes, bytes]:
    """(the frame that the balancer sends, the IP packet that it got)."""
    ip = w.packet(family, w.vip(family, w.WRAPS[wrap]), payload, protocol=protocol)
    return balance(w.frame(ip, tags=tags), w.tables())[1], ip


def second_chance(ip: bytes, *, outer: int = 4, tags: int = 0) -> bytes:
    """A frame with that packet and a next hop."""
    frame, old = wrapped(4, "second" if outer == 4 else "second6", w.tcp(), tags=tags)
    head = bytearray(frame[: -len(old)])
    head[-(8 if outer == 4 else 20) - 3] = 4 if ip[0] >> 4 == 4 else 41
    return bytes(head) + ip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("tags", range(3))
@pytest.mark.parametrize("family", w.FAMILIES)
@pytest.mark.parametrize("wrap", WRAPPED)
def test_unwrapped(backend: Backend, form: str, wrap: str, family: int, tags: int) -> None:
    frame, ip = wrapped(family, wrap, w.tcp(flags=w.SYN), tags=tags)
    ethertype = b"\x08\x00" if family == 4 else b"\x86\xdd"
    plain = Verdict.UNWRAPPED, frame[:12] + TAGS[tags] + ethertype + ip
    assert backend.run(form, frame) == backend.expected(form, frame)
    assert decap(frame, backend.settings) == plain


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("family", w.FAMILIES)
@pytest.mark.parametrize("outer", [4, 6])
def test_what_nobody_knows_goes_on_once(backend: Backend, form: str, family: int, outer: int) -> None:
    frame, ip = wrapped(family, "second" if outer == 4 else "second6", w.tcp(flags=w.ACK))
    verdict, on = backend.run(form, frame)
    assert (verdict, on) == decap(frame, backend.settings)
    assert verdict is Verdict.SENT_ON
    assert on[:14] == frame[6:12] + frame[:6] + frame[12:14]
    if outer == 4:
        assert on[30:34] == socket.inet_aton("10.0.0.10")
        assert sum(np.frombuffer(on[14:34], ">u2").tolist()) % 0xFFFF == 0
    else:
        assert on[38:54] == w.tables().backends[w.OTHER6].address
    assert on[-len(ip) :] == ip
    again, left = backend.run(form, on)
    assert (again, left[14:]) == (Verdict.UNWRAPPED, ip), "a packet goes on once"


@pytest.mark.parametrize("form", FORMS)
def test_a_flow_with_a_socket_stays(backend: Backend, form: str) -> None:
    """A connection of this machine is known, as is an ICMP error about it; what only its listener would take is not."""
    for flow, other in product(sorted(backend.known, key=lambda flow: len(flow.source)), (0, 1)):
        family, here = (4, "127.0.0.1") if len(flow.source) == 4 else (6, "::1")
        sport, dport = flow.source_port ^ other, flow.target_port
        packet = w.packet(family, here, w.tcp(sport=sport, dport=dport), source=here)
        sent = w.packet(family, here, w.tcp(sport=dport, dport=sport), source=here)
        error = bytes([3, 4] if family == 4 else [2, 0]) + bytes(6) + sent[: (20 if family == 4 else 40) + 8]
        quote = w.packet(family, here, error, protocol=ICMP if family == 4 else ICMP6, source="")
        for ip, outer in product((packet, quote), (4, 6)):
            frame = second_chance(ip, outer=outer)
            verdict, left = backend.run(form, frame)
            assert verdict is (Verdict.SENT_ON if other else Verdict.UNWRAPPED)
            assert (verdict, left) == decap(frame, backend.settings)


@pytest.mark.parametrize("form", FORMS)
def test_what_belongs_to_no_flow_stays(backend: Backend, form: str) -> None:
    fragment = bytearray(w.packet(4, w.vip(4, 8), w.tcp()))
    fragment[6:8] = b"\x20\x00"
    for ip in (
        w.packet(4, w.vip(4, 8), w.udp(), protocol=UDP),
        w.packet(6, w.vip(6, 8), w.udp(), protocol=UDP),
        w.packet(4, w.vip(4, 8), w.echo(4), protocol=ICMP),
        w.packet(6, w.vip(6, 8), w.echo(6), protocol=ICMP6),
        w.packet(4, w.vip(4, 8), w.quote(4, 8, protocol=UDP), protocol=ICMP),
        bytes(fragment),
    ):
        frame = second_chance(ip)
        assert backend.run(form, frame) == (Verdict.UNWRAPPED, frame[:12] + w.frame(ip)[12:14] + ip)


@pytest.mark.parametrize("form", FORMS)
def test_strangers_stay_wrapped(backend: Backend, form: str) -> None:
    for wrap in WRAPPED:
        frame, _ = wrapped(4, wrap, w.tcp(flags=w.SYN))
        at = 26 if frame[12:14] == b"\x08\x00" else 22
        foreign = frame[:at] + bytes([frame[at] ^ 1]) + frame[at + 1 :]
        assert backend.run(form, foreign) == (Verdict.LEFT, foreign)


def test_without_settings_nothing_is_unwrapped(built: Path, backend: Backend) -> None:
    with bpf.Object(built / "decap.bpf.o") as idle:
        other = Backend(idle, frozenset())
        for wrap, form in product(WRAPPED, FORMS):
            frame, _ = wrapped(4, wrap, w.tcp())
            assert other.run(form, frame) == (Verdict.LEFT, frame) == decap(frame, Settings())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("wrap", WRAPPED)
def test_truncated_at_every_byte(backend: Backend, form: str, wrap: str) -> None:
    """A frame that is cut within its headers stays as it is."""
    for family, tags in product(w.FAMILIES, range(3)):
        frame, ip = wrapped(family, wrap, w.tcp(), tags=tags)
        headers = len(frame) - len(ip) + (20 if family == 4 else 40)
        for size in range(14, len(frame) + 1):
            cut = frame[:size]
            if not runs(form, cut):
                continue
            verdict, left = backend.run(form, cut)
            assert (verdict, left) == backend.expected(form, cut)
            assert size >= headers or (verdict, left) == (Verdict.LEFT, cut)


def runs(form: str, frame: bytes) -> bool:
    """Whether the kernel takes it for a test-run: to tc no frame comes that has no whole IP header."""
    return form == "gtm_decap" or len(frame) >= {b"\x08\x00": 34, b"\x86\xdd": 54}.get(frame[12:14], 15)


def random_frame(random: Random, backend: Backend) -> bytes:
    """One of ours: of any kind of payload, for a flow that is known, or would be with another port, or is not."""
    family, tags = random.choice(w.FAMILIES), random.choice((0, 0, 1, 2))
    if random.random() < 0.5:
        return wrapped(family, random.choice(WRAPPED), w.tcp(flags=random.choice((w.SYN, w.ACK, 0x12))), tags=tags)[0]
    flow = random.choice(sorted(backend.known, key=lambda each: len(each.source)))
    family, here = (4, "127.0.0.1") if len(flow.source) == 4 else (6, "::1")
    sport = flow.source_port ^ random.choice((0, 0, 1))
    ip = w.packet(family, here, w.tcp(sport=sport, dport=flow.target_port), source=here)
    if random.random() < 0.3:
        sent = w.packet(family, here, w.tcp(sport=flow.target_port, dport=sport), source=here)
        error = bytes([random.choice((3, 11, 12) if family == 4 else (1, 2, 3, 4))]) + bytes(7) + sent
        ip = w.packet(family, here, error, protocol=ICMP if family == 4 else ICMP6)
    return second_chance(ip, outer=random.choice((4, 6)), tags=tags)


def test_random_and_mutated_frames(backend: Backend) -> None:
    random = Random(SEED)
    seen: Counter[Verdict] = Counter()
    for number in range(PACKETS // 50):  # each looks for a socket, too
        frame = random_frame(random, backend)
        if random.random() < 0.7:
            frame = mutate(random, frame)
        for form in FORMS:
            if not runs(form, frame):
                continue
            expected = backend.expected(form, frame)
            seen[expected[0]] += 1
            assert backend.run(form, frame) == expected, f"frame {number}, {form}: {frame.hex()}"
    assert min(seen[verdict] for verdict in Verdict) > PACKETS // 1000
