"""A packet that somebody asks about: its words, and the frame that it is in."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from struct import pack

from gtm.decide.balance import ICMP, ICMP6, TCP, UDP, checksum, ip4, ip6
from gtm.model.address import IPAddress
from gtm.model.errors import AskedError

FLAGS = {"fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16}
PROTOCOLS = ("tcp", "udp", "icmp")
NUMBERS = {"tcp": TCP, "udp": UDP}
PAYLOAD_MAX = 3000


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A packet: `flags` for TCP, ports 0 for ICMP (which is an echo request), `payload_bytes` behind its headers."""

    source: IPAddress
    source_port: int
    target: IPAddress
    target_port: int
    protocol: str
    flags: tuple[str, ...] = ()
    payload_bytes: int = 0

    def __str__(self) -> str:
        ends = (ending(self.source, self.source_port), ending(self.target, self.target_port))
        return f"{ends[0]} -> {ends[1]} {' '.join((self.protocol, *self.flags))}"


def asked(source: str, target: str, protocol: str, *, flags: tuple[str, ...], payload_bytes: int) -> Question:
    """The packet of a command line. Raises AskedError."""
    if not 0 <= payload_bytes <= PAYLOAD_MAX:
        raise AskedError(f"{payload_bytes} is not a payload (allowed: 0 to {PAYLOAD_MAX})", argument="--payload")
    ported = protocol != "icmp"
    (one, one_port), (other, other_port) = _end(source, "SRC", ported=ported), _end(target, "DST", ported=ported)
    if one.version != other.version:
        raise AskedError(f"{one} and {other} are of different IP versions", argument="DST")
    return Question(
        source=one,
        source_port=one_port,
        target=other,
        target_port=other_port,
        protocol=protocol,
        flags=flags if protocol == "tcp" else (),
        payload_bytes=payload_bytes,
    )


def frame(question: Question, *, to: bytes, sender: bytes) -> bytes:
    """The Ethernet frame between two MACs, sums and all."""
    four = question.source.version == 4
    addresses = question.source.packed + question.target.packed
    number = NUMBERS.get(question.protocol, ICMP if four else ICMP6)
    body = _transport(question, four=four)
    at = {TCP: 16, UDP: 6}.get(number, 2)
    pseudo = b"" if number == ICMP else addresses + pack("!II", len(body), number)
    summed = checksum(pseudo + body + bytes(len(body) % 2))
    body = body[:at] + pack("!H", (summed or 0xFFFF) if number == UDP else summed) + body[at + 2 :]
    one, other = question.source.packed, question.target.packed
    if four:
        return (
            to
            + sender
            + b"\x08\x00"
            + ip4(tos=0, length=20 + len(body), protocol=number, source=one, target=other)
            + body
        )
    header = ip6(traffic_class=0, payload=len(body), protocol=number, source=one, target=other)
    return to + sender + b"\x86\xdd" + header + body


def ending(address: IPAddress, port: int) -> str:
    """ADDRESS:PORT as people write it; without a port where there is none."""
    if not port:
        return str(address)
    return f"{address}:{port}" if address.version == 4 else f"[{address}]:{port}"


def _transport(question: Question, *, four: bool) -> bytes:
    payload = bytes(question.payload_bytes)
    ports = pack("!HH", question.source_port, question.target_port)
    if question.protocol == "tcp":
        flags = sum(FLAGS[name] for name in question.flags)
        return ports + pack("!IIBBHHH", 1, 1 if flags & FLAGS["ack"] else 0, 0x50, flags, 65535, 0, 0) + payload
    if question.protocol == "udp":
        return ports + pack("!HH", 8 + len(payload), 0) + payload
    return pack("!BBHHH", 8 if four else 128, 0, 0, 1, 1) + payload


def _end(text: str, argument: str, *, ported: bool) -> tuple[IPAddress, int]:
    allowed = "192.0.2.1:80 or [2001:db8::1]:80" if ported else "192.0.2.1 or 2001:db8::1"
    host, colon, port = text.rpartition(":") if ported else (text, "", "0")
    bare = host[1:-1] if host[:1] == "[" and host[-1:] == "]" else host
    try:
        address = ip_address(bare)
        if (ported and not colon) or (ported and (address.version == 6) != (bare != host)) or "%" in bare:
            raise ValueError
    except ValueError as error:
        raise AskedError(f"{text!r} is no address and port (allowed: {allowed})", argument=argument) from error
    if not (port.isascii() and port.isdigit() and len(port) < 6 and int(port) <= 65535):
        raise AskedError(f"{port!r} is not a port (allowed: 0 to 65535)", argument=argument)
    return address, int(port)
