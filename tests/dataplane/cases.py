"""Frames, each with the verdict that it must get: the table that test_packets.py runs through kernel and model."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

from gtm.decide.balance import ICMP, ICMP6, TCP, UDP, Verdict
from tests.dataplane import world as w


class Case(NamedTuple):
    name: str
    frame: bytes
    verdict: Verdict


def all_cases() -> list[Case]:
    return [*forwards(), *icmp(), *fragments(), *passes(), *sizes(), *untold(), *failures(), *carries(), *quic()]


def _icmp(family: int) -> int:
    return ICMP if family == 4 else ICMP6


def forwards() -> Iterator[Case]:
    """Each encapsulation, both families, no tag to two, a SYN, an established packet and UDP."""
    transports = {"syn": (TCP, w.tcp(flags=w.SYN)), "ack": (TCP, w.tcp()), "udp": (UDP, w.udp())}
    for family, tags, wrap, name in product(w.FAMILIES, range(3), w.WRAPS, transports):
        protocol, payload = transports[name]
        ip = w.packet(family, w.vip(family, w.WRAPS[wrap]), payload, protocol=protocol, tos=0x2E << 2)
        yield Case(f"v{family}-{tags}tags-{wrap}-{name}", w.frame(ip, tags=tags), Verdict.TX_FORWARD)


def icmp() -> Iterator[Case]:
    """Echo, and errors that quote 8 bytes or more behind the IP header, through each encapsulation."""
    for family, tags in product(w.FAMILIES, range(3)):
        for size in (0, 1, 7, 56):
            ip = w.packet(family, w.vip(family, 2), w.echo(family, payload=b"p" * size), protocol=_icmp(family))
            yield Case(f"echo-v{family}-{tags}tags-{size}", w.frame(ip, tags=tags), Verdict.TX_ECHO)
    for family, wrap, protocol, size in product(w.FAMILIES, w.WRAPS, (TCP, UDP), (8, 12)):
        error = w.quote(family, w.WRAPS[wrap], protocol=protocol, size=size)
        ip = w.packet(family, w.vip(family, w.WRAPS[wrap]), error, protocol=_icmp(family), source=_router(family))
        yield Case(f"error-v{family}-{wrap}-{protocol}-{size}", w.frame(ip), Verdict.TX_ICMP_ERROR)
    for family, size in product(w.FAMILIES, range(8)):
        ip = w.packet(family, w.vip(family, 2), w.quote(family, 2, size=size), protocol=_icmp(family))
        yield Case(f"error-v{family}-quotes-{size}", w.frame(ip), Verdict.PASS_TRUNCATED)
    for family, kinds in ((4, (0, 5, 13)), (6, (0, 5, 129, 135))):
        for kind in kinds:
            ip = w.packet(family, w.vip(family, 2), w.quote(family, 2, kind=kind), protocol=_icmp(family))
            yield Case(f"icmp-v{family}-type-{kind}", w.frame(ip), Verdict.PASS_PROTOCOL)
    for family in w.FAMILIES:
        ip = w.packet(family, w.vip(family, 2), w.quote(family, 3), protocol=_icmp(family))
        yield Case(f"error-v{family}-about-another", w.frame(ip), Verdict.PASS_NO_VIP)


def _router(family: int) -> str:
    return "203.0.113.1" if family == 4 else "2001:db8:f::1"


def fragments() -> Iterator[Case]:
    """First, middle and last fragments: all by their 3-tuple."""
    for protocol, (name, offset), wrap in product(
        (TCP, UDP), (("first", 0x2000), ("middle", 0x2010), ("last", 0x0020)), ("ip", "gue6")
    ):
        four = bytearray(w.packet(4, w.vip(4, w.WRAPS[wrap]), b"f" * 16, protocol=protocol))
        four[6:8] = offset.to_bytes(2, "big")
        yield Case(f"fragment-v4-{name}-{protocol}-{wrap}", w.frame(bytes(four)), Verdict.TX_FORWARD)
        extension = bytes([protocol, 0]) + (offset & 0x1FFF).to_bytes(2, "big") + b"\0\0\0\x09"
        six = w.packet(6, w.vip(6, w.WRAPS[wrap]), extension + b"f" * 16, protocol=44)
        yield Case(f"fragment-v6-{name}-{protocol}-{wrap}", w.frame(six), Verdict.TX_FORWARD)


def passes() -> Iterator[Case]:
    """What is not for the balancer."""
    yield Case("arp", w.LB + w.ROUTER + b"\x08\x06" + bytes(28), Verdict.PASS_ETHERTYPE)
    yield Case("three-tags", w.LB + w.ROUTER + b"\x81\x00\x00\x05" * 3 + b"\x08\x00", Verdict.PASS_ETHERTYPE)
    for family in w.FAMILIES:
        other = w.vip(family, 99)
        yield Case(f"no-vip-v{family}", w.frame(w.packet(family, other, w.tcp())), Verdict.PASS_NO_VIP)
        elsewhere = w.packet(family, w.vip(family, 2), w.tcp(dport=443))
        yield Case(f"no-port-v{family}", w.frame(elsewhere), Verdict.PASS_NO_VIP)
        for protocol in (2, 50, 89, 132):
            ip = w.packet(family, w.vip(family, 2), bytes(40), protocol=protocol)
            yield Case(f"protocol-{protocol}-v{family}", w.frame(ip), Verdict.PASS_PROTOCOL)
        whole = w.packet(family, w.vip(family, 2), w.tcp())
        wrong = bytes([whole[0] & 0x0F | 0x70]) + whole[1:]
        ethertype = b"\x08\x00" if family == 4 else b"\x86\xdd"
        yield Case(f"version-7-v{family}", w.LB + w.ROUTER + ethertype + wrong, Verdict.PASS_OPTIONS)
    options = b"\x46" + w.packet(4, w.vip(4, 2), bytes(4) + w.tcp())[1:]
    yield Case("ipv4-options", w.frame(options), Verdict.PASS_OPTIONS)
    for extension in (0, 43, 60):
        ip = w.packet(6, w.vip(6, 2), bytes([6, 0]) + bytes(6) + w.tcp(), protocol=extension)
        yield Case(f"extension-{extension}", w.frame(ip), Verdict.PASS_OPTIONS)


def sizes() -> Iterator[Case]:
    """The largest packet that fits behind each outer header, and one byte more."""
    overheads = {"ip": 20, "ip6": 40, "gre": 24, "gre6": 44, "gue": 32, "gue6": 52, "second": 40, "second6": 72}
    for family, (wrap, overhead), extra in product(w.FAMILIES, overheads.items(), (0, 1)):
        room = 1500 - overhead + extra - (20 if family == 4 else 40) - 20
        ip = w.packet(family, w.vip(family, w.WRAPS[wrap]), w.tcp(payload=bytes(room)))
        verdict = Verdict.TX_TOO_BIG if extra else Verdict.TX_FORWARD
        yield Case(f"size-v{family}-{wrap}+{extra}", w.frame(ip), verdict)
    for family, tags in product(w.FAMILIES, range(3)):
        ip = w.packet(family, w.vip(family, w.TOO_SMALL), w.udp(payload=bytes(90)), protocol=UDP)
        yield Case(f"too-big-v{family}-{tags}tags", w.frame(ip, tags=tags), Verdict.TX_TOO_BIG)


def untold() -> Iterator[Case]:
    """What does not fit, and whose sender must not be told: it may be fragmented, is a fragment, or an ICMP error."""
    whole = w.packet(4, w.vip(4, w.TOO_SMALL), w.udp(payload=bytes(90)), protocol=UDP)
    for name, fragment in (("may-be-fragmented", 0), ("first", 0x2000), ("middle", 0x2010), ("last", 0x4010)):
        four = whole[:6] + fragment.to_bytes(2, "big") + whole[8:]
        yield Case(f"untold-{name}", w.frame(four), Verdict.DROP_TOO_BIG)
    for family in w.FAMILIES:
        error = w.quote(family, w.TOO_SMALL) + bytes(90)
        ip = w.packet(family, w.vip(family, w.TOO_SMALL), error, protocol=_icmp(family), source=_router(family))
        yield Case(f"untold-error-v{family}", w.frame(ip), Verdict.DROP_TOO_BIG)
    extension = bytes([UDP, 0, 0, 1, 0, 0, 0, 9])
    six = w.packet(6, w.vip(6, w.TOO_SMALL), extension + bytes(90), protocol=44)
    yield Case("told-fragment-v6", w.frame(six), Verdict.TX_TOO_BIG)


def quic() -> Iterator[Case]:
    """Connection IDs that name a server, that name none, and that are too short to."""
    for family, tags, (number, (rotation, server_id)) in product(w.FAMILIES, range(3), w.SERVER_IDS.items()):
        for long in (False, True):
            for nonce in (0, 1, 3, 4, 9):
                payload = w.udp(payload=w.quic(rotation, server_id, long=long, nonce=nonce))
                ip = w.packet(family, w.vip(family, w.QUIC), payload, protocol=UDP)
                kind = "long" if long else "short"
                yield Case(
                    f"quic-v{family}-{tags}tags-{number}-{kind}-{nonce}", w.frame(ip, tags=tags), Verdict.TX_FORWARD
                )
    for family, rotation in product(w.FAMILIES, range(8)):
        payload = w.udp(payload=w.quic(rotation, b"\x02" * 15))
        ip = w.packet(family, w.vip(family, w.QUIC), payload, protocol=UDP)
        yield Case(f"quic-v{family}-unknown-{rotation}", w.frame(ip), Verdict.TX_FORWARD)
    for family, long, size in product(w.FAMILIES, (False, True), range(14)):
        payload = w.udp(payload=w.quic(0, b"\x01", long=long)[:size])
        ip = w.packet(family, w.vip(family, w.QUIC), payload, protocol=UDP)
        yield Case(f"quic-v{family}-{'long' if long else 'short'}-cut-{size}", w.frame(ip), Verdict.TX_FORWARD)
    for family, says in product(w.FAMILIES, (0, 1, 5, 6, 255)):
        payload = w.udp(payload=w.quic(0, b"\x01", long=True, says=says))
        ip = w.packet(family, w.vip(family, w.QUIC), payload, protocol=UDP)
        yield Case(f"quic-v{family}-says-{says}", w.frame(ip), Verdict.TX_FORWARD)


def failures() -> Iterator[Case]:
    for family in w.FAMILIES:
        for name, number, verdict in (
            ("no-table", w.NO_TABLE, Verdict.PASS_NO_TABLE),
            ("expired", w.DEAD, Verdict.DROP_NO_BACKEND),
        ):
            yield Case(f"{name}-v{family}", w.frame(w.packet(family, w.vip(family, number), w.tcp())), verdict)


def carries() -> Iterator[Case]:
    """Sums that carry once and twice: lengths and addresses that drive each 16-bit word to its ends."""
    for source in ("0.0.0.1", "255.255.255.254", "255.255.0.0", "128.0.128.0", "127.255.255.255"):
        for size in (0, 1, 2, 235, 491, 1003):
            ip = w.packet(4, w.vip(4, w.MIXED), w.tcp(payload=bytes(size)), source=source, tos=0xFF)
            yield Case(f"carry-{source}-{size}", w.frame(ip), Verdict.TX_FORWARD)
    for total in (0x0000, 0x0001, 0x07FF, 0x0800, 0x7FFF, 0x80FF, 0xF7FF, 0xF800, 0xFFFE, 0xFFFF):
        for family in w.FAMILIES:
            body = w.echo(family)
            request = body[:2] + total.to_bytes(2, "big") + body[4:]
            ip = w.packet(family, w.vip(family, 2), request, protocol=_icmp(family))
            yield Case(f"echo-sum-v{family}-{total:04x}", w.frame(ip), Verdict.TX_ECHO)
