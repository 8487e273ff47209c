"""UDP and DNS against real peers: what is taken for an answer, and what is not."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from gtm.model.check import DnsProbe, UdpProbe
from gtm.observe.outcome import Outcome, Reason
from tests.observe.kinds.asked import HERE, SHORT_S, asked, run, shown
from tests.observe.peers import says, serving, unused_port

Answers = Callable[[bytes], Iterable[bytes]]
NAME = "www.example.com."


class _Echo(asyncio.DatagramProtocol):
    def __init__(self, answers: Answers, asked_by: list[tuple[bytes, object]]) -> None:
        self._answers = answers
        self._asked_by = asked_by

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._asked_by.append((data, addr))
        for answer in self._answers(data):
            self._transport.sendto(answer, addr)


@contextlib.asynccontextmanager
async def listening(
    answers: Answers, address: str = HERE, port: int = 0
) -> AsyncIterator[tuple[int, list[tuple[bytes, object]]]]:
    seen: list[tuple[bytes, object]] = []
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Echo(answers, seen), local_addr=(address, port))
    try:
        yield transport.get_extra_info("sockname")[1], seen
    finally:
        transport.close()
        await asyncio.sleep(0)


def met_udp(answers: Answers, probe: UdpProbe, timeout_s: float = 30.0) -> tuple[Outcome, list[tuple[bytes, object]]]:
    async def go() -> tuple[Outcome, list[tuple[bytes, object]]]:
        async with listening(answers) as (port, seen):
            what = UdpProbe(port=port, send=probe.send, expect=probe.expect)
            return await asked(what, timeout_s=timeout_s), seen

    return run(go())


def test_what_is_sent_and_what_must_come_back() -> None:
    outcome, seen = met_udp(lambda data: [data[::-1]], UdpProbe(port=0, send=b"\xff\x00ab", expect=rb"^ba\x00\xff$"))
    assert shown(outcome) == (Reason.OK, "4 bytes answered in N ms")
    assert seen[0][0] == b"\xff\x00ab"
    assert outcome.phases.first_byte_s is not None
    outcome, _ = met_udp(lambda data: [b"\x1b[31mno" + b"x" * 99], UdpProbe(port=0, expect=b"^yes"))
    assert shown(outcome) == (Reason.BODY, f"answer did not match: '.[31mno{'x' * 33}...'")


def test_silence_and_a_closed_port() -> None:
    outcome, _ = met_udp(lambda data: [], UdpProbe(port=0), SHORT_S)
    assert shown(outcome) == (Reason.TIMEOUT, "timeout after 0.5 s while waiting for an answer")
    for address in (HERE, "::1"):
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((address, 0))
            port = sock.getsockname()[1]
        outcome = run(asked(UdpProbe(port=port, send=b"x"), address))
        assert shown(outcome) == (Reason.REFUSED, "refused: nobody listens on the port")


def test_what_somebody_else_sends_is_no_answer() -> None:
    """The probe's port is told to a third party, which answers first, from another port."""

    async def go() -> Outcome:
        loop = asyncio.get_running_loop()
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        ):
            other.bind((HERE, 0))
            sock.bind((HERE, 0))
            sock.setblocking(False)
            probe = asyncio.ensure_future(asked(UdpProbe(port=sock.getsockname()[1], send=b"q", expect=b"^right$")))
            _, client = await loop.sock_recvfrom(sock, 100)
            other.sendto(b"wrong", client)
            sock.sendto(b"right", client)
            return await probe

    assert run(go()).ok


def test_a_datagram_that_is_too_long_is_our_fault() -> None:
    outcome = run(asked(UdpProbe(port=9, send=b"x" * 70000)))
    assert shown(outcome) == (Reason.OURS, "what is to be sent is longer than a datagram can be")


# DNS.


def reply(data: bytes, *records: str, rcode: int = 0, flags: int = 0) -> dns.message.Message:
    made = dns.message.make_response(dns.message.from_wire(data))
    made.set_rcode(dns.rcode.Rcode(rcode))
    made.flags |= flags
    if records:
        made.answer.append(dns.rrset.from_text(NAME, 30, "IN", "A", *records))
    return made


def met_dns(answers: Answers, probe: DnsProbe, timeout_s: float = 30.0) -> tuple[Outcome, list[tuple[bytes, object]]]:
    async def go() -> tuple[Outcome, list[tuple[bytes, object]]]:
        async with listening(answers) as (port, seen):
            what = DnsProbe(port=port, qname=NAME, qtype=1, rcodes=probe.rcodes, answer=probe.answer, tcp=probe.tcp)
            return await asked(what, timeout_s=timeout_s), seen

    return run(go())


def test_a_good_answer_and_what_was_asked() -> None:
    outcome, seen = met_dns(
        lambda data: [reply(data, "192.0.2.1", "192.0.2.2").to_wire()], DnsProbe(answer=r"^192\.0\.2\.2$")
    )
    assert shown(outcome) == (Reason.OK, "NOERROR, 2 answers in N ms")
    query = dns.message.from_wire(seen[0][0])
    assert str(query.question[0]) == "www.example.com. IN A"


def test_ids_and_ports_differ_from_probe_to_probe() -> None:
    async def go() -> list[tuple[bytes, object]]:
        async with listening(lambda data: [reply(data).to_wire()]) as (port, seen):
            for _ in range(20):
                assert (await asked(DnsProbe(port=port, qname=NAME, qtype=1))).ok
            return seen

    seen = run(go())
    assert len({data[:2] for data, _ in seen}) > 15
    assert len({str(client) for _, client in seen}) > 10


