"""Who is asking: from a source address and an ECS option to a class, a scope and a network to hash."""

from __future__ import annotations

from typing import NamedTuple

from gtm.model.classes import ClassTable
from gtm.wire.ecs import Subnet

_MAPPED = bytes(10) + b"\xff\xff"  # ::ffff:0:0/96, RFC 4291 2.5.5.2
_NAT64 = bytes.fromhex("0064ff9b") + bytes(8)  # 64:ff9b::/96, RFC 6052 2.1
_6TO4 = b"\x20\x02"  # 2002::/16, RFC 3056
_TEREDO = b"\x20\x01\x00\x00"  # 2001::/32, RFC 4380 4: the client's IPv4 address is the last 32 bits, inverted

# Networks that say nothing of where a client is (RFC 6890 and the multicast ranges), as (value, prefix length).
_SPECIAL4 = (
    (0x00000000, 8),
    (0x0A000000, 8),
    (0x64400000, 10),
    (0x7F000000, 8),
    (0xA9FE0000, 16),
    (0xAC100000, 12),
    (0xC0A80000, 16),
    (0xE0000000, 3),
)


class Located(NamedTuple):
    """A client's class, the ECS scope that goes with it, and the network that weighted choices are keyed by.

    `net` is the /24 (IPv4) or /48 (IPv6) as an integer; `scope` counts bits of the option's own family and is 0 where
    the option did not decide.
    """

    class_: int
    scope: int
    net: int


def normalise(address: bytes) -> bytes:
    """The IPv4 address (4 bytes) inside a v4-mapped, NAT64, 6to4 or Teredo address, else the address as it is."""
    if len(address) == 4:
        return address
    head = address[:12]
    if head in (_MAPPED, _NAT64):
        return address[12:]
    if head[:2] == _6TO4:
        return address[2:6]
    if head[:4] == _TEREDO:
        return bytes(byte ^ 0xFF for byte in address[12:])
    return address


def informative(address: bytes) -> bool:
    """Whether a normalised address is global unicast, so that it may say where its owner is."""
    value = int.from_bytes(address, "big")
    if len(address) == 4:
        return not any(value >> 32 - length == net >> 32 - length for net, length in _SPECIAL4)
    return value >> 125 == 1  # 2000::/3, RFC 4291 2.4


def locate(classes: ClassTable, source: bytes, ecs: Subnet | None) -> Located:
    """The client's class: from the ECS network where it has one that means something, else from the source address.

    `source` is the resolver's address, 4 or 16 bytes. An option with SOURCE 0, or for a private or non-unicast
    network, does not decide and gets scope 0 (RFC 7871 sections 7.1.2, 7.2.1 and 11.1).
    """
    if ecs is not None and ecs.source:
        inner = normalise(ecs.address)
        if informative(inner):
            class_, scope, net = _find(classes, inner)
            return Located(class_, _widened(scope, ecs, inner), net)
    class_, _, net = _find(classes, normalise(source))
    return Located(class_, 0, net)


def _find(classes: ClassTable, address: bytes) -> Located:
    value = int.from_bytes(address, "big")
    if len(address) == 4:
        return Located(*classes.find4(value), value >> 8)
    return Located(*classes.find6(value), value >> 80)


def _widened(scope: int, ecs: Subnet, inner: bytes) -> int:
    """The scope in the option's own bits: an embedded IPv4 network counts from where it stands in the address."""
    if len(ecs.address) == len(inner):
        return scope
    if ecs.address[:2] == _6TO4:
        return 16 + scope
    return 128 if ecs.address[:4] == _TEREDO else 96 + scope
