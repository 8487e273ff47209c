"""rtnetlink messages (rtnetlink(7), linux/rtnetlink.h, nexthop.h, neighbour.h): routes, next hops, neighbours."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from gtm.model.address import IPAddress, IPNetwork
from gtm.model.fib import Group, Hop, KernelRoute, Resilience
from gtm.wire.error import WireError

NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
RTM_NEWLINK, RTM_DELLINK = 16, 17
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
RTM_NEWNEXTHOP, RTM_DELNEXTHOP, RTM_GETNEXTHOP = 104, 105, 106
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_MULTIPATH, RTA_TABLE, RTA_VIA, RTA_NH_ID = 1, 4, 5, 6, 9, 15, 18, 30
NHA_ID, NHA_GROUP, NHA_GROUP_TYPE, NHA_OIF, NHA_GATEWAY, NHA_RES_GROUP = 1, 2, 3, 5, 6, 12
NDA_DST, NDA_LLADDR = 1, 2
NUD_REACHABLE, NUD_NOARP, NUD_PERMANENT = 0x02, 0x40, 0x80
NUD_RESOLVED = 0x02 | 0x04 | 0x08 | 0x10 | 0x40 | 0x80  # reachable, stale, delay, probe, noarp, permanent
RES_BUCKETS, RES_IDLE, RES_UNBALANCED = 1, 2, 3
GROUP_RESILIENT = 1
NLA_NESTED, NLA_TYPES = 0x8000, 0x3FFF
AF_INET, AF_INET6 = 2, 10
# Hops that the kernel does not make objects of: the link is down, or what is at its other end.
RTNH_F_DEAD, RTNH_F_LINKDOWN = 1, 16
RTN_UNICAST, SCOPE_UNIVERSE, TABLE_MAIN = 1, 0, 254
TICKS = 100  # USER_HZ: timers are in hundredths of a second
_HEAD, _ROUTE, _HOP = struct.Struct("=IHHII"), struct.Struct("=BBBBBBBBI"), struct.Struct("=BBBBI")
_NEIGHBOUR = struct.Struct("=BBHiHBB")
_U16, _U32, _S32 = struct.Struct("=H"), struct.Struct("=I"), struct.Struct("=i")
_PATH, _MEMBER, _ATTRIBUTE = struct.Struct("=HBBi"), struct.Struct("=IBBH"), struct.Struct("=HH")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One netlink message: its type, flags, sequence number and body."""

    kind: int
    flags: int
    sequence: int
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class NextHop:
    """A next-hop object: a single hop or a resilient group (None of both: of a kind that gtm does not make)."""

    number: int
    protocol: int
    hop: Hop | None = None
    group: Group | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """An entry of a link's neighbour table; `mac` None: not resolved. `fresh`: it was heard of lately, or is fixed."""

    address: IPAddress
    link: int
    mac: bytes | None
    fresh: bool


def messages(data: bytes) -> Iterator[Message]:
    """The messages of a datagram. Raises WireError where their lengths make no sense."""
    position = 0
    while position + _HEAD.size <= len(data):
        length, kind, flags, sequence, _ = _HEAD.unpack_from(data, position)
        if not _HEAD.size <= length <= len(data) - position:
            raise WireError(f"a netlink message of {length} octets at {position} of {len(data)}")
        yield Message(kind=kind, flags=flags, sequence=sequence, body=data[position + _HEAD.size : position + length])
        position += (length + 3) & ~3


def refusal(message: Message) -> int:
    """The errno of an NLMSG_ERROR; 0 is an acknowledgement."""
    if len(message.body) < 4:
        raise WireError("a netlink error without its number")
    return -int(_S32.unpack_from(message.body)[0])


def read_route(message: Message) -> KernelRoute | None:
    """The route of an RTM_NEWROUTE or RTM_DELROUTE; None for one that is not unicast or not of the main table."""
    if len(message.body) < _ROUTE.size:
        raise WireError("a route that is too short")
    family, length, _, _, table, protocol, _, kind, flags = _ROUTE.unpack_from(message.body)
    found = dict(_attributes(message.body[_ROUTE.size :]))
    if RTA_TABLE in found:
        table = _number(found[RTA_TABLE])
    if kind != RTN_UNICAST or table != TABLE_MAIN or family not in {AF_INET, AF_INET6}:
        return None
    octets = 4 if family == AF_INET else 16
    try:
        prefix = ip_network((found.get(RTA_DST, bytes(octets)), length))
        hops = tuple(sorted(_hops(found, flags)))
    except ValueError as error:
        raise WireError(f"a route: {error}") from error
    return KernelRoute(
        prefix=prefix,
        protocol=protocol,
        metric=_number(found.get(RTA_PRIORITY, bytes(4))),
        hops=hops,
        group=_number(found[RTA_NH_ID]) if RTA_NH_ID in found else None,
    )


