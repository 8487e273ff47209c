"""compile: a plan becomes rings of ready answers, one for each order of regions that some class of clients has.

Names that steer alike share one set, and a set depends on one pool; so a health change recompiles only the sets of the
pools that it touched, however many names there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from struct import pack
from typing import NamedTuple, assert_never

from gtm.answer.table import SteeredSet
from gtm.decide.choose import RType, Selection, answered, has_type, select
from gtm.decide.choose import ttl_s as ttl_of
from gtm.decide.ring import ring as slots_of
from gtm.decide.steer import order_for
from gtm.model.address import IPAddress
from gtm.model.deployment import Deployment
from gtm.model.name import AllDown, Fallback, SteeredName
from gtm.model.place import Locus
from gtm.model.plan import Plan, PoolPlan
from gtm.model.policy import Policy
from gtm.model.pool import Instance, Pool
from gtm.wire import name as wire_name

Ring = tuple[bytes, ...]
Made = dict[tuple[int, int, int, int], Ring]  # by identity of what was selected, TTL, answers and type
EMPTY: Ring = (b"",)


class Shape(NamedTuple):
    """What the answers of a name depend on, but for its owner: names of equal shape share a set."""

    pool: str
    policy: Policy
    ttl_s: int
    ttl_min_s: int | None
    answers: int
    all_down: AllDown
    rtype: RType


class Orders(NamedTuple):
    """A policy over the classes: the distinct orders of regions, and which of them each class has."""

    distinct: tuple[tuple[str, ...], ...]
    of_class: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What does not change with health: the shape of each set, with its policy's orders.

    `index` maps a lower-case wire owner to {type: number of its set}; `of_pool` lists a pool's sets.
    """

    shapes: tuple[tuple[Shape, Orders], ...]
    index: Mapping[bytes, Mapping[int, int]]
    of_pool: Mapping[str, tuple[int, ...]]


def layout(deployment: Deployment, loci: Sequence[Locus]) -> Layout:
    """The layout of a deployment's steered names over the classes whose representatives are `loci`."""
    orders = {policy: orders_of(policy, deployment, loci) for policy in deployment.policies()}
    numbers: dict[Shape, int] = {}
    shapes: list[tuple[Shape, Orders]] = []
    index: dict[bytes, dict[int, int]] = {}
    of_pool: dict[str, list[int]] = {}
    for name in deployment.names:
        types = index.setdefault(wire_name.parse(name.owner).lower(), {})
        for rtype in types_of(deployment.pools[name.pool], name.all_down):
            shape = Shape(name.pool, name.policy, name.ttl_s, name.ttl_min_s, name.answers, name.all_down, rtype)
            if shape not in numbers:
                numbers[shape] = len(shapes)
                of_pool.setdefault(name.pool, []).append(len(shapes))
                shapes.append((shape, orders[name.policy]))
            types[int(rtype)] = numbers[shape]
    return Layout(
        shapes=tuple(shapes),
        index=index,
        of_pool={pool: tuple(sets) for pool, sets in of_pool.items()},
    )


def types_of(pool: Pool, all_down: AllDown) -> tuple[RType, ...]:
    """The types that a name on this pool has: those of its instances and of its fallback addresses."""
    fallback = all_down.addresses if isinstance(all_down, Fallback) else ()
    versions = {address.version for address in fallback}
    return tuple(
        rtype
        for rtype, version in ((RType.A, 4), (RType.AAAA, 6), (RType.CNAME, None))
        if version in versions or any(has_type(instance, rtype) for instance in pool.instances)
    )


def orders_of(policy: Policy, deployment: Deployment, loci: Sequence[Locus]) -> Orders:
    """A policy's orders over the classes."""
    numbers: dict[tuple[str, ...], int] = {}
    of_class = tuple(numbers.setdefault(order_for(policy, locus, deployment.regions), len(numbers)) for locus in loci)
    return Orders(tuple(numbers), of_class)


