"""compile: a plan becomes rings of ready answers, one for each order of regions that some class of clients has.

Names that steer alike share one set, and a set depends on one pool; so a health change recompiles only the sets of the
pools that it touched, however many names there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from struct import pack
from typing import NamedTuple, assert_never

from gtm.answer.table import SteeredSet
from gtm.decide.choose import RType, choose, has_type
from gtm.decide.ring import ring
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
EMPTY: Ring = (b"",)


class Shape(NamedTuple):
    """What the answers of a name depend on, but for its owner: names of equal shape share a set."""

    pool: str
    policy: Policy
    ttl_s: int
    answers: int
    all_down: AllDown
    rtype: RType


class Orders(NamedTuple):
    """A policy over the classes: the distinct orders of regions, and which of them each class has."""

    distinct: tuple[tuple[str, ...], ...]
    of_class: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What does not change with health: the shapes, the names that have them, and every policy's orders.

    `index` maps a lower-case wire owner to {type: number of its set}; `of_pool` lists a pool's sets.
    """

    shapes: tuple[tuple[Shape, SteeredName], ...]
    index: Mapping[bytes, Mapping[int, int]]
    of_pool: Mapping[str, tuple[int, ...]]
    orders: Mapping[Policy, Orders]


def layout(deployment: Deployment, loci: Sequence[Locus]) -> Layout:
    """The layout of a deployment's steered names over the classes whose representatives are `loci`."""
    numbers: dict[Shape, int] = {}
    shapes: list[tuple[Shape, SteeredName]] = []
    index: dict[bytes, dict[int, int]] = {}
    of_pool: dict[str, list[int]] = {}
    for name in deployment.names:
        types = index.setdefault(wire_name.parse(name.owner).lower(), {})
        for rtype in types_of(deployment.pools[name.pool], name.all_down):
            shape = Shape(name.pool, name.policy, name.ttl_s, name.answers, name.all_down, rtype)
            if shape not in numbers:
                numbers[shape] = len(shapes)
                of_pool.setdefault(name.pool, []).append(len(shapes))
                shapes.append((shape, name))
            types[int(rtype)] = numbers[shape]
    return Layout(
        shapes=tuple(shapes),
        index=index,
        of_pool={pool: tuple(sets) for pool, sets in of_pool.items()},
        orders={policy: orders_of(policy, deployment, loci) for policy in deployment.policies()},
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
    if earlier is None:
        return tuple(
            compile_set(shape, name, plan.pools[shape.pool], lay.orders[shape.policy]) for shape, name in lay.shapes
        )
    sets = list(earlier)
    for pool in touched:
        for number in lay.of_pool.get(pool, ()):
            shape, name = lay.shapes[number]
            sets[number] = compile_set(shape, name, plan.pools[pool], lay.orders[shape.policy])
    return tuple(sets)


def compile_set(shape: Shape, name: SteeredName, pool: PoolPlan, orders: Orders) -> SteeredSet:
    """One set: a ring for each distinct order, equal rings being one object."""
    seen: dict[Ring, Ring] = {}
    rings = tuple(
        seen.setdefault(made, made) for made in (make_ring(name, pool, order, shape.rtype) for order in orders.distinct)
    )
    return SteeredSet(rtype=int(shape.rtype), rings=rings, orders=orders.of_class, located=len(seen) > 1)


def make_ring(name: SteeredName, pool: PoolPlan, order: tuple[str, ...], rtype: RType) -> Ring:
    """The ready answers for the clients that have this order."""
    choice = choose(name, pool, order, rtype)
    if choice.instances:
        weights = tuple(instance.weight for instance in choice.instances)
        rdatas = [instance_rdata(instance, rtype) for instance in choice.instances]
    elif choice.fallback:
        weights = (1,) * len(choice.fallback)
        rdatas = [address.packed for address in choice.fallback]
    else:
        return EMPTY
    records = [record(rtype, name.ttl_s, rdata) for rdata in rdatas]
    answers = 1 if rtype is RType.CNAME else name.answers
    return tuple(b"".join([records[position] for position in slot]) for slot in ring(weights, answers))


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
    return b"\xc0\x0c" + pack(">HHIH", rtype, 1, ttl_s, len(rdata)) + rdata
