"""The guard as an executable specification: what of a frame to a VIP is dropped, and why.

It says in Python what dataplane/src/guard*.{c,h} say in C, from the RFCs rather than from that; a differential test
runs both on the same frames. Only what is sent to a VIP is looked at: the machine's own traffic is nobody's to drop.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from ipaddress import IPv4Network, IPv6Network, ip_address
from struct import unpack_from

from gtm.decide.balance import ICMP, ICMP6, MAPPED, MASK, TCP, UDP, mix
from gtm.model.address import IPAddress, IPNetwork

SOURCE_LINES = 1 << 15
MOMENT = (1 << 40) - 1
TICK_SHIFT = 20  # moments are 2^-20 jiffies
FIN, SYN, RST, ACK = 1, 2, 4, 16


class Reason(IntEnum):
    """Why a packet is dropped (enum gtm_guard_reason), in the order in which it is asked."""

    LENGTH = 0
    FLAGS = 1
    PORT = 2
    LAND = 3
    PIECE = 4
    MARTIAN = 5
    FRAGMENT = 6
    AMPLIFICATION = 7
    DENY = 8
    SOURCE_RATE = 9
    VIP_RATE = 10


class Pass(IntEnum):
    """What goes on to the next program (enum gtm_guard_pass). FLOODED is not a way on of its own: see Judged."""

    NOT_IP = 0
    NOT_VIP = 1
    ALLOWED = 2
    PASSED = 3
    FLOODED = 4


class Kind(Enum):
    """What a packet wants of its VIP. GOING: TCP of a connection under way, as far as one packet says."""

    OTHER = 0
    SYN = 1
    GOING = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A token bucket as one moment (GCRA, ITU-T I.371): in ticks, what a packet takes, and what there is at most."""

    cost: int
    burst: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a VIP takes on one CPU: packets, and SYNs before nothing is learnt any more. None: any number."""

    packets: Bucket | None = None
    syns: Bucket | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """All that the guard is told. VIPs are 16 bytes, IPv4 mapped; a reason in neither set is not looked for.

    `flood_jiffies` is how long nothing is learnt after a SYN too many; 0: SYNs are not counted. `learn` False: nothing
    is learnt at all.
    """

    seed: tuple[int, int]
    on: frozenset[Reason] = frozenset()
    dry: frozenset[Reason] = frozenset()
    allow: tuple[IPNetwork, ...] = ()
    deny: tuple[IPNetwork, ...] = ()
    amplifiers: frozenset[int] = frozenset()
    source: Bucket | None = None
    prefix4: int = 24
    prefix6: int = 56
    targets: Mapping[bytes, Limits] = field(default_factory=dict)
    flood_jiffies: int = 0
    learn: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the guard remembers on one CPU: moments of source prefixes by line, and of VIPs."""

    sources: dict[int, list[int]] = field(default_factory=dict)
    packets: dict[bytes, int] = field(default_factory=lambda: defaultdict(int))
    syns: dict[bytes, int] = field(default_factory=lambda: defaultdict(int))


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """`outcome` is a Reason where the packet is dropped; `would` are those that are dry, until then."""

    outcome: Pass | Reason
    would: tuple[Reason, ...] = ()
    flooded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An IP packet: addresses of 16 bytes, what is wrong with it by itself, and what it wants."""

    source: bytes
    target: bytes
    six: bool
    reasons: frozenset[Reason] = frozenset()
    kind: Kind = Kind.OTHER


def judge(frame: bytes, policy: Policy, state: State, *, jiffies: int) -> Judged:
    """What becomes of a frame that comes at `jiffies`; takes from buckets."""
    ip = _ip(frame)
    if ip is None:
        return Judged(outcome=Pass.NOT_IP)
    seen = _see4(ip, policy) if ip[0] >> 4 == 4 else _see6(ip, policy)
    if seen.target not in policy.targets:
        return Judged(outcome=Pass.NOT_VIP)
    listed = classify(_address(seen.source, six=seen.six), policy)
    if listed is True:
        return Judged(outcome=Pass.ALLOWED)
    found = set(seen.reasons)
    if listed is False:
        found.add(Reason.DENY)
    would: list[Reason] = []
    for reason in _reasons(seen, found, policy, state, jiffies):
        if reason in policy.on:
            return Judged(outcome=reason, would=tuple(would))
        if reason in policy.dry:
            would.append(reason)
    limits = policy.targets[seen.target]
    counted = seen.kind is Kind.SYN and policy.flood_jiffies > 0
    flooded = counted and _exceeds(state.syns, seen.target, limits.syns, jiffies << TICK_SHIFT)
    return Judged(outcome=Pass.PASSED, would=tuple(would), flooded=flooded)


def _reasons(seen: Seen, found: set[Reason], policy: Policy, state: State, jiffies: int) -> Iterator[Reason]:
    """The reasons against a packet, in order: what comes after a drop takes no tokens."""
    yield from sorted(found)
    active = policy.on | policy.dry
    if Reason.SOURCE_RATE in active and source_exceeds(seen, policy, state, jiffies << TICK_SHIFT):
        yield Reason.SOURCE_RATE
    packets = policy.targets[seen.target].packets
    if (
        Reason.VIP_RATE in active
        and seen.kind is not Kind.GOING
        and _exceeds(state.packets, seen.target, packets, jiffies << TICK_SHIFT)
    ):
        yield Reason.VIP_RATE


def classify(source: IPAddress, policy: Policy) -> bool | None:
    """True if a list allows the source, False if one denies it and none allows it."""
    for networks, found in ((policy.allow, True), (policy.deny, False)):
        if any(source in network for network in networks):
            return found
    return None


def _address(packed: bytes, *, six: bool) -> IPAddress:
    return ip_address(packed if six else packed[12:])


# What is wrong with a packet by itself.


def _ip(frame: bytes) -> bytes | None:
    """What is behind Ethernet and up to two VLAN tags, if it is IP and says where it goes."""
    at = 12
    for _ in range(2):
        if len(frame) >= at + 2 and frame[at : at + 2] in (b"\x81\x00", b"\x88\xa8"):
            at += 4
    kind, ip = frame[at : at + 2], frame[at + 2 :]
    if kind == b"\x08\x00" and len(ip) >= 20 and ip[0] >> 4 == 4:
        return ip
    return ip if kind == b"\x86\xdd" and len(ip) >= 40 and ip[0] >> 4 == 6 else None


def _see4(ip: bytes, policy: Policy) -> Seen:
    header, length = (ip[0] & 15) * 4, unpack_from("!H", ip, 2)[0]
    fragment, protocol = unpack_from("!H", ip, 6)[0], ip[9]
    source, target = MAPPED + ip[12:16], MAPPED + ip[16:20]
    found, kind = _addresses(source, target, six=False), Kind.OTHER
    if header < 20 or not header <= length <= len(ip):
        found.add(Reason.LENGTH)
    elif header == 20:
        offset, more, payload = (fragment & 0x1FFF) * 8, bool(fragment & 0x2000), ip[20:length]
        if offset or more:
            found |= _fragment(offset, len(payload), 20, protocol, more=more)
        if not offset:
            wrong, kind = _transport(payload, protocol, ICMP, policy, piece=more)
            found |= wrong
    return Seen(source=source, target=target, six=False, reasons=frozenset(found), kind=kind)


def _see6(ip: bytes, policy: Policy) -> Seen:
    length, protocol = unpack_from("!HB", ip, 4)
    source, target, payload = ip[8:24], ip[24:40], ip[40 : 40 + length]
    found, kind = _addresses(source, target, six=True), Kind.OTHER
    if len(payload) < length or (protocol == 44 and length < 8):
        found.add(Reason.LENGTH)
    elif protocol == 44:
        protocol, fragment, payload = payload[0], unpack_from("!H", payload, 2)[0], payload[8:]
        offset, more = fragment & 0xFFF8, bool(fragment & 1)
        found |= _fragment(offset, len(payload), 0, protocol, more=more)
        if not offset:
            wrong, kind = _transport(payload, protocol, ICMP6, policy, piece=more)
            found |= wrong
    else:
        wrong, kind = _transport(payload, protocol, ICMP6, policy, piece=False)
        found |= wrong
    return Seen(source=source, target=target, six=True, reasons=frozenset(found), kind=kind)


def _addresses(source: bytes, target: bytes, *, six: bool) -> set[Reason]:
    found = {Reason.LAND} if source == target else set()
    address = _address(source, six=six)
    outside = six and not any(address in network for network in GLOBAL6)
    if outside or any(address in network for network in MARTIANS):
        found.add(Reason.MARTIAN)
    return found


def _fragment(offset: int, length: int, before: int, protocol: int, *, more: bool) -> set[Reason]:
    uneven = more and (length % 8 != 0 or length == 0)
    overlaps = protocol == TCP and 0 < offset < 20  # RFC 1858: writes over the flags
    wrong = uneven or overlaps or offset + length + before > 65535
    return {Reason.FRAGMENT, Reason.PIECE} if wrong else {Reason.FRAGMENT}


def _transport(payload: bytes, protocol: int, icmp: int, policy: Policy, *, piece: bool) -> tuple[set[Reason], Kind]:
    """What is wrong with a transport header, and what it wants. `piece`: more follows in other fragments."""
    short = Reason.PIECE if piece else Reason.LENGTH
    need = {TCP: 20, UDP: 8, icmp: 8}.get(protocol, 0)
    if len(payload) < need:
        return {short}, Kind.OTHER
    if protocol not in {TCP, UDP}:
        return set(), Kind.OTHER
    found: set[Reason] = set()
    source, target = unpack_from("!HH", payload)
    if protocol == UDP:
        length = unpack_from("!H", payload, 4)[0]
        if length < 8 or (length > len(payload) and not piece):
            found.add(Reason.LENGTH)
        if source in policy.amplifiers:
            found.add(Reason.AMPLIFICATION)
        return found | ({Reason.PORT} if target == 0 else set()), Kind.OTHER
    header, flags = (payload[12] >> 4) * 4, payload[13]
    if header < 20:
        found.add(Reason.LENGTH)
    elif header > len(payload):
        found.add(short)
    if any(flags & both == both for both in (SYN | FIN, SYN | RST, FIN | RST)) or not flags & (SYN | RST | ACK):
        found.add(Reason.FLAGS)
    if not source or not target:
        found.add(Reason.PORT)
    kind = {SYN: Kind.SYN, ACK: Kind.GOING}.get(flags & (SYN | ACK), Kind.OTHER)
    return found, Kind.OTHER if piece else kind


# Buckets.


def _exceeds(moments: dict[bytes, int], key: bytes, bucket: Bucket | None, now: int) -> bool:
    """Whether a bucket has too little; if not, one packet's worth is taken."""
    if bucket is None:
        return False
    then = _ahead(moments[key], now, MASK, bucket.burst) + bucket.cost
    if then > bucket.burst:
        return True
    moments[key] = now + then & MASK
    return False


