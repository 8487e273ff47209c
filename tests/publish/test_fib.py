"""What `gtm fib` changes, on a kernel that is a few mappings: one pass is enough, and each step of it can be made."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import assert_never

from hypothesis import given
from hypothesis import strategies as st

from gtm.model.address import IPNetwork
from gtm.model.fib import DAEMONS, WEIGHT_MAX, Fib, FibSettings, Group, Hop, KernelRoute, Resilience
from gtm.publish.fib.changes import (
    PROTOCOL,
    Change,
    Drop,
    DropRoute,
    PutGroup,
    PutHop,
    PutRoute,
    changes,
    outranking,
    scaled,
    undone,
)

PREFIXES = tuple(map(ip_network, ("203.0.113.0/24", "198.18.0.0/24", "2001:db8:61::/48")))
HOPS = st.builds(
    Hop, st.integers(1, 5).map(lambda number: ip_address(f"10.0.0.{number}")), st.integers(2, 3), st.integers(1, 256)
)
ROUTES = st.lists(
    st.builds(
        KernelRoute,
        prefix=st.sampled_from((*PREFIXES, ip_network("192.0.2.0/24"))),
        protocol=st.sampled_from((*DAEMONS.values(), 4)),
        metric=st.sampled_from((5, 20, 32)),
        hops=st.lists(HOPS, max_size=4, unique_by=lambda hop: hop[:2]).map(tuple),
    ),
    max_size=6,
    unique_by=lambda route: (route.prefix, route.metric),
)
SETTINGS = st.builds(
    FibSettings,
    prefixes=st.just(PREFIXES),
    metric=st.sampled_from((10, 20)),
    resilience=st.builds(Resilience, buckets=st.sampled_from((64, 128)), idle_s=st.sampled_from((1.0, 60.0))),
)


@dataclass
class Kernel:
    """Refuses what the kernel refuses."""

    routes: dict[tuple[IPNetwork, int], KernelRoute] = field(default_factory=dict)
    hops: dict[int, Hop] = field(default_factory=dict)
    groups: dict[int, Group] = field(default_factory=dict)

    def fib(self) -> Fib:
        return Fib(routes=tuple(self.routes.values()), hops=dict(self.hops), groups=dict(self.groups))

    def daemon(self, routes: list[KernelRoute]) -> None:
        """The daemon's table is another one now; what is at its place stays, as adding is refused there."""
        self.routes = {at: route for at, route in self.routes.items() if route.protocol == PROTOCOL}
        for route in routes:
            self.routes.setdefault((route.prefix, route.metric), route)

    def apply(self, change: Change) -> None:
        match change:
            case PutHop():
                self.hops[change.number] = change.hop
            case PutGroup():
                assert {number for number, _ in change.group.members} <= self.hops.keys()
                old = self.groups.get(change.number)
                assert old is None or old.resilience.buckets == change.group.resilience.buckets
                self.groups[change.number] = change.group
            case PutRoute():
                at = (change.prefix, change.metric)
                assert change.group in self.groups
                assert change.replaces == (at in self.routes)
                assert not change.replaces or self.routes[at].protocol == PROTOCOL
                self.routes[at] = KernelRoute(
                    prefix=change.prefix, protocol=PROTOCOL, metric=change.metric, hops=(), group=change.group
                )
            case DropRoute():
                assert self.routes.pop((change.prefix, change.metric)).protocol == PROTOCOL
            case Drop():
                used = {number for group in self.groups.values() for number, _ in group.members}
                assert change.number not in {*used, *(route.group for route in self.routes.values())}
                self.groups.pop(change.number, None)
                self.hops.pop(change.number, None)
            case _:
                assert_never(change)


def free_of_others(routes: list[KernelRoute], settings: FibSettings) -> list[KernelRoute]:
    """Without those at our own place, which the kernel refuses us."""
    return [route for route in routes if route.metric != settings.metric]


@given(st.lists(st.tuples(ROUTES, SETTINGS), min_size=1, max_size=5))
def test_one_pass_is_enough_whatever_was_there(steps: list[tuple[list[KernelRoute], FibSettings]]) -> None:
    kernel = Kernel()
    for routes, settings in steps:
        for change in undone(kernel.fib()) if any(route.metric == settings.metric for route in routes) else ():
            kernel.apply(change)
        kernel.daemon(free_of_others(routes, settings))
        for change in changes(kernel.fib(), settings):
            kernel.apply(change)
        assert changes(kernel.fib(), settings) == ()
        ours = {route.prefix: route for route in kernel.routes.values() if route.protocol == PROTOCOL}
        skipped = {route.prefix for route in outranking(kernel.fib().routes, settings)}
        theirs = {
            route.prefix: sorted(hop[:2] for hop in route.hops)
            for route in sorted(kernel.routes.values(), key=lambda one: -one.metric)
            if route.protocol in settings.protocols and route.hops and route.prefix in PREFIXES
        }
        assert ours.keys() == theirs.keys() - skipped
        for prefix, route in ours.items():
            assert route.group is not None
            group = kernel.groups[route.group]
            assert sorted(kernel.hops[number][:2] for number, _ in group.members) == theirs[prefix]
            assert group.resilience == settings.resilience
    for change in undone(kernel.fib()):
        kernel.apply(change)
    assert not kernel.hops
    assert not kernel.groups
    assert all(route.protocol != PROTOCOL for route in kernel.routes.values())


def test_a_route_waits_for_its_first_group_but_not_for_later_ones() -> None:
    settings = FibSettings(prefixes=PREFIXES)
    hops = tuple(Hop(ip_address(f"10.0.0.{number}"), number) for number in (2, 3, 4))
    kernel = Kernel()

    def daemon(*routes: tuple[IPNetwork, tuple[Hop, ...]]) -> None:
        made = [KernelRoute(prefix=prefix, protocol=12, metric=32, hops=some) for prefix, some in routes]
        kernel.daemon(made)

    def follow(*, fresh: bool) -> list[type]:
        made = changes(kernel.fib(), settings, fresh=fresh)
        for change in made:
            kernel.apply(change)
        return [type(change) for change in made]

    daemon((PREFIXES[0], hops[:1]))
    assert follow(fresh=False) == []
    daemon((PREFIXES[0], hops))
    assert follow(fresh=True) == [PutHop, PutHop, PutHop, PutGroup, PutRoute]
    daemon((PREFIXES[0], hops[1:]), (PREFIXES[1], hops[:1]))
    assert follow(fresh=False) == [PutGroup, Drop]
    daemon((PREFIXES[1], hops[:1]))
    assert follow(fresh=False) == [DropRoute, Drop, Drop, Drop]
    assert follow(fresh=True) == [PutHop, PutGroup, PutRoute]


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=8))
def test_weights_keep_their_proportions(weights: list[int]) -> None:
    made = scaled(tuple(Hop(ip_address("10.0.0.1"), 2, weight) for weight in weights))
    assert all(1 <= weight <= WEIGHT_MAX for weight in made)
    assert [one <= other for one in made for other in made] == [
        one <= other or mine == theirs
        for one, mine in zip(weights, made, strict=True)
        for other, theirs in zip(weights, made, strict=True)
    ]
