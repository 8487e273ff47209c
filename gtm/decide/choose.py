"""Choosing: from an order of regions and a pool's plan to the region and the instances that are answered.

The compiler and `gtm explain` both call `choose`, so an explanation cannot differ from the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import assert_never

from gtm.model.address import IPAddress
from gtm.model.name import AllDown, Fallback, LastGood, NoData, ServeAll, SteeredName
from gtm.model.plan import PoolPlan, RegionPlan
from gtm.model.pool import Instance


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
    """The first region of the order that is available and has this type, else what the name's all_down rule says."""
    considered, region = _first(pool.regions, order, rtype)
    if region is not None:
        return _answer(region, _available(region, rtype), "available", considered)
    return _all_down(name.all_down, pool, order, rtype, considered)


def _all_down(
    rule: AllDown, pool: PoolPlan, order: tuple[str, ...], rtype: RType, considered: tuple[Considered, ...]
) -> Choice:
    match rule:
        case NoData():
            return Choice(region=None, instances=(), fallback=(), rule="all_down: nodata", considered=considered)
        case Fallback(addresses=addresses):
            version = {RType.A: 4, RType.AAAA: 6}.get(rtype)
            usable = tuple(address for address in addresses if address.version == version)
            return Choice(region=None, instances=(), fallback=usable, rule="all_down: fallback", considered=considered)
        case LastGood() if pool.last_good is not None:
            _, region = _first(pool.last_good, order, rtype)
            if region is not None:
                return _answer(region, _available(region, rtype), "all_down: last_good", considered)
            return _serve_all(pool, order, rtype, "all_down: last_good (none known): serve_all", considered)
        case LastGood():
            return _serve_all(pool, order, rtype, "all_down: last_good (none known): serve_all", considered)
        case ServeAll():
            return _serve_all(pool, order, rtype, "all_down: serve_all", considered)
        case _:
            assert_never(rule)


def _serve_all(
    pool: PoolPlan, order: tuple[str, ...], rtype: RType, rule: str, considered: tuple[Considered, ...]
) -> Choice:
    """The first region of the order that has instances of this type, as though they were up."""
    for name in order:
        region = pool.regions.get(name)
        instances = () if region is None else _typed(region, rtype)
        if region is not None and instances:
            return _answer(region, instances, rule, considered)
    return Choice(region=None, instances=(), fallback=(), rule=f"{rule}: no instance", considered=considered)


def _first(
    regions: Mapping[str, RegionPlan], order: tuple[str, ...], rtype: RType
) -> tuple[tuple[Considered, ...], RegionPlan | None]:
    considered = []
    for name in order:
        region = regions.get(name)
        verdict = _verdict(region, rtype)
        considered.append(Considered(region=name, taken=verdict is None, reason=verdict or _reason(region)))
        if verdict is None:
            return tuple(considered), region
    return tuple(considered), None


def _verdict(region: RegionPlan | None, rtype: RType) -> str | None:
    """Why a region cannot answer, or None if it can."""
    if region is None:
        return "the pool has no instance there"
    if not region.available:
        return f"down: {region.reason}"
    if not _typed(region, rtype):
        return f"no instance with {rtype.name}"
    return None if _available(region, rtype) else f"no healthy instance with {rtype.name}"


def _reason(region: RegionPlan | None) -> str:
    return "" if region is None else f"up: {region.reason}"


def _typed(region: RegionPlan, rtype: RType) -> tuple[Instance, ...]:
    return tuple(i.instance for i in region.instances if i.instance.weight > 0 and has_type(i.instance, rtype))


def _available(region: RegionPlan, rtype: RType) -> tuple[Instance, ...]:
    return tuple(i.instance for i in region.instances if i.available and has_type(i.instance, rtype))


def _answer(
    region: RegionPlan, instances: tuple[Instance, ...], rule: str, considered: tuple[Considered, ...]
) -> Choice:
    return Choice(region=region.region, instances=instances, fallback=(), rule=rule, considered=considered)
