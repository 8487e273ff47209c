"""The tables that the packet tests run on, and frames to send: the same for the kernel and for the model."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import pack

from gtm.decide.balance import ICMP, ICMP6, MAPPED, TCP, UDP, Backend, Tables, Vip, Wrap, checksum, ip4, ip6

SEED = (0x0123456789ABCDEF, 0xFEDCBA9876543210)
LB, ROUTER = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
GATEWAY, SERVER = bytes.fromhex("0200000000aa"), bytes.fromhex("0200000000bb")
FAMILIES = (4, 6)
CLIENT = {4: "198.51.100.7", 6: "2001:db8:c::7"}
SYN, ACK = 0x02, 0x10

WRAPS = {"l2": 1, "ip": 2, "ip6": 3, "gre": 4, "gre6": 5, "gue": 6, "gue6": 7, "second": 8, "second6": 13}
EXPIRED, OTHER, SMALL, ABSENT, OTHER6 = 9, 10, 11, 12, 14
MIXED, MOVING, TRACKED, NO_TABLE, DEAD, TOO_SMALL, MOVING_TRACKED, GONE = 20, 21, 22, 23, 24, 25, 26, 27
QUIC, CROSSED = 28, 29
SERVER_IDS = {
    3: (0, b"\x01"),
    4: (1, bytes(range(8))),
    5: (2, bytes(range(15))),
    6: (3, bytes(9)),
    EXPIRED: (0, b"\x09"),
}


def packed(text: str) -> bytes:
    """16 bytes of an address, IPv4 mapped."""
    address = ip_address(text)
    return MAPPED + address.packed if isinstance(address, IPv4Address) else address.packed


def vip(family: int, number: int) -> str:
    """The VIP of a ring: 192.0.2.number, 2001:db8::number."""
    return f"192.0.2.{number}" if family == 4 else str(IPv6Address(f"2001:db8::{number:x}"))


def backend(wrap: Wrap, number: int, **more: object) -> Backend:
    six = bool(more.get("outer6"))
    return Backend(
        wrap=wrap,
        address=packed(f"fd00::b:{number}" if six else f"10.0.0.{number}"),
        source=packed("fd00:a::1" if six else "172.16.255.254"),
        mac=SERVER if wrap is Wrap.L2 else GATEWAY,
        **more,  # type: ignore[arg-type]
    )


def tables() -> Tables:
    """One VIP for each backend alone, and VIPs for what mixes, moves, tracks, and fails; each in both families."""
    backends = {
        1: backend(Wrap.L2, 1),
        2: backend(Wrap.IP, 2),
        3: backend(Wrap.IP, 3, outer6=True),
        4: backend(Wrap.GRE, 4),
        5: backend(Wrap.GRE, 5, outer6=True),
        6: backend(Wrap.GUE, 6),
        7: backend(Wrap.GUE, 7, outer6=True),
        8: backend(Wrap.GUE, 8, second_chance=True),
        EXPIRED: backend(Wrap.IP, 9, expired=True),
        OTHER: backend(Wrap.IP, 10),
        SMALL: backend(Wrap.IP, 11, mtu_bytes=120),
        13: backend(Wrap.GUE, 13, outer6=True, second_chance=True),
        OTHER6: backend(Wrap.IP, 14, outer6=True),
    }
    rings = {number: [number] * 7 for number in range(1, 8)}
    rings |= {
        8: [8 | OTHER << 16] * 7,
        13: [13 | OTHER6 << 16] * 7,
        CROSSED: [8 | OTHER6 << 16, 13 | OTHER << 16] * 7,
        QUIC: [2, 8 | 0x8000 | OTHER << 16] * 7,
        MIXED: [1 + i % 8 | OTHER << 16 for i in range(251)],
        MOVING: [2 | 0x8000 | OTHER << 16] * 13,
        TRACKED: [1 + i % 8 for i in range(13)],
        DEAD: [EXPIRED] * 3,
        TOO_SMALL: [SMALL] * 3,
        MOVING_TRACKED: [2 | 0x8000 | OTHER << 16] * 13,
        GONE: [2 | 0x8000 | EXPIRED << 16, 2 | 0x8000 | ABSENT << 16, 2 | 0x8000],
    }
    vips = {}
    for number in (*rings, NO_TABLE):
        service = Vip(ring=number, track=number in {TRACKED, MOVING_TRACKED})
        for family in FAMILIES:
            address = packed(vip(family, number))
            for protocol in (TCP, UDP):
                quic = {0: 1, 1: 8, 2: 15, 3: 9} if number == QUIC and protocol == UDP else {}
                vips[address, 80, protocol] = vips[address, 0, protocol] = replace(service, quic=quic)
            vips[address, 0, ICMP if family == 4 else ICMP6] = service
    servers = {(QUIC, *server): number for number, server in SERVER_IDS.items()}
    return Tables(seed=SEED, vips=vips, rings=rings, backends=backends, servers=servers)


def tcp(*, sport: int = 40000, dport: int = 80, flags: int = ACK, payload: bytes = b"payload") -> bytes:
    return pack("!HHIIBBHHH", sport, dport, 1, 2, 0x50, flags, 8192, 0xBEEF, 0) + payload


def udp(*, sport: int = 40000, dport: int = 80, payload: bytes = b"payload") -> bytes:
    return pack("!HHHH", sport, dport, 8 + len(payload), 0xBEEF) + payload


def quic(rotation: int, server_id: bytes, *, long: bool = False, nonce: int = 4, says: int | None = None) -> bytes:
    """A QUIC packet to a connection ID with a server ID in clear; `says`: the length that its long header tells."""
    connection_id = bytes([rotation << 5 | 0x0A]) + server_id + b"\xee" * nonce
    if not long:
        return b"\x43" + connection_id
    return b"\xe3\0\0\0\x01" + bytes([len(connection_id) if says is None else says]) + connection_id + b"\0"


def packet(family: int, target: str, payload: bytes, *, protocol: int = TCP, source: str = "", tos: int = 0) -> bytes:
    """An IP packet to `target`."""
    sender, receiver = packed(source or CLIENT[family]), packed(target)
    if family == 4:
        size = 20 + len(payload)
        head = ip4(tos=tos, length=size, protocol=protocol, source=sender[12:], target=receiver[12:])
    else:
        head = ip6(traffic_class=tos, payload=len(payload), protocol=protocol, source=sender, target=receiver)
    return head + payload


def echo(family: int, *, payload: bytes = b"ping") -> bytes:
    body = pack("!BBHHH", 8 if family == 4 else 128, 0, 0, 7, 1) + payload
    return body[:2] + pack("!H", checksum(body + bytes(len(body) % 2))) + body[4:]


def quote(family: int, number: int, *, kind: int | None = None, protocol: int = TCP, size: int = 8) -> bytes:
    """An ICMP error about a packet that the VIP sent to the client, with `size` bytes behind its IP header."""
    transport = tcp(sport=80, dport=40000) if protocol == TCP else udp(sport=80, dport=40000)
    sent = packet(family, CLIENT[family], transport, protocol=protocol, source=vip(family, number))
    kinds = {4: 3, 6: 1}
    head = pack("!BBHI", kinds[family] if kind is None else kind, 4 if family == 4 else 0, 0xABCD, 1400)
    return head + sent[: (20 if family == 4 else 40) + size]


def frame(ip: bytes, *, tags: int = 0) -> bytes:
    """An Ethernet frame to the balancer, with 0 to 2 VLAN tags."""
    tag = (b"", b"\x81\x00\x00\x05", b"\x88\xa8\x00\x06\x81\x00\x00\x05")[tags]
    return LB + ROUTER + tag + (b"\x08\x00" if ip[0] >> 4 == 4 else b"\x86\xdd") + ip
