"""Choosing: from an order of regions and a pool's plan to the region and the instances that are answered.

The compiler calls `select`; `gtm explain` calls `choose`, which is `select` with the steps put into words. So an
explanation cannot differ from the answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, assert_never

from gtm.model.address import IPAddress
from gtm.model.name import AllDown, Fallback, LastGood, NoData, ServeAll, SteeredName
from gtm.model.plan import PoolPlan, RegionPlan
from gtm.model.pool import Instance

AVAILABLE = "available"


class RType(IntEnum):
    """The record types that can be steered."""

    A = 1
    CNAME = 5
    AAAA = 28


@dataclass(frozen=True, slots=True, kw_only=True)
class Considered:
    """A region that was looked at, whether it was taken, and why or why not."""

    region: str
    taken: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is answered: a region's instances, or fallback addresses, or nothing; `rule` says which case applied."""

    region: str | None
    instances: tuple[Instance, ...]
    fallback: tuple[IPAddress, ...]
    rule: str
    considered: tuple[Considered, ...]


class Selection(NamedTuple):
    """A region (`answered` gives its instances), or fallback addresses, or nothing; and by which rule."""

    region: RegionPlan | None
    fallback: tuple[IPAddress, ...]
    rule: str


def has_type(instance: Instance, rtype: RType) -> bool:
    """Whether an instance can be answered as this type."""
    match rtype:
        case RType.A:
            return instance.a is not None
        case RType.AAAA:
            return instance.aaaa is not None
        case RType.CNAME:
            return instance.cname is not None
        case _:
            assert_never(rtype)


def choose(name: SteeredName, pool: PoolPlan, order: tuple[str, ...], rtype: RType) -> Choice:
    """The selection for a name, with every region that was considered and why it was taken or not."""
    region, fallback, rule = select(name.all_down, pool, order, rtype)
    return Choice(
        region=None if region is None else region.region,
        instances=() if region is None else answered(region, rtype),
        fallback=fallback,
        rule=rule,
        considered=_considered(pool.regions, order, rtype, region if rule == AVAILABLE else None),
    )


def select(all_down: AllDown, pool: PoolPlan, order: tuple[str, ...], rtype: RType) -> Selection:
    """The first region of the order that is available and has this type, else what the all_down rule says."""
    region = _first(pool.regions, order, rtype)
    return _all_down(all_down, pool, order, rtype) if region is None else Selection(region, (), AVAILABLE)


def ttl_s(
    selection: Selection, pool: PoolPlan, order: tuple[str, ...], rtype: RType, longest_s: int, least_s: int | None
) -> int:
    """The TTL of a selection's answers: `longest_s`, or with `least_s` the time until another may be selected.

    Within the two it is the time until an instance may change in the selected region, or in one before it that could
    answer; where nothing is available it is the least.
    """
    if least_s is None:
        return longest_s
    if selection.region is None or selection.rule != AVAILABLE:
        return least_s
    soonest_s = longest_s
    for region in weighed(selection.region, pool, order, rtype):
        if region.flip_s is not None and region.flip_s < soonest_s:
            soonest_s = region.flip_s
    return max(least_s, soonest_s)


def weighed(taken: RegionPlan, pool: PoolPlan, order: tuple[str, ...], rtype: RType) -> Iterator[RegionPlan]:
    """The regions whose change could change what is selected: those before the one that is taken, and that one."""
    for name in order:
        region = pool.regions.get(name)
        if region is taken:
            yield region
            return
        if region is not None and _typed(region, rtype):
            yield region


def answered(region: RegionPlan, rtype: RType) -> tuple[Instance, ...]:
    """The instances of a selected region that are answered: of one that can answer those available, else all."""
    if answers(region, rtype):
        return tuple([one.instance for one in region.instances if one.available and has_type(one.instance, rtype)])
    return _typed(region, rtype)


def answers(region: RegionPlan, rtype: RType) -> bool:
    """Whether a region can answer this type: it is available, and so is an instance that has it."""
    if region.available:
        for one in region.instances:
            if one.available and has_type(one.instance, rtype):
                return True
    return False


def _all_down(rule: AllDown, pool: PoolPlan, order: tuple[str, ...], rtype: RType) -> Selection:
    match rule:
        case NoData():
            return Selection(None, (), "all_down: nodata")
        case Fallback(addresses=addresses):
            version = {RType.A: 4, RType.AAAA: 6}.get(rtype)
            return Selection(None, tuple(each for each in addresses if each.version == version), "all_down: fallback")
        case LastGood():
            region = None if pool.last_good is None else _first(pool.last_good, order, rtype)
            if region is not None:
                return Selection(region, (), "all_down: last_good")
            return _serve_all(pool, order, rtype, "all_down: last_good (none known): serve_all")
        case ServeAll():
            return _serve_all(pool, order, rtype, "all_down: serve_all")
        case _:
            assert_never(rule)


def _serve_all(pool: PoolPlan, order: tuple[str, ...], rtype: RType, rule: str) -> Selection:
    """The first region of the order that has instances of this type, as though they were up."""
    for name in order:
        region = pool.regions.get(name)
        if region is not None and _typed(region, rtype):
            return Selection(region, (), rule)
    return Selection(None, (), f"{rule}: no instance")


def _first(regions: Mapping[str, RegionPlan], order: tuple[str, ...], rtype: RType) -> RegionPlan | None:
    for name in order:
        region = regions.get(name)
        if region is not None and answers(region, rtype):
            return region
    return None


def _typed(region: RegionPlan, rtype: RType) -> tuple[Instance, ...]:
    return tuple(i.instance for i in region.instances if i.instance.weight > 0 and has_type(i.instance, rtype))


def _considered(
    regions: Mapping[str, RegionPlan], order: tuple[str, ...], rtype: RType, taken: RegionPlan | None
) -> tuple[Considered, ...]:
    """The regions up to the one that was taken."""
    considered: list[Considered] = []
    for name in order:
        region = regions.get(name)
        if region is not None and region is taken:
            return (*considered, Considered(region=name, taken=True, reason=f"up: {region.reason}"))
        considered.append(Considered(region=name, taken=False, reason=_refusal(region, rtype)))
    return tuple(considered)


def _refusal(region: RegionPlan | None, rtype: RType) -> str:
    """Why a region cannot answer."""
    if region is None:
        return "the pool has no instance there"
    if not region.available:
        return f"down: {region.reason}"
    if not _typed(region, rtype):
        return f"no instance with {rtype.name}"
    return f"no healthy instance with {rtype.name}"
