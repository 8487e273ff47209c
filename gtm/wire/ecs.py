"""EDNS Client Subnet (RFC 7871 section 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gtm.wire.error import WireError

OPTION_ECS: Final = 8

_ADDRESS_BYTES = {0: 0, 1: 4, 2: 16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """A client network as a resolver sent it.

    `family` is 1 (IPv4), 2 (IPv6), or 0 where nothing is said of the client; `source` is its prefix length in bits;
    `address` is zero-filled to the family's full 4, 16 or 0 octets.
    """

    family: int
    source: int
    address: bytes


def parse(data: bytes) -> Subnet:
    """The subnet of a query's option. Raises WireError for what RFC 7871 section 7.1.2 has answered with FORMERR.

    That is: an unknown family, SOURCE over the family's length, SCOPE not 0, an address of another length than
    SOURCE needs, or bits set beyond SOURCE. Family 0 goes with SOURCE 0 only.
    """
    if len(data) < 4:
        raise WireError("ECS option is too short")
    family = data[0] << 8 | data[1]
    source, scope = data[2], data[3]
    full = _ADDRESS_BYTES.get(family)
    if full is None:
        raise WireError(f"ECS family {family} is unknown")
    if source > full * 8:
        raise WireError(f"ECS source {source} is longer than its family's addresses")
    if scope:
        raise WireError("ECS scope is set in a query")
    address = data[4:]
    if len(address) != (source + 7) // 8:
        raise WireError("ECS address is not as long as its source")
    if source & 7 and address[-1] & (0xFF >> (source & 7)):
        raise WireError("ECS address has bits set beyond its source")
    return Subnet(family=family, source=source, address=address + bytes(full - len(address)))


def render(subnet: Subnet, scope: int) -> bytes:
    """The option's data for a response: the query's family, source and address, and the answer's scope in bits."""
    head = bytes((subnet.family >> 8, subnet.family & 0xFF, subnet.source, scope))
    return head + subnet.address[: (subnet.source + 7) // 8]