def _ahead(moment: int, now: int, mask: int, burst: int) -> int:
    """How far a moment is ahead of now; more than `burst` cannot be: that moment is over."""
    by = moment - now & mask
    return 0 if by > burst else by


def _source_ahead(entry: int, now: int, burst: int) -> int:
    """The same of an entry of a line; an empty one is behind."""
    return _ahead(entry & MOMENT, now & MOMENT, MOMENT, burst) if entry else 0


def source_exceeds(seen: Seen, policy: Policy, state: State, now: int) -> bool:
    """As `_exceeds`, for a source's prefix in a line of eight: a new prefix takes the place that is the least ahead."""
    if policy.source is None:
        return False
    tag, line = source_line(seen.source, policy, six=seen.six)
    entries = state.sources.setdefault(line, [0] * 8)
    cost, burst = policy.source.cost, policy.source.burst
    known = [at for at, entry in enumerate(entries) if entry >> 40 == tag]
    if known:
        at = known[0]
        then = _source_ahead(entries[at], now, burst) + cost
        if then > burst:
            return True
    else:
        ahead = [_source_ahead(entry, now, burst) for entry in entries]
        at, then = ahead.index(min(ahead)), cost
    entries[at] = tag << 40 | (now + then & MOMENT)
    return False


def source_line(source: bytes, policy: Policy, *, six: bool) -> tuple[int, int]:
    """The tag of a source's prefix, and the line that it is in."""
    high, low = unpack_from("<QQ", source)
    mask4, mask6 = masks(policy)
    prefix = high & mask6 if six else low & mask4
    hashed = mix(mix(policy.seed[0], prefix) ^ policy.seed[1], int(six))
    return hashed >> 40, hashed & SOURCE_LINES - 1


def masks(policy: Policy) -> tuple[int, int]:
    """The masks of source prefixes, as words read from memory by a little-endian machine."""
    four = b"\0\0\xff\xff" + IPv4Network((0, policy.prefix4)).netmask.packed
    six = IPv6Network((0, policy.prefix6)).netmask.packed[:8]
    return int.from_bytes(four, "little"), int.from_bytes(six, "little")


# RFC 6890 and what followed: not globally reachable, or no unicast at all.
MARTIANS: tuple[IPNetwork, ...] = (
    *map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/3",
        ),
    ),
    *map(IPv6Network, ("2001:2::/48", "2001:db8::/32", "3fff::/20")),
)
GLOBAL6 = (IPv6Network("2000::/3"), IPv6Network("64:ff9b::/96"))
