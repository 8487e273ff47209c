"""A packet that somebody asks about: its words, and the frame that it is in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_address
from struct import pack

from gtm.decide.balance import ICMP, ICMP6, TCP, UDP, checksum, ip4, ip6
from gtm.model.address import IPAddress
from gtm.model.errors import AskedError

FLAGS = {"fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16}
PROTOCOLS = ("tcp", "udp", "icmp")
NUMBERS = {"tcp": TCP, "udp": UDP}
PAYLOAD_MAX = 3000
FRAGMENT6 = 44


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A packet: `flags` for TCP, ports 0 for ICMP (which is an echo request), `payload_bytes` behind its headers.

    `vlans` are the tags of its frame, outer first. `fragment`: it is the first piece of a longer one. `quoted`: asked
    about is an ICMP error from the source, which quotes a packet that the target sent it. `connection_id` makes it one
    of QUIC, with a long header or a short one.
    """

    source: IPAddress
    source_port: int
    target: IPAddress
    target_port: int
    protocol: str
    flags: tuple[str, ...] = ()
    payload_bytes: int = 0
    vlans: tuple[int, ...] = ()
    fragment: bool = False
    quoted: bool = False
    connection_id: bytes = b""
    long_header: bool = False

    def __str__(self) -> str:
        ends = (ending(self.source, self.source_port), ending(self.target, self.target_port))
        words = [f"{ends[0]} -> {ends[1]} {' '.join((self.protocol, *self.flags))}"]
        words += [f"QUIC connection ID {self.connection_id.hex()}"] * bool(self.connection_id)
        words += ["its first fragment"] * self.fragment + ["an ICMP error that quotes its answer"] * self.quoted
        words += [f"VLAN {' in '.join(map(str, reversed(self.vlans)))}"] * bool(self.vlans)
        return ", ".join(words)


def asked(
    source: str,
    target: str,
    protocol: str,
    *,
    flags: tuple[str, ...] | None = None,
    payload_bytes: int = 0,
    vlans: tuple[int, ...] = (),
    fragment: bool = False,
    quoted: bool = False,
    connection_id: bytes = b"",
    long_header: bool = False,
) -> Question:
    """The packet of a command line; TCP without `flags` is an ACK. Raises AskedError."""
    if not 0 <= payload_bytes <= PAYLOAD_MAX:
        raise AskedError(f"{payload_bytes} is not a payload (allowed: 0 to {PAYLOAD_MAX})", argument="--payload")
    ported = protocol != "icmp"
    for argument, given, fits, needs in (
        ("--flags", flags is not None, protocol == "tcp", "tcp"),
        ("--fragment", fragment, ported, "tcp or udp"),
        ("--quoted", quoted, ported and not fragment, "tcp or udp, and no --fragment"),
        ("--connection-id", bool(connection_id), protocol == "udp" and not fragment and not quoted, "udp in one piece"),
        ("--long-header", long_header, bool(connection_id), "--connection-id"),
    ):
        if given and not fits:
            raise AskedError(f"goes with {needs}", argument=argument)
    (one, one_port), (other, other_port) = _end(source, "SRC", ported=ported), _end(target, "DST", ported=ported)
    if one.version != other.version:
        raise AskedError(f"{one} and {other} are of different IP versions", argument="DST")
    return Question(
        source=one,
        source_port=one_port,
        target=other,
        target_port=other_port,
        protocol=protocol,
        flags=(("ack",) if flags is None else flags) if protocol == "tcp" else (),
        payload_bytes=payload_bytes,
        vlans=vlans,
        fragment=fragment,
        quoted=quoted,
        connection_id=connection_id,
        long_header=long_header,
    )


def frame(question: Question, *, to: bytes, sender: bytes) -> bytes:
    """The Ethernet frame between two MACs, sums and all."""
    ip = _ip(question, question.source, question.target)
    if question.quoted:
        ip = _error(question)
    kinds = (b"\x88\xa8", b"\x81\x00")[-len(question.vlans) :] if question.vlans else ()
    tags = b"".join(kind + pack("!H", vlan) for kind, vlan in zip(kinds, question.vlans, strict=True))
    return to + sender + tags + (b"\x08\x00" if question.source.version == 4 else b"\x86\xdd") + ip


