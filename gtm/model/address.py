"""Addresses, networks and endpoints as typed objects; text exists only at the edges."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network


def unpacked(address: bytes) -> IPAddress:
    """The address in 16 bytes, as which IPv4 is ::ffff:a.b.c.d (RFC 4291, 2.5.5.2)."""
    six = IPv6Address(address)
    return six.ipv4_mapped or six


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An address and a port (0 to 65535) to listen on or to connect to."""

    address: IPAddress
    port: int

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{host}:{self.port}"
