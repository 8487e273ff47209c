"""A DNS query over UDP, or over TCP where the check says so or the answer was truncated (RFC 1035, RFC 7766)."""

from __future__ import annotations

import re

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from gtm.model.check import DnsProbe, Target
from gtm.observe.attempt import Attempt
from gtm.observe.connection import Connection
from gtm.observe.kinds.datagram import Datagrams
from gtm.observe.outcome import ProbeFault, Reason


class DnsAsk:
    """Asks under a new random id each time, from a new port; only an answer that repeats both id and question counts.

    Raises ValueError for a name that is none, and re.error for such a pattern.
    """

    __slots__ = ("_answer", "_name", "_probe", "_target")

    def __init__(self, target: Target, probe: DnsProbe) -> None:
        self._target = target
        self._probe = probe
        self._answer = None if probe.answer is None else re.compile(probe.answer)
        try:
            self._name = dns.name.from_text(probe.qname)
        except dns.exception.DNSException as error:
            raise ValueError(f"{probe.qname!r} is not a name: {error}") from error

    async def __call__(self, attempt: Attempt) -> str:
        """The rcode and how many answers there were. Raises ProbeFault."""
        answer = None if self._probe.tcp else await self._by_udp(attempt)
        return self._judge(await self._by_tcp(attempt) if answer is None else answer)

    def _query(self) -> dns.message.QueryMessage:
        # RD as most clients have it; a random id is what dnspython gives.
        return dns.message.make_query(self._name, dns.rdatatype.RdataType.make(self._probe.qtype))

    async def _by_udp(self, attempt: Attempt) -> dns.message.Message | None:
        """The answer, or None if it was truncated."""
        attempt.doing = "sending the query"
        query = self._query()
        datagrams = Datagrams.udp(attempt, self._target.address)
        datagrams.connect(self._target.address, self._probe.port)
        await datagrams.send(query.to_wire())
        attempt.doing = "waiting for an answer"
        while not _answers(query, data := await datagrams.receive()):
            attempt.doing = "waiting for an answer to our question; others came"
        attempt.first_byte_s = attempt.lap_s()
        return None if _flags(data) & dns.flags.TC else _parsed(data)

    async def _by_tcp(self, attempt: Attempt) -> dns.message.Message:
        attempt.doing = "connecting"
        query = self._query()
        connection = Connection(attempt, self._target.address)
        await connection.connect(self._target.address, self._probe.port)
        attempt.connect_s = attempt.lap_s()
        attempt.doing = "sending the query over TCP"
        await connection.send(query.to_wire(prepend_length=True))
        attempt.doing = "waiting for an answer over TCP"
        data = await _framed(connection, attempt)
        if not _answers(query, data):
            raise ProbeFault(Reason.PROTOCOL, "answered another question over TCP, or none")
        return _parsed(data)

    def _judge(self, answer: dns.message.Message) -> str:
        rcode = dns.rcode.to_text(answer.rcode())
        if answer.rcode() not in self._probe.rcodes:
            raise ProbeFault(Reason.STATUS, f"rcode {rcode}")
        found = [rdata.to_text() for rrset in answer.answer for rdata in rrset]
        if self._answer is not None and not any(map(self._answer.search, found)):
            raise ProbeFault(Reason.BODY, f"no answer matched, of {len(found)}")
        return f"{rcode}, {len(found)} answer{'' if len(found) == 1 else 's'}"


async def _framed(connection: Connection, attempt: Attempt) -> bytes:
    """One message with its length before it (RFC 1035 section 4.2.2). Raises ProbeFault."""
    data = b""
    while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
        part = await connection.receive()
        if not part:
            raise ProbeFault(Reason.CLOSED, f"connection closed while {attempt.doing}")
        if attempt.connect_s is not None and not data:
            attempt.first_byte_s = attempt.lap_s()
        data += part
    return data[2 : 2 + int.from_bytes(data[:2], "big")]


def _answers(query: dns.message.Message, data: bytes) -> bool:
    """Whether it is a response to the query: its id, and its question (RFC 5452 section 9.1)."""
    if data[:2] != query.id.to_bytes(2, "big"):
        return False
    try:
        return query.is_response(dns.message.from_wire(data, question_only=True))
    except (dns.exception.DNSException, ValueError):
        return False


def _flags(data: bytes) -> int:
    return int.from_bytes(data[2:4], "big")


def _parsed(data: bytes) -> dns.message.Message:
    """The whole message. Raises ProbeFault for one that is malformed."""
    try:
        return dns.message.from_wire(data, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError) as error:
        raise ProbeFault(Reason.PROTOCOL, f"the answer makes no sense: {type(error).__name__}") from error