def untagged(frame: bytes) -> bytes:
    """A frame without its VLAN tags."""
    while frame[12:14] in (b"\x81\x00", b"\x88\xa8"):
        frame = frame[:12] + frame[16:]
    return frame


def _ip(question: Question, source: IPAddress, target: IPAddress) -> bytes:
    """The packet of the question, from its headers to its end."""
    four = source.version == 4
    one, other = source.packed, target.packed
    number = NUMBERS.get(question.protocol, ICMP if four else ICMP6)
    body = _summed(_transport(question, four=four), number, one + other)
    if question.fragment:
        body += bytes(-len(body) % 8)  # all pieces but the last are of whole 8 octets
    if not four:
        if question.fragment:
            body, number = pack("!BBHI", number, 0, 1, 1) + body, FRAGMENT6
        return ip6(traffic_class=0, payload=len(body), protocol=number, source=one, target=other) + body
    header = ip4(tos=0, length=20 + len(body), protocol=number, source=one, target=other)
    if question.fragment:
        header = header[:6] + b"\x20\x00" + header[8:10] + b"\0\0" + header[12:]
        header = header[:10] + pack("!H", checksum(header)) + header[12:]
    return header + body


def _error(question: Question) -> bytes:
    """Host or address unreachable (RFC 792, RFC 4443 3.1), with the header and 8 octets of what the target sent."""
    four = question.source.version == 4
    turned = replace(
        question,
        source=question.target,
        source_port=question.target_port,
        target=question.source,
        target_port=question.source_port,
    )
    quote = _ip(turned, turned.source, turned.target)[: (20 if four else 40) + 8]
    one, other, number = question.source.packed, question.target.packed, ICMP if four else ICMP6
    body = _summed(pack("!BBHI", *((3, 1) if four else (1, 3)), 0, 0) + quote, number, one + other)
    if four:
        return ip4(tos=0, length=20 + len(body), protocol=number, source=one, target=other) + body
    return ip6(traffic_class=0, payload=len(body), protocol=number, source=one, target=other) + body


def _summed(body: bytes, number: int, addresses: bytes) -> bytes:
    """TCP, UDP or ICMP with its checksum."""
    at = {TCP: 16, UDP: 6}.get(number, 2)
    pseudo = b"" if number == ICMP else addresses + pack("!II", len(body), number)
    summed = checksum(pseudo + body + bytes(len(body) % 2))
    return body[:at] + pack("!H", (summed or 0xFFFF) if number == UDP else summed) + body[at + 2 :]


def ending(address: IPAddress, port: int) -> str:
    """ADDRESS:PORT as people write it; without a port where there is none."""
    if not port:
        return str(address)
    return f"{address}:{port}" if address.version == 4 else f"[{address}]:{port}"


def _transport(question: Question, *, four: bool) -> bytes:
    payload = _quic(question) + bytes(question.payload_bytes)
    ports = pack("!HH", question.source_port, question.target_port)
    if question.protocol == "tcp":
        flags = sum(FLAGS[name] for name in question.flags)
        return ports + pack("!IIBBHHH", 1, 1 if flags & FLAGS["ack"] else 0, 0x50, flags, 65535, 0, 0) + payload
    if question.protocol == "udp":
        return ports + pack("!HH", 8 + len(payload), 0) + payload
    return pack("!BBHHH", 8 if four else 128, 0, 0, 1, 1) + payload


def _quic(question: Question) -> bytes:
    """A QUIC packet's beginning (RFC 8999, 5): an Initial's of version 1 where the header is long."""
    if not question.connection_id:
        return b""
    if not question.long_header:
        return b"\x40" + question.connection_id + bytes(16)
    return b"\xc0\0\0\0\1" + bytes([len(question.connection_id)]) + question.connection_id + bytes(16)


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
