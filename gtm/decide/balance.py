"""The packet path as an executable specification: a frame and the tables give a verdict and the frame that leaves.

It says in Python what dataplane/src says in C, and is written from the RFCs rather than from that: big-endian words,
slices, and a checksum over whole headers. A differential test runs both on the same frames.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, IntEnum
from struct import pack, unpack_from

MAPPED = bytes(10) + b"\xff\xff"  # IPv4 addresses are ::ffff:a.b.c.d, 16 bytes
SLOT_BACKEND, SLOT_TRANSITION, SLOT_PREVIOUS_SHIFT = 0x7FFF, 0x8000, 16
FLOW_BACKEND, FLOW_CLOSED = 0x7FFF, 0x8000
FLOW_BUCKETS = 1 << 17
TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
MASK = (1 << 64) - 1
MULTIPLIER = 0xFF51AFD7ED558CCD  # of the keyed hash
TTL = 64


class Verdict(IntEnum):
    """Why a packet went where it went (enum gtm_verdict): PASS_* to the kernel, TX_* back out, DROP_* nowhere."""

    PASS_NO_PROGRAM = 0
    PASS_ETHERTYPE = 1
    PASS_TRUNCATED = 2
    PASS_OPTIONS = 3
    PASS_PROTOCOL = 4
    PASS_NO_VIP = 5
    PASS_NO_TABLE = 6
    TX_FORWARD = 7
    TX_ICMP_ERROR = 8
    TX_ECHO = 9
    TX_TOO_BIG = 10
    DROP_NO_BACKEND = 11
    DROP_NO_ROOM = 12
    DROP_TOO_BIG = 13


class Wrap(IntEnum):
    """What a backend gets its packets in (enum gtm_wrap)."""

    NONE = 0
    L2 = 1
    IP = 2
    GRE = 3
    GUE = 4


class Kind(Enum):
    """What a packet is, beyond its flow."""

    DATA = 0
    SYN = 1
    FRAGMENT = 2
    ICMP_ERROR = 3
    ECHO = 4
    END = 5  # FIN or RST, and no SYN


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A server behind VIPs; addresses as 16 bytes. `expired`: its drain is over."""

    wrap: Wrap
    address: bytes
    source: bytes
    mac: bytes
    mtu_bytes: int = 1500
    port: int = 6080
    outer6: bool = False
    second_chance: bool = False
    expired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Vip:
    """A service address; `ring` numbers its Maglev table, `quic` has a server ID's octets by config rotation."""

    ring: int
    track: bool = False
    quic: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """All that the program reads. `flows` is what it learns: bucket -> eight words of tag and backend.

    `servers` has backends by (ring, config rotation codepoint, QUIC-LB server ID). `may_tell` is asked before a sender
    is told that its packet is too big: the program limits its rate. Of the VIPs in `floods` nothing is learnt, of none
    unless `learn`. `events` is what it tells where it shall: (whether the flow has ended, its word in the table, the
    VIP's ring).
    """

    seed: tuple[int, int]
    vips: Mapping[tuple[bytes, int, int], Vip]
    rings: Mapping[int, Sequence[int]]
    backends: Mapping[int, Backend]
    servers: Mapping[tuple[int, int, bytes], int] = field(default_factory=dict)
    may_tell: Callable[[], bool] = lambda: True
    learn: bool = True
    floods: Container[bytes] = frozenset()
    tell: bool = False
    flows: MutableMapping[int, list[int]] = field(default_factory=dict)
    events: list[tuple[bool, int, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """A parsed packet: its flow (of a quoted packet: turned round), and where its IP header starts in the frame."""

    kind: Kind = Kind.DATA
    source: bytes
    target: bytes
    source_port: int = 0
    target_port: int = 0
    protocol: int
    length: int
    l3: int
    family: int
    traffic_class: int
    quiet: bool = False  # no ICMP error may be sent about it


def balance(frame: bytes, tables: Tables) -> tuple[Verdict, bytes]:
    """The verdict on `frame` and the frame that leaves, which is `frame` itself unless the verdict is TX_*."""
    packet = parse(frame)
    if isinstance(packet, Verdict):
        return packet, frame
    vip = tables.vips.get((packet.target, packet.target_port, packet.protocol))
    if vip is None:
        return Verdict.PASS_NO_VIP, frame
    if packet.kind is Kind.ECHO:
        return Verdict.TX_ECHO, _echo(frame, packet)
    ring = tables.rings.get(vip.ring)
    if not ring:
        return Verdict.PASS_NO_TABLE, frame
    hashed = flow_hash(packet, tables.seed)
    slot = ring[(hashed & 0xFFFFFFFF) * len(ring) >> 32]
    number = server(frame, packet, vip, tables)
    if not _alive(tables, number):
        number = owner(packet, vip, slot, hashed, tables)
    backend = _alive(tables, number)
    if backend is None:
        return Verdict.DROP_NO_BACKEND, frame
    hop = _second(tables, slot, number) if backend.second_chance else b""
    room = backend.mtu_bytes - _overhead(backend, hop)
    if packet.length > room:
        if packet.quiet or not tables.may_tell():
            return Verdict.DROP_TOO_BIG, frame
        return Verdict.TX_TOO_BIG, _too_big(frame, packet, room)
    verdict = Verdict.TX_ICMP_ERROR if packet.kind is Kind.ICMP_ERROR else Verdict.TX_FORWARD
    return verdict, _encapsulate(frame, packet, backend, hop, hashed >> 16 & 0xFFFF)


# Parsing. A Verdict in place of a Packet says why it is not for balancing.


def parse(frame: bytes) -> Packet | Verdict:
    """The packet in an Ethernet frame with up to two VLAN tags, or the verdict that lets it pass."""
    at, tags = 12, 0
    while tags < 2 and frame[at : at + 2] in (b"\x81\x00", b"\x88\xa8") and len(frame) >= 14:
        at, tags = at + 4, tags + 1
        if len(frame) < at + 2:
            return Verdict.PASS_TRUNCATED
    if len(frame) < 14:
        return Verdict.PASS_TRUNCATED
    if frame[at : at + 2] == b"\x08\x00":
        return _parse4(frame, at + 2)
    return _parse6(frame, at + 2) if frame[at : at + 2] == b"\x86\xdd" else Verdict.PASS_ETHERTYPE


def _parse4(frame: bytes, l3: int) -> Packet | Verdict:
    ip = frame[l3:]
    if len(ip) < 20:
        return Verdict.PASS_TRUNCATED
    if ip[0] != 0x45:
        return Verdict.PASS_OPTIONS
    _, tos, length, _, fragment, _, protocol = unpack_from("!BBHHHBB", ip)
    if not 20 <= length <= len(ip):
        return Verdict.PASS_TRUNCATED
    packet = Packet(
        source=MAPPED + ip[12:16],
        target=MAPPED + ip[16:20],
        protocol=protocol,
        length=length,
        l3=l3,
        family=4,
        traffic_class=tos,
        quiet=fragment != 0x4000,
    )
    if fragment & 0x3FFF:
        return _fragment(packet)
    payload = ip[20:length]
    return _icmp(packet, payload) if protocol == ICMP else _ports(packet, payload)


def _parse6(frame: bytes, l3: int) -> Packet | Verdict:
    ip = frame[l3:]
    if len(ip) < 40:
        return Verdict.PASS_TRUNCATED
    if ip[0] >> 4 != 6:
        return Verdict.PASS_OPTIONS
    first, room, protocol = unpack_from("!IHB", ip)
    if room + 40 > len(ip):
        return Verdict.PASS_TRUNCATED
    packet = Packet(
        source=ip[8:24],
        target=ip[24:40],
        protocol=protocol,
        length=room + 40,
        l3=l3,
        family=6,
        traffic_class=first >> 20 & 0xFF,
    )
    payload = ip[40 : 40 + room]
    if protocol == 44:
        return _fragment(replace(packet, protocol=payload[0])) if room >= 8 else Verdict.PASS_TRUNCATED
    if protocol in {0, 43, 60}:
        return Verdict.PASS_OPTIONS
    return _icmp(packet, payload) if protocol == ICMP6 else _ports(packet, payload)


def _fragment(packet: Packet) -> Packet | Verdict:
    return replace(packet, kind=Kind.FRAGMENT) if packet.protocol in {TCP, UDP} else Verdict.PASS_PROTOCOL


def _ports(packet: Packet, payload: bytes) -> Packet | Verdict:
    if packet.protocol not in {TCP, UDP}:
        return Verdict.PASS_PROTOCOL
    if len(payload) < (20 if packet.protocol == TCP else 8):
        return Verdict.PASS_TRUNCATED
    source, target = unpack_from("!HH", payload)
    kind = Kind.DATA
    if packet.protocol == TCP:
        syn, end = payload[13] & 0x12 == 2, payload[13] & 0x05 != 0
        kind = Kind.SYN if syn else Kind.END if end else Kind.DATA
    return replace(packet, source_port=source, target_port=target, kind=kind)


def _icmp(packet: Packet, payload: bytes) -> Packet | Verdict:
    echo, errors, header = (8, {3, 11, 12}, 20) if packet.family == 4 else (128, {1, 2, 3, 4}, 40)
    if len(payload) < 8:
        return Verdict.PASS_TRUNCATED
    if payload[0] == echo:
        return replace(packet, kind=Kind.ECHO)
    if payload[0] not in errors:
        return Verdict.PASS_PROTOCOL
    quoted = payload[8:]
    if len(quoted) < header + 8:
        return Verdict.PASS_TRUNCATED
    if packet.family == 4:
        odd = quoted[0] != 0x45 or unpack_from("!H", quoted, 6)[0] & 0x1FFF != 0
        sender, receiver, protocol = MAPPED + quoted[12:16], MAPPED + quoted[16:20], quoted[9]
    else:
        odd, sender, receiver, protocol = quoted[0] >> 4 != 6, quoted[8:24], quoted[24:40], quoted[6]
    if odd:
        return Verdict.PASS_OPTIONS
    if sender != packet.target:
        return Verdict.PASS_NO_VIP
    if protocol not in {TCP, UDP}:
        return Verdict.PASS_PROTOCOL
    ours, theirs = unpack_from("!HH", quoted, header)
    return replace(
        packet,
        kind=Kind.ICMP_ERROR,
        source=receiver,
        source_port=theirs,
        target_port=ours,
        protocol=protocol,
        quiet=True,
    )


# Whose flow it is.


def mix(hashed: int, word: int) -> int:
    """One round of the keyed hash, on 64 bits."""
    hashed = (hashed ^ word) * MULTIPLIER & MASK
    return hashed ^ hashed >> 32


def flow_hash(packet: Packet, seed: tuple[int, int]) -> int:
    """64 bits of a flow; words are read as a little-endian machine reads them from the packet."""
    source0, source1 = unpack_from("<QQ", packet.source)
    target0, target1 = unpack_from("<QQ", packet.target)
    hashed = mix(seed[0], source1)
    if packet.family == 6:
        hashed = mix(mix(hashed, source0), target0)
    hashed = mix(hashed, target1)
    ports = int.from_bytes(pack("!HH", packet.source_port, packet.target_port), "little")
    return mix(hashed ^ seed[1], ports << 8 | packet.protocol)


def owner(packet: Packet, vip: Vip, slot: int, hashed: int, tables: Tables) -> int:
    """The number of the backend that owns the flow; learns where the answer may change."""
    current, previous, moving = slot & SLOT_BACKEND, slot >> SLOT_PREVIOUS_SHIFT, bool(slot & SLOT_TRANSITION)
    if not moving and not vip.track:
        return current
    follow = previous if moving and _alive(tables, previous) else current
    if packet.kind is Kind.FRAGMENT:
        return follow
    flows = tables.flows.setdefault(hashed >> 40 & FLOW_BUCKETS - 1, [0] * 8)
    tag = hashed >> 16
    learning = tables.learn and packet.target not in tables.floods
    if packet.kind is Kind.SYN and learning:
        _learn(tables, flows, tag << 16 | current, vip)
        return current
    if packet.kind is Kind.END:
        _close(tables, flows, tag, vip)
    known = _recall(flows, tag)
    if known and _alive(tables, known):
        return known
    if vip.track and packet.protocol == UDP:
        follow = current
    if packet.kind is Kind.DATA and learning:
        _learn(tables, flows, tag << 16 | follow, vip)
    return follow


def server(frame: bytes, packet: Packet, vip: Vip, tables: Tables) -> int:
    """The backend that a QUIC packet's connection ID names; 0 if it names none."""
    found = server_id(frame, packet, vip)
    return 0 if found is None else tables.servers.get((vip.ring, *found), 0)


def server_id(frame: bytes, packet: Packet, vip: Vip) -> tuple[int, bytes] | None:
    """The config rotation and server ID in a QUIC packet's connection ID (draft-ietf-quic-load-balancers), if any."""
    if not vip.quic or packet.kind in {Kind.FRAGMENT, Kind.ICMP_ERROR}:
        return None
    payload = frame[packet.l3 : packet.l3 + packet.length][48 if packet.family == 6 else 28 :]
    if len(payload) < 7:
        return None
    # RFC 8999: a long header tells its connection ID's length, which for a short one the server alone knows.
    long = payload[0] & 0x80
    connection_id = payload[6 : 6 + payload[5]] if long else payload[1:]
    rotation = connection_id[0] >> 5 if connection_id else 7
    size = vip.quic.get(rotation, 0)
    if not size or len(connection_id) < 1 + size or (long and payload[5] < 1 + size + 4):  # a nonce of 4 or more
        return None
    return rotation, connection_id[1 : 1 + size]


def _recall(flows: list[int], tag: int) -> int:
    for i, entry in enumerate(flows):
        if entry >> 16 == tag:
            if i:
                flows[i - 1], flows[i] = entry, flows[i - 1]
            return entry & FLOW_BACKEND
    return 0


def _close(tables: Tables, flows: list[int], tag: int, vip: Vip) -> None:
    for i, entry in enumerate(flows):
        if entry >> 16 == tag and not entry & FLOW_CLOSED:
            flows[i] = entry | FLOW_CLOSED
            _tell(tables, flows[i], vip, ended=True)


def _learn(tables: Tables, flows: list[int], word: int, vip: Vip) -> None:
    if word in flows:
        return
    for i, entry in enumerate(flows):
        if entry >> 16 == word >> 16:
            flows[i] = word
            break
    else:
        flows[4:] = [word, *flows[4:7]]
    _tell(tables, word, vip, ended=False)


def _tell(tables: Tables, word: int, vip: Vip, *, ended: bool) -> None:
    if tables.tell:
        tables.events.append((ended, word, vip.ring))


def _alive(tables: Tables, number: int) -> Backend | None:
    backend = tables.backends.get(number) if number else None
    return backend if backend and backend.wrap is not Wrap.NONE and not backend.expired else None


def _second(tables: Tables, slot: int, number: int) -> bytes:
    following = slot >> SLOT_PREVIOUS_SHIFT
    if following == number:
        following = slot & SLOT_BACKEND
    backend = _alive(tables, following) if following != number else None
    if backend is None or backend.outer6 != tables.backends[number].outer6:
        return b""
    return backend.address if backend.outer6 else backend.address[12:]


# Frames that leave.


def checksum(data: bytes) -> int:
    """The Internet checksum of whole 16-bit words (RFC 1071)."""
    total: int = sum(unpack_from(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip4(*, tos: int, length: int, protocol: int, source: bytes, target: bytes) -> bytes:
    """An IPv4 header that may not be fragmented; addresses of 4 bytes."""
    head = pack("!BBHHHBBH", 0x45, tos, length, 0, 0x4000, TTL, protocol, 0) + source + target
    return head[:10] + pack("!H", checksum(head)) + head[12:]


def ip6(*, traffic_class: int, payload: int, protocol: int, source: bytes, target: bytes) -> bytes:
    """An IPv6 header."""
    return pack("!IHBB", 6 << 28 | traffic_class << 20, payload, protocol, TTL) + source + target


def _overhead(backend: Backend, hop: bytes) -> int:
    header = 40 if backend.outer6 else 20
    shims = {Wrap.IP: header, Wrap.GRE: header + 4, Wrap.GUE: header + 12 + (4 + len(hop) if hop else 0)}
    return shims.get(backend.wrap, 0)


def _link(frame: bytes, l3: int, ethertype: bytes) -> bytes:
    return frame[6:12] + frame[:6] + frame[12 : l3 - 2] + ethertype


def _encapsulate(frame: bytes, packet: Packet, backend: Backend, hop: bytes, vary: int) -> bytes:
    macs = backend.mac + frame[:6]
    if backend.wrap is Wrap.L2:
        return macs + frame[12:]
    inner, inner_type = (41, b"\x86\xdd") if packet.family == 6 else (4, b"\x08\x00")
    protocol, shim, source = inner, b"", backend.source
    if backend.wrap is Wrap.GUE:
        protocol = UDP
        private = bytes([0, len(hop) == 16, 0, 1]) + hop if hop else b""
        gue = bytes([len(private) // 4, inner, 0, 0]) + private
        shim = pack("!HHHH", 0xC000 | vary & 0x3FFF, backend.port, packet.length + 8 + len(gue), 0) + gue
    else:
        varied = int.from_bytes(source[14:], "little") ^ vary
        source = source[:14] + varied.to_bytes(2, "little")
    if backend.wrap is Wrap.GRE:
        protocol, shim = 47, b"\0\0" + inner_type
    payload = len(shim) + packet.length
    if backend.outer6:
        header = ip6(
            traffic_class=packet.traffic_class,
            payload=payload,
            protocol=protocol,
            source=source,
            target=backend.address,
        )
    else:
        header = ip4(
            tos=packet.traffic_class,
            length=20 + payload,
            protocol=protocol,
            source=source[12:],
            target=backend.address[12:],
        )
    ethertype = b"\x86\xdd" if backend.outer6 else b"\x08\x00"
    return macs + frame[12 : packet.l3 - 2] + ethertype + header + shim + frame[packet.l3 :]


def _echo(frame: bytes, packet: Packet) -> bytes:
    """The reply of RFC 792 or 4443; its sum is corrected, not made anew, so that a damaged request stays damaged."""
    l4 = packet.l3 + (20 if packet.family == 4 else 40)
    old, new = (0x0800, 0) if packet.family == 4 else (0x8000, 0x8100)
    total = (~unpack_from("!H", frame, l4 + 2)[0] & 0xFFFF) + (~old & 0xFFFF) + new
    total = (total & 0xFFFF) + (total >> 16)
    total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    size = 4 if packet.family == 4 else 16
    addresses = packet.target[-size:] + packet.source[-size:]
    ip = frame[packet.l3 : l4 - 2 * size] + addresses
    rest = bytes([new >> 8]) + frame[l4 + 1 : l4 + 2] + pack("!H", total) + frame[l4 + 4 :]
    return _link(frame, packet.l3, frame[packet.l3 - 2 : packet.l3]) + ip + rest


def _too_big(frame: bytes, packet: Packet, mtu: int) -> bytes:
    """Fragmentation needed (RFC 1191) or packet too big (RFC 8201), from the VIP, with 8 bytes of payload quoted."""
    sender, receiver = packet.target, _sender(frame, packet)
    if packet.family == 4:
        quoted = frame[packet.l3 : packet.l3 + 28]
        body = pack("!BBHHH", 3, 4, 0, 0, mtu) + quoted
        body = body[:2] + pack("!H", checksum(body)) + body[4:]
        header = ip4(tos=0, length=20 + len(body), protocol=ICMP, source=sender[12:], target=receiver[12:])
    else:
        quoted = frame[packet.l3 : packet.l3 + 48]
        body = pack("!BBHI", 2, 0, 0, mtu) + quoted
        pseudo = sender + receiver + pack("!II", len(body), ICMP6)
        body = body[:2] + pack("!H", checksum(pseudo + body)) + body[4:]
        header = ip6(traffic_class=0, payload=len(body), protocol=ICMP6, source=sender, target=receiver)
    return _link(frame, packet.l3, frame[packet.l3 - 2 : packet.l3]) + header + body


def _sender(frame: bytes, packet: Packet) -> bytes:
    if packet.family == 4:
        return MAPPED + frame[packet.l3 + 12 : packet.l3 + 16]
    return frame[packet.l3 + 8 : packet.l3 + 24]
