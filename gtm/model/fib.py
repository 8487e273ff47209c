"""The kernel's forwarding table, as far as `gtm fib` keeps a part of it: multipath routes and next-hop objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from gtm.model.address import IPAddress, IPNetwork

WEIGHT_MAX = 256
DAEMONS = {"bird": 12, "bgp": 186, "zebra": 11}  # routing daemons by their protocol's number in rt_protos
METRIC = 10  # BIRD's routes have 32, those of FRR 20


class Hop(NamedTuple):
    """A next hop: a gateway, the number of the link it is on, and its weight (1 to 256)."""

    via: IPAddress
    link: int
    weight: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelRoute:
    """A route of the main table; `group` is the next-hop object that it goes by, if it goes by one."""

    prefix: IPNetwork
    protocol: int
    metric: int
    hops: tuple[Hop, ...]
    group: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resilience:
    """Of a resilient next-hop group: its buckets, and when they may move.

    A bucket that was idle for `idle_s` may go to a member that has too few. With `unbalanced_s` above 0 busy ones go
    too, once the group was unbalanced for so long; 0 is never.
    """

    buckets: int = 128
    idle_s: float = 60.0
    unbalanced_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FibSettings:
    """Routes within `prefixes` that come from one of `protocols` get groups. `metric` is of ours, less than theirs."""

    prefixes: tuple[IPNetwork, ...]
    protocols: frozenset[int] = frozenset(DAEMONS.values())
    metric: int = METRIC
    resilience: Resilience = Resilience()


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A resilient group: its members by the number of their next-hop object, with weights."""

    members: tuple[tuple[int, int], ...]
    resilience: Resilience


@dataclass(frozen=True, slots=True, kw_only=True)
class Fib:
    """What the kernel has: the routes that matter, and next-hop objects of ours by their number."""

    routes: tuple[KernelRoute, ...]
    hops: Mapping[int, Hop]
    groups: Mapping[int, Group]
