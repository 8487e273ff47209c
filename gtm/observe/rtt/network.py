"""The network of clients that an address stands for."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from gtm.model.address import IPAddress, IPNetwork

MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291 2.5.5.2: the first 12 octets of an IPv4 address in an IPv6 socket


@dataclass(frozen=True, slots=True, kw_only=True)
class Width:
    """How many leading bits of an address make its network."""

    prefix4: int = 24
    prefix6: int = 48

    def network(self, address: IPAddress) -> IPNetwork:
        """The network around an address."""
        number, bits = int(address), address.max_prefixlen
        length = self.prefix4 if bits == 32 else self.prefix6
        number = number >> (bits - length) << (bits - length)
        return IPv4Network((number, length)) if bits == 32 else IPv6Network((number, length))


def unmapped(packed: bytes) -> IPAddress:
    """The address of 4 or 16 octets; an IPv4 address that an IPv6 socket saw is an IPv4 address."""
    if len(packed) == 16:
        return IPv4Address(packed[12:]) if packed.startswith(MAPPED) else IPv6Address(packed)
    return IPv4Address(packed)
