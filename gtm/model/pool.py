"""The instances of one service, by region."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from gtm.model.address import IPAddress
from gtm.model.check import Target

WEIGHT_DEFAULT = 100
WEIGHT_MAX = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One load-balancer instance of a region: what is answered (`a`, `aaaa`, `cname`), its weight, and what is probed.

    `cname` is an absolute host name in presentation form ("us-east.example.net."). `weight` 0 takes no traffic.
    `probe` is the address that is checked where it differs from the answered one.
    """

    region: str
    a: IPv4Address | None = None
    aaaa: IPv6Address | None = None
    cname: str | None = None
    weight: int = WEIGHT_DEFAULT
    probe: IPAddress | None = None

    @property
    def label(self) -> str:
        """Its name within the region: the first of its IPv4 address, IPv6 address, host name."""
        return str(self.a or self.aaaa or self.cname)

    @property
    def probed(self) -> IPAddress | None:
        """The address that checks go to, or None for a host name without `probe`."""
        return self.probe or self.a or self.aaaa


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A pool: its `name` ("ZONE/POOL", the zone without trailing dot), its check (None: always up) and its instances.

    `threshold`, where given, beats the regions' own.
    """

    name: str
    check: str | None
    instances: tuple[Instance, ...]
    threshold: float | None = None

    def target(self, instance: Instance) -> Target | None:
        """The target whose health is the instance's, or None where nothing is probed."""
        address = instance.probed
        return None if self.check is None or address is None else Target(check=self.check, address=address)

    def targets(self) -> Iterator[Target]:
        """Every target of the pool, in instance order."""
        return (t for t in map(self.target, self.instances) if t is not None)
