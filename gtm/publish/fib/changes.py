"""What has to change so that each multipath route of a routing daemon has a resilient one that is preferred."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import gcd

from gtm.model.address import IPAddress, IPNetwork
from gtm.model.fib import WEIGHT_MAX, Fib, FibSettings, Group, Hop, KernelRoute

PROTOCOL = 103  # of routes and next-hop objects that are ours; nobody's in rt_protos
# The numbers of our next-hop objects; FRR's are small, BIRD has none.
HOPS, GROUPS = range(0x6710_0000, 0x6718_0000), range(0x6718_0000, 0x6720_0000)


@dataclass(frozen=True, slots=True, kw_only=True)
class PutHop:
    """Make a next-hop object."""

    number: int
    hop: Hop


@dataclass(frozen=True, slots=True, kw_only=True)
class PutGroup:
    """Make or replace a group; flows of members that stay stay with them."""

    number: int
    group: Group


@dataclass(frozen=True, slots=True, kw_only=True)
class PutRoute:
    """Make our route, or replace it where it is there: never another's, which may have the same metric."""

    prefix: IPNetwork
    metric: int
    group: int
    replaces: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DropRoute:
    """Remove our route; the daemon's is there, or none should be."""

    prefix: IPNetwork
    metric: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Remove a group or a next-hop object that nothing needs."""

    number: int


Change = PutHop | PutGroup | PutRoute | DropRoute | Drop


def changes(fib: Fib, settings: FibSettings, *, fresh: bool = True) -> tuple[Change, ...]:
    """The changes, in an order in which each can be made and no packet is lost on the way; none where all is as wanted.

    A route that goes away leaves the daemon's, if there is one: that is how the end of `gtm fib` is undone, too.

    Without `fresh` only routes that have groups are kept in step: those of a daemon that has just started come one hop
    after the other, and a group made of the first hop would give it all flows, which then stay where they are.
    """
    ours = [route for route in fib.routes if route.protocol == PROTOCOL]
    wanted = {route.prefix: route for route in leading(fib.routes, settings) if route.metric > settings.metric}
    if not fresh:
        known = {route.prefix for route in ours}
        wanted = {prefix: route for prefix, route in wanted.items() if prefix in known}
    numbers = _numbered(fib.hops, wanted.values())
    groups = _grouped(fib, ours, wanted, settings)
    made: dict[int, Group] = {}
    routes: list[Change] = []
    standing = {(route.prefix, route.metric): route for route in ours}
    for prefix, route in wanted.items():
        number = groups[prefix]
        weights = scaled(route.hops)
        members = tuple(sorted((numbers[_at(hop)], weight) for hop, weight in zip(route.hops, weights, strict=True)))
        made[number] = Group(members=members, resilience=settings.resilience)
        found = standing.pop((prefix, settings.metric), None)
        if found is None or found.group != number:
            routes.append(PutRoute(prefix=prefix, metric=settings.metric, group=number, replaces=found is not None))
    used = {number for group in made.values() for number, _ in group.members}
    hops = {number: Hop(*at) for at, number in numbers.items() if number in used}
    return (
        *(PutHop(number=number, hop=hop) for number, hop in hops.items() if fib.hops.get(number) != hop),
        *(PutGroup(number=number, group=group) for number, group in made.items() if fib.groups.get(number) != group),
        *routes,
        *(DropRoute(prefix=prefix, metric=metric) for prefix, metric in standing),
        *(Drop(number=number) for number in fib.groups if number not in made),
        *(Drop(number=number) for number in fib.hops if number not in used),
    )


def undone(fib: Fib) -> tuple[Change, ...]:
    """The changes that remove all that is ours: packets go by the daemon's routes again."""
    return (
        *(DropRoute(prefix=one.prefix, metric=one.metric) for one in fib.routes if one.protocol == PROTOCOL),
        *(Drop(number=number) for number in (*fib.groups, *fib.hops)),
    )


def leading(routes: Iterable[KernelRoute], settings: FibSettings) -> Iterator[KernelRoute]:
    """The daemons' routes that get groups: of each prefix the one with the least metric."""
    best: dict[IPNetwork, KernelRoute] = {}
    for route in routes:
        if route.protocol not in settings.protocols or not route.hops or not within(route.prefix, settings.prefixes):
            continue
        if route.prefix not in best or route.metric < best[route.prefix].metric:
            best[route.prefix] = route
    return iter(best.values())


def outranking(routes: Iterable[KernelRoute], settings: FibSettings) -> tuple[KernelRoute, ...]:
    """The daemons' routes that get no group, as packets would go by them all the same: ours have no smaller metric."""
    return tuple(route for route in leading(routes, settings) if route.metric <= settings.metric)


def within(prefix: IPNetwork, prefixes: Iterable[IPNetwork]) -> bool:
    """Whether a prefix is one of some, or inside one."""
    return any(
        prefix.version == one.version and prefix.prefixlen >= one.prefixlen and prefix.network_address in one
        for one in prefixes
    )


def scaled(hops: tuple[Hop, ...]) -> tuple[int, ...]:
    """Weights in the smallest whole numbers, at most WEIGHT_MAX, so that equal ones need no large group."""
    divisor = gcd(*(hop.weight for hop in hops))
    weights = [hop.weight // divisor for hop in hops]
    most = max(weights)
    return tuple(weights if most <= WEIGHT_MAX else (max(1, round(one * WEIGHT_MAX / most)) for one in weights))


def _at(hop: Hop) -> tuple[IPAddress, int]:
    return hop.via, hop.link


def _numbered(hops: Mapping[int, Hop], routes: Iterable[KernelRoute]) -> dict[tuple[IPAddress, int], int]:
    """The number of each gateway's object: the one that it has, or the first that is free."""
    numbers = {_at(hop): number for number, hop in hops.items()}
    free = (number for number in HOPS if number not in hops)
    for route in routes:
        for hop in route.hops:
            if _at(hop) not in numbers:
                numbers[_at(hop)] = next(free)
    return numbers


def _grouped(
    fib: Fib, ours: Iterable[KernelRoute], wanted: Iterable[IPNetwork], settings: FibSettings
) -> dict[IPNetwork, int]:
    """The number of each prefix's group: the one that its route goes by, or the first that is free.

    Another number of buckets takes another group: the kernel does not change that of one.
    """
    buckets = settings.resilience.buckets
    sized = {number for number, group in fib.groups.items() if group.resilience.buckets == buckets}
    groups = {route.prefix: route.group for route in ours if route.group in sized}
    taken = {*fib.groups, *groups.values()}
    free = (number for number in GROUPS if number not in taken)
    return {prefix: groups.get(prefix) or next(free) for prefix in wanted}