def compile_sets(
    plan: Plan, lay: Layout, earlier: Sequence[SteeredSet] | None = None, touched: Iterable[str] = ()
) -> tuple[SteeredSet, ...]:
    """The sets of a plan. With `earlier` (same layout) only those of the `touched` pools are worked out anew."""
    made: Made = {}
    if earlier is None:
        return tuple([compile_set(shape, plan.pools[shape.pool], orders, made) for shape, orders in lay.shapes])
    sets = list(earlier)
    for name in touched:
        pool = plan.pools[name]
        for number in lay.of_pool.get(name, ()):
            shape, orders = lay.shapes[number]
            sets[number] = compile_set(shape, pool, orders, made)
    return tuple(sets)


def compile_set(shape: Shape, pool: PoolPlan, orders: Orders, made: Made) -> SteeredSet:
    """One set: a ring for each distinct order, equal rings being one object.

    `made` has the rings that were made of the same plan before, and gets the new ones.
    """
    _, _, longest_s, least_s, answers, all_down, rtype = shape
    ttl_s = longest_s
    rings = []
    for order in orders.distinct:
        selection = select(all_down, pool, order, rtype)
        region = selection.region
        if least_s is not None:
            ttl_s = ttl_of(selection, pool, order, rtype, longest_s, least_s)
        # All that a selected region answers follows from its plan; that stays while the plan of all does, so its
        # identity is key enough, and is found at once where hashing it would take longer than making the ring.
        key = (id(region or all_down), ttl_s, answers, rtype)
        ring = made.get(key)
        if ring is None:
            ring = made[key] = ring_of(selection, ttl_s, answers, rtype)
        rings.append(ring)
    if len(rings) == 1:
        return SteeredSet(int(rtype), (*rings,), orders.of_class, located=False)
    seen: dict[Ring, Ring] = {}
    same = tuple([seen.setdefault(each, each) for each in rings])
    return SteeredSet(int(rtype), same, orders.of_class, located=len(seen) > 1)


def make_ring(name: SteeredName, pool: PoolPlan, order: tuple[str, ...], rtype: RType) -> Ring:
    """The ready answers for the clients that have this order."""
    selection = select(name.all_down, pool, order, rtype)
    return ring_of(selection, ttl_of(selection, pool, order, rtype, name.ttl_s, name.ttl_min_s), name.answers, rtype)


def ring_of(selection: Selection, ttl_s: int, answers: int, rtype: RType) -> Ring:
    """The ready answers of a selection, one for each slot of the weighted ring."""
    if selection.region is not None:
        instances = answered(selection.region, rtype)
        if len(instances) == 1:
            return (record(rtype, ttl_s, instance_rdata(instances[0], rtype)),)
        weights = tuple([instance.weight for instance in instances])
        rdatas = [instance_rdata(instance, rtype) for instance in instances]
    elif selection.fallback:
        weights = (1,) * len(selection.fallback)
        rdatas = [address.packed for address in selection.fallback]
    else:
        return EMPTY
    records = [record(rtype, ttl_s, rdata) for rdata in rdatas]
    slots = slots_of(weights, 1 if rtype is RType.CNAME else answers)
    return tuple([b"".join([records[position] for position in slot]) for slot in slots])


def instance_rdata(instance: Instance, rtype: RType) -> bytes:
    """An instance as rdata of this type."""
    match rtype:
        case RType.A | RType.AAAA:
            address: IPAddress | None = instance.a if rtype is RType.A else instance.aaaa
            return b"" if address is None else address.packed
        case RType.CNAME:
            return wire_name.parse(instance.cname or ".")
        case _:
            assert_never(rtype)


def record(rtype: int, ttl_s: int, rdata: bytes) -> bytes:
    """One RR in wire form whose owner points to the question's name (RFC 1035 4.1.3, 4.1.4)."""
    return _record_head(rtype, ttl_s, len(rdata)) + rdata


@lru_cache(maxsize=1024)
def _record_head(rtype: int, ttl_s: int, rdata_bytes: int) -> bytes:
    return b"\xc0\x0c" + pack(">HHIH", rtype, 1, ttl_s, rdata_bytes)
