"""A steering file's names -> steered names."""

from __future__ import annotations

from collections.abc import Mapping

from gtm.config import dnsnames
from gtm.config.build.context import Context
from gtm.config.build.policies import build_policy
from gtm.config.document import Document, Steps
from gtm.config.nearby import did_you_mean, listed
from gtm.config.scalars import Unfit
from gtm.config.shape.steering import NameShape, SteeringFile
from gtm.model.address import IPAddress
from gtm.model.name import AllDown, Fallback, LastGood, NoData, ServeAll, SteeredName
from gtm.model.pool import Pool


def build_names(
    document: Document, shape: SteeringFile, zone: str, pools: Mapping[str, Pool], context: Context
) -> tuple[SteeredName, ...]:
    """The file's steered names; `pools` are the file's sound pools by short name."""
    names: dict[str, tuple[str, SteeredName]] = {}
    for key, name in shape.names.items():
        place = ("names", key)
        owner = _owner(document, place, key, zone, context)
        pool = _pool(document, place, name, pools)
        ttl_min_s, ttl_s = name.ttl if isinstance(name.ttl, tuple) else (None, name.ttl)
        policy = build_policy(document, (*place, "steer"), name.steer, pool, context)
        if pool is not None and owner is not None:
            _check_answers(document, place, name, owner, zone, pool)
        if owner in names:
            line = document.line(("names", names[owner][0]))
            document.fault(place, f"{owner} is already on line {line}", "each name once")
        elif owner is not None and pool is not None:
            names[owner] = (
                key,
                SteeredName(
                    owner=owner,
                    zone=zone,
                    pool=pool.name,
                    policy=policy,
                    ttl_s=ttl_s,
                    ttl_min_s=ttl_min_s,
                    answers=name.answers,
                    all_down=_all_down(name.all_down),
                    line=document.line(place),
                ),
            )
    return tuple(name for _, name in names.values())


def _owner(document: Document, place: Steps, key: str, zone: str, context: Context) -> str | None:
    """The absolute owner, if it is one of this zone and of no zone below it."""
    try:
        owner = dnsnames.owner(key, zone)
    except Unfit as unfit:
        document.fault(place, unfit.message, unfit.allowed)
        return None
    labels = owner.split(".")
    for first in range(len(labels) - 1):
        nearest = ".".join(labels[first:])
        if nearest == zone:
            break
        if nearest in context.zones:
            document.fault(place, f"{owner} belongs to the zone {nearest}", f"zones/{nearest}yaml")
            return None
    return owner


def _pool(document: Document, place: Steps, name: NameShape, pools: Mapping[str, Pool]) -> Pool | None:
    """The name's pool, if it is sound; a fault if it is not written at all."""
    known = document.known("pools")
    if name.pool not in known:
        hint = did_you_mean(name.pool, known)
        document.fault((*place, "pool"), f"there is no pool {name.pool}{hint}", listed(known) or "none in this file")
    return pools.get(name.pool)


def _check_answers(document: Document, place: Steps, name: NameShape, owner: str, zone: str, pool: Pool) -> None:
    """What the name answers fits its pool: host names, address families, how many."""
    fallback: tuple[IPAddress, ...] = name.all_down if isinstance(name.all_down, tuple) else ()
    if any(instance.cname for instance in pool.instances):
        _check_alias(document, place, name, owner, zone, pool)
        if fallback:
            document.fault(
                (*place, "all_down"), "addresses for a name that answers host names", "serve_all, last_good, nodata"
            )
        return
    versions = {4 for each in pool.instances if each.a} | {6 for each in pool.instances if each.aaaa}
    if fallback and versions and not any(address.version in versions for address in fallback):
        family = " or ".join(f"IPv{version}" for version in sorted(versions))
        document.fault((*place, "all_down"), "no address of a kind that the pool answers", f"{family} addresses")


def _check_alias(document: Document, place: Steps, name: NameShape, owner: str, zone: str, pool: Pool) -> None:
    if owner == zone:
        document.fault(
            (*place, "pool"), "host names (CNAME) cannot stand at the apex (RFC 1034 3.6.2)", "a pool of addresses"
        )
    if name.answers > 1:
        document.fault(
            (*place, "answers"), "a name has one CNAME at most (RFC 2181 10.1)", "1 for a pool of host names"
        )
    if any(instance.cname == owner for instance in pool.instances):
        document.fault((*place, "pool"), f"{owner} would be a CNAME to itself", "host names other than the name itself")


def _all_down(written: object) -> AllDown:
    match written:
        case tuple():
            return Fallback(addresses=written)
        case "last_good":
            return LastGood()
        case "nodata":
            return NoData()
        case _:
            return ServeAll()