def read_next_hop(message: Message) -> NextHop:
    """The object of an RTM_NEWNEXTHOP or RTM_DELNEXTHOP."""
    if len(message.body) < _HOP.size:
        raise WireError("a next hop that is too short")
    protocol = message.body[2]
    found = dict(_attributes(message.body[_HOP.size :]))
    number = _number(found.get(NHA_ID, b""))
    if NHA_GROUP in found:
        if found.get(NHA_GROUP_TYPE) != _U16.pack(GROUP_RESILIENT):
            return NextHop(number=number, protocol=protocol)
        return NextHop(number=number, protocol=protocol, group=_group(found))
    if NHA_GATEWAY in found and NHA_OIF in found:
        try:
            hop = Hop(ip_address(found[NHA_GATEWAY]), _number(found[NHA_OIF]))
        except ValueError as error:
            raise WireError(f"a next hop: {error}") from error
        return NextHop(number=number, protocol=protocol, hop=hop)
    return NextHop(number=number, protocol=protocol)


def read_neighbour(message: Message) -> Neighbour | None:
    """The entry of an RTM_NEWNEIGH or RTM_DELNEIGH (then without a MAC); None for one of another family."""
    if len(message.body) < _NEIGHBOUR.size:
        raise WireError("a neighbour that is too short")
    family, _, _, link, state, _, _ = _NEIGHBOUR.unpack_from(message.body)
    found = dict(_attributes(message.body[_NEIGHBOUR.size :]))
    if family not in {AF_INET, AF_INET6} or NDA_DST not in found:
        return None
    try:
        address = ip_address(found[NDA_DST])
    except ValueError as error:
        raise WireError(f"a neighbour: {error}") from error
    mac = found.get(NDA_LLADDR)
    known = message.kind == RTM_NEWNEIGH and state & NUD_RESOLVED and mac is not None and len(mac) == 6
    fresh = bool(state & (NUD_REACHABLE | NUD_NOARP | NUD_PERMANENT))
    return Neighbour(address=address, link=link, mac=mac if known else None, fresh=fresh)


def dump_neighbours(sequence: int) -> bytes:
    """The question for all neighbours of all links."""
    return _framed(RTM_GETNEIGH, NLM_F_REQUEST | NLM_F_DUMP, sequence, _NEIGHBOUR.pack(0, 0, 0, 0, 0, 0, 0))


def dump_routes(family: int, protocol: int, sequence: int) -> bytes:
    """The question for all routes of a family and protocol in the main table (with NETLINK_GET_STRICT_CHK)."""
    body = _ROUTE.pack(family, 0, 0, 0, TABLE_MAIN, protocol, 0, 0, 0)
    return _framed(RTM_GETROUTE, NLM_F_REQUEST | NLM_F_DUMP, sequence, body)


def dump_next_hops(sequence: int) -> bytes:
    """The question for all next-hop objects."""
    return _framed(RTM_GETNEXTHOP, NLM_F_REQUEST | NLM_F_DUMP, sequence, _HOP.pack(0, 0, 0, 0, 0))


def put_hop(number: int, hop: Hop, protocol: int, sequence: int) -> bytes:
    """Make or replace a next-hop object. Its weight belongs to groups, not to it."""
    family = AF_INET if hop.via.version == 4 else AF_INET6
    body = _HOP.pack(family, SCOPE_UNIVERSE, protocol, 0, 0)
    body += _attribute(NHA_ID, _U32.pack(number)) + _attribute(NHA_OIF, _U32.pack(hop.link))
    body += _attribute(NHA_GATEWAY, hop.via.packed)
    return _framed(RTM_NEWNEXTHOP, _CHANGE | NLM_F_CREATE | NLM_F_REPLACE, sequence, body)


def put_group(number: int, group: Group, protocol: int, sequence: int) -> bytes:
    """Make or replace a resilient group; flows of members that stay are not moved."""
    members = b"".join(_MEMBER.pack(member, (weight - 1) & 0xFF, 0, 0) for member, weight in group.members)
    idle, unbalanced = (round(value * TICKS) for value in (group.resilience.idle_s, group.resilience.unbalanced_s))
    settings = _attribute(RES_BUCKETS, _U16.pack(group.resilience.buckets))
    settings += _attribute(RES_IDLE, _U32.pack(idle)) + _attribute(RES_UNBALANCED, _U32.pack(unbalanced))
    body = _HOP.pack(0, SCOPE_UNIVERSE, protocol, 0, 0)
    body += _attribute(NHA_ID, _U32.pack(number)) + _attribute(NHA_GROUP, members)
    body += _attribute(NHA_GROUP_TYPE, _U16.pack(GROUP_RESILIENT))
    body += _attribute(NHA_RES_GROUP | NLA_NESTED, settings)
    return _framed(RTM_NEWNEXTHOP, _CHANGE | NLM_F_CREATE | NLM_F_REPLACE, sequence, body)


