"""What a BGP speaker says: routes, their attributes and communities (RFC 4271, RFC 1997, RFC 4360, RFC 8092)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address
from typing import NamedTuple

from gtm.model.address import IPAddress, IPNetwork


class Family(StrEnum):
    """Address family and subsequent family (RFC 4760), in ExaBGP's words."""

    IPV4 = "ipv4 unicast"
    IPV6 = "ipv6 unicast"

    @classmethod
    def of(cls, item: IPAddress | IPNetwork) -> Family:
        """The unicast family of an address or a prefix."""
        return cls.IPV4 if item.version == 4 else cls.IPV6


class Community(NamedTuple):
    """A standard community (RFC 1997), two 16-bit numbers, written `65535:0`."""

    high: int
    low: int

    def __str__(self) -> str:
        return f"{self.high}:{self.low}"


class LargeCommunity(NamedTuple):
    """A large community (RFC 8092), three 32-bit numbers, written `64496:1:2`."""

    administrator: int
    data_1: int
    data_2: int

    def __str__(self) -> str:
        return f"{self.administrator}:{self.data_1}:{self.data_2}"


class ExtendedKind(StrEnum):
    """The extended communities that gtm knows by name (RFC 4360 sections 4 and 5, draft-ietf-idr-link-bandwidth)."""

    TARGET = "target"
    ORIGIN = "origin"
    BANDWIDTH = "bandwidth"


class ExtendedCommunity(NamedTuple):
    """An extended community (RFC 4360), written `target:64496:1`.

    `administrator` is an AS number or an IPv4 address; the `value` of a bandwidth is in octets a second.
    """

    kind: ExtendedKind
    administrator: int | IPv4Address
    value: int

    def __str__(self) -> str:
        return f"{self.kind}:{self.administrator}:{self.value}"


GRACEFUL_SHUTDOWN = Community(65535, 0)  # RFC 8326
WELL_KNOWN = {
    "graceful-shutdown": GRACEFUL_SHUTDOWN,
    "accept-own": Community(65535, 1),  # RFC 7611
    "blackhole": Community(65535, 666),  # RFC 7999
    "no-export": Community(65535, 65281),
    "no-advertise": Community(65535, 65282),
    "no-export-subconfed": Community(65535, 65283),
    "no-peer": Community(65535, 65284),  # RFC 3765
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Communities:
    """A set of communities of all three kinds, each sorted and once."""

    standard: tuple[Community, ...] = ()
    extended: tuple[ExtendedCommunity, ...] = ()
    large: tuple[LargeCommunity, ...] = ()

    def __or__(self, other: Communities) -> Communities:
        return Communities(
            standard=tuple(sorted({*self.standard, *other.standard})),
            extended=tuple(sorted({*self.extended, *other.extended}, key=str)),
            large=tuple(sorted({*self.large, *other.large})),
        )


NO_COMMUNITIES = Communities()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """The path attributes of a route. `next_hop` None is the speaker's own address; `as_path` is sent as it stands.

    An empty `as_path` leaves it to the speaker: its own AS to others, nothing within the AS.
    """

    next_hop: IPAddress | None = None
    med: int | None = None
    local_pref: int | None = None
    as_path: tuple[int, ...] = ()
    communities: Communities = NO_COMMUNITIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A prefix as announced to one neighbour, by the neighbour's address. `path_id` is that of RFC 7911."""

    neighbour: IPAddress
    prefix: IPNetwork
    attributes: Attributes
    path_id: int | None = None