@pytest.mark.parametrize(
    ("probe", "records", "rcode", "expected"),
    [
        (DnsProbe(), (), 2, (Reason.STATUS, "rcode SERVFAIL")),
        (DnsProbe(), (), 3, (Reason.STATUS, "rcode NXDOMAIN")),
        (DnsProbe(rcodes=(0, 3)), (), 3, (Reason.OK, "NXDOMAIN, 0 answers in N ms")),
        (DnsProbe(answer="^192"), (), 0, (Reason.BODY, "no answer matched, of 0")),
        (DnsProbe(answer="^198"), ("192.0.2.1",), 0, (Reason.BODY, "no answer matched, of 1")),
        (DnsProbe(), ("192.0.2.1",), 0, (Reason.OK, "NOERROR, 1 answer in N ms")),
    ],
)
def test_rcodes_and_answers(
    probe: DnsProbe, records: tuple[str, ...], rcode: int, expected: tuple[Reason, str]
) -> None:
    outcome, _ = met_dns(lambda data: [reply(data, *records, rcode=rcode).to_wire()], probe)
    assert shown(outcome) == expected


def test_answers_to_other_questions_are_passed_over() -> None:
    def answers(data: bytes) -> Iterable[bytes]:
        right = reply(data, "192.0.2.1").to_wire()
        other_id = bytes([right[0] ^ 1]) + right[1:]
        other_name = right.replace(b"\x03www", b"\x03wwx")
        return [b"", b"\x00", data, other_id, other_name, right[:2] + b"\xff" * 9, right]

    outcome, _ = met_dns(answers, DnsProbe(answer=r"192\.0\.2\.1"))
    assert outcome.ok
    outcome, _ = met_dns(lambda data: list(answers(data))[:-1], DnsProbe(), SHORT_S)
    assert outcome.detail == "timeout after 0.5 s while waiting for an answer to our question; others came"


def test_a_refusal_without_question_is_one() -> None:
    outcome, _ = met_dns(lambda data: [data[:2] + bytes.fromhex("8005 0000 0000 0000 0000")], DnsProbe())
    assert shown(outcome) == (Reason.STATUS, "rcode REFUSED")


async def both(
    probe: DnsProbe, over_udp: Answers, over_tcp: Callable[[bytes], bytes]
) -> tuple[Outcome, list[tuple[bytes, object]]]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        query = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        answer = over_tcp(query)
        for part in (answer[:1], answer[1:3], answer[3:]):
            writer.write(part)
            await writer.drain()

    async with serving(serve, address=HERE, head=False) as peer, listening(over_udp, port=peer.port) as (port, seen):
        return await asked(DnsProbe(port=port, qname=NAME, qtype=1, answer=probe.answer, tcp=probe.tcp)), seen


def framed(message: bytes) -> bytes:
    return len(message).to_bytes(2, "big") + message


@pytest.mark.parametrize("tcp", [True, False])
def test_tcp_where_the_check_or_a_truncated_answer_asks_for_it(tcp: bool) -> None:
    outcome, seen = run(
        both(
            DnsProbe(tcp=tcp, answer="192"),
            lambda data: [reply(data, flags=dns.flags.TC).to_wire()],
            lambda data: framed(reply(data, "192.0.2.1").to_wire()),
        )
    )
    assert shown(outcome) == (Reason.OK, "NOERROR, 1 answer in N ms")
    assert len(seen) == (0 if tcp else 1)
    assert outcome.phases.connect_s is not None
    assert outcome.phases.first_byte_s is not None


def test_wrong_and_missing_answers_over_tcp() -> None:
    outcome, _ = run(both(DnsProbe(tcp=True), lambda data: [], framed))
    assert shown(outcome) == (Reason.PROTOCOL, "answered another question over TCP, or none")
    outcome, _ = run(both(DnsProbe(tcp=True), lambda data: [], lambda data: b"\x00\x20short"))
    assert shown(outcome) == (Reason.CLOSED, "connection closed while waiting for an answer over TCP")
    outcome = run(asked(DnsProbe(port=unused_port(HERE), qname=NAME, tcp=True)))
    assert outcome.reason is Reason.REFUSED


def test_http_is_no_dns() -> None:
    async def go() -> Outcome:
        async with serving(says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), address=HERE, head=False) as peer:
            return await asked(DnsProbe(port=peer.port, qname=NAME, tcp=True))

    assert run(go()).reason in {Reason.CLOSED, Reason.PROTOCOL}


def test_mutated_answers_never_raise() -> None:
    rng = random.Random(5)

    def answers(data: bytes) -> Iterable[bytes]:
        wire = bytearray(reply(data, "192.0.2.1", "192.0.2.2").to_wire())
        for _ in range(rng.randrange(1, 5)):
            wire[rng.randrange(12, len(wire))] = rng.randrange(256)
        return [bytes(wire[: rng.randrange(12, len(wire) + 1)]), reply(data, "192.0.2.1").to_wire()]

    async def go() -> set[Reason]:
        async with listening(answers) as (port, _):
            return {(await asked(DnsProbe(port=port, qname=NAME, qtype=1))).reason for _ in range(300)}

    assert run(go()) <= {Reason.OK, Reason.PROTOCOL, Reason.STATUS}