def delete_next_hop(number: int, sequence: int) -> bytes:
    """Remove a next-hop object, and the routes that go by it."""
    body = _HOP.pack(0, 0, 0, 0, 0) + _attribute(NHA_ID, _U32.pack(number))
    return _framed(RTM_DELNEXTHOP, _CHANGE, sequence, body)


def put_route(prefix: IPNetwork, group: int, *, metric: int, protocol: int, replaces: bool, sequence: int) -> bytes:
    """Make a route that goes by a next-hop object, or let it replace the one of that prefix and metric.

    That is replaced whoever's it is; the kernel refuses to make one beside another of that metric: EEXIST.
    """
    body = _route(prefix, metric, protocol) + _attribute(RTA_NH_ID, _U32.pack(group))
    how = NLM_F_REPLACE if replaces else NLM_F_CREATE | NLM_F_EXCL
    return _framed(RTM_NEWROUTE, _CHANGE | how, sequence, body)


def delete_route(prefix: IPNetwork, *, metric: int, protocol: int, sequence: int) -> bytes:
    """Remove a route of this metric and protocol."""
    return _framed(RTM_DELROUTE, _CHANGE, sequence, _route(prefix, metric, protocol))


_CHANGE = NLM_F_REQUEST | NLM_F_ACK
_UNUSABLE = RTNH_F_DEAD | RTNH_F_LINKDOWN


def _route(prefix: IPNetwork, metric: int, protocol: int) -> bytes:
    family = AF_INET if prefix.version == 4 else AF_INET6
    head = _ROUTE.pack(family, prefix.prefixlen, 0, 0, TABLE_MAIN, protocol, SCOPE_UNIVERSE, RTN_UNICAST, 0)
    return head + _attribute(RTA_DST, prefix.network_address.packed) + _attribute(RTA_PRIORITY, _U32.pack(metric))


def _group(found: dict[int, bytes]) -> Group:
    members = tuple(
        (number, low + 1 + (high << 8)) for number, low, high, _ in _MEMBER.iter_unpack(_whole(found[NHA_GROUP], 8))
    )
    settings = dict(_attributes(found.get(NHA_RES_GROUP, b"")))
    return Group(
        members=tuple(sorted(members)),
        resilience=Resilience(
            buckets=int(_U16.unpack(settings.get(RES_BUCKETS, bytes(2)))[0]),
            idle_s=_number(settings.get(RES_IDLE, bytes(4))) / TICKS,
            unbalanced_s=_number(settings.get(RES_UNBALANCED, bytes(4))) / TICKS,
        ),
    )


def _hops(found: dict[int, bytes], flags: int) -> Iterator[Hop]:
    """The next hops that have gateways and may be used; `flags` are those of the route, for a single one."""
    if RTA_MULTIPATH in found:
        rest = found[RTA_MULTIPATH]
        while len(rest) >= _PATH.size:
            length, state, less, link = _PATH.unpack_from(rest)
            if not _PATH.size <= length <= len(rest):
                raise WireError(f"a path of {length} octets")
            via = _gateway(dict(_attributes(rest[_PATH.size : length])))
            if via is not None and not state & _UNUSABLE:
                yield Hop(via, link, less + 1)
            rest = rest[(length + 3) & ~3 :]
    elif (via := _gateway(found)) is not None and RTA_OIF in found and not flags & _UNUSABLE:
        yield Hop(via, _number(found[RTA_OIF]))


def _gateway(found: dict[int, bytes]) -> IPAddress | None:
    if RTA_GATEWAY in found:
        return ip_address(found[RTA_GATEWAY])
    return ip_address(found[RTA_VIA][2:]) if RTA_VIA in found else None


def _number(octets: bytes) -> int:
    if len(octets) != 4:
        raise WireError(f"a number of {len(octets)} octets")
    return int(_U32.unpack(octets)[0])


def _whole(octets: bytes, size: int) -> bytes:
    if len(octets) % size:
        raise WireError(f"{len(octets)} octets are no list of {size}")
    return octets


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, position)
        if not 4 <= length <= len(data) - position:
            raise WireError(f"an attribute of {length} octets at {position} of {len(data)}")
        yield kind & NLA_TYPES, data[position + 4 : position + length]
        position += (length + 3) & ~3


def _attribute(kind: int, octets: bytes) -> bytes:
    length = len(octets) + 4
    return _ATTRIBUTE.pack(length, kind) + octets + bytes(-length % 4)


def _framed(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    return _HEAD.pack(_HEAD.size + len(body), kind, flags, sequence, 0) + body
