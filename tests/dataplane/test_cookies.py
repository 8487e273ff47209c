"""A listener's SYN cookies: the ACK that brings one back is the listener's, though no socket knows its flow yet."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from struct import pack, unpack_from

import pytest

from gtm.decide.balance import TCP, checksum
from gtm.decide.decap import Verdict
from gtm.publish.dataplane import bpf, layout
from tests.dataplane import world as w
from tests.dataplane.test_decap import EXPECTED, FORMS, Backend, second_chance
from tests.lab.network import Host, switch

ADDRESS = {4: "127.0.0.1", 6: "::1"}
KIND = {4: socket.AF_INET, 6: socket.AF_INET6}
SPORT, ISN = 40001, 0x01020304


@pytest.fixture
def host() -> Iterator[Host]:
    if os.geteuid() != 0:
        pytest.skip("needs root: loads BPF programs")
    with switch([("server", ["10.88.0.1/24"])]) as made:
        yield made["server"]


def segment(family: int, dport: int, *, seq: int, ack: int, flags: int) -> bytes:
    """A whole IP packet from the loopback address to itself, its TCP sum right."""
    head = pack("!HHIIBBHHH", SPORT, dport, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, 0x50, flags, 8192, 0, 0)
    address = socket.inet_pton(KIND[family], ADDRESS[family])
    whole = address + address + (pack("!BBH", 0, TCP, 20) if family == 4 else pack("!II", 20, TCP)) + head
    head = head[:16] + pack("!H", checksum(whole)) + head[18:]
    return w.packet(family, ADDRESS[family], head, source=ADDRESS[family])


def given(family: int, dport: int) -> int:
    """The sequence number of the SYN-ACK with which the listener answers a SYN: its cookie."""
    with (
        socket.socket(KIND[family], socket.SOCK_RAW, socket.IPPROTO_TCP) as heard,
        socket.socket(KIND[family], socket.SOCK_RAW, socket.IPPROTO_RAW) as sent,
    ):
        heard.settimeout(30)
        sent.sendto(segment(family, dport, seq=ISN, ack=0, flags=w.SYN), (ADDRESS[family], 0))
        while True:
            data = heard.recv(2048)
            tcp = data[20:] if family == 4 else data  # IPv6 raw sockets give no header
            source, _, cookie, answered = unpack_from("!HHII", tcp)
            if source == dport and tcp[13] == w.SYN | w.ACK and answered == ISN + 1:
                return int(cookie)


def listen(family: int) -> socket.socket:
    """A listener that answers every SYN with a cookie."""
    Path("/proc/sys/net/ipv4/tcp_syncookies").write_text("2")
    return socket.create_server((ADDRESS[family], 0), family=KIND[family])


@pytest.mark.parametrize("family", w.FAMILIES)
def test_an_answer_to_a_cookie_stays(built: Path, host: Host, family: int) -> None:
    with ExitStack() as stack:
        program = stack.enter_context(bpf.Object(built / "decap.bpf.o"))
        settings = program.map_view(".bss", layout.DECAP_SETTINGS)[0]
        for name, value in EXPECTED.items():
            settings[name] = value
        backend = Backend(program, frozenset())
        listener = stack.enter_context(host.inside(partial(listen, family)))
        dport = listener.getsockname()[1]
        cookie = host.inside(partial(given, family, dport))

        def verdict(form: str, *, wrong: int = 0, flags: int = w.ACK) -> Verdict:
            ip = segment(family, dport, seq=ISN + 1, ack=cookie + 1 + wrong, flags=flags)
            run: Callable[[], tuple[Verdict, bytes]] = partial(backend.run, form, second_chance(ip))
            return host.inside(run)[0]

        for form in FORMS:
            assert verdict(form) is Verdict.UNWRAPPED
            assert verdict(form, wrong=1 << 16) is Verdict.SENT_ON  # the low bits have the MSS
            assert verdict(form, flags=0x14) is Verdict.SENT_ON  # RST
