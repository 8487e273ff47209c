"""A steering file's pools -> pools."""

from __future__ import annotations

from collections.abc import Iterator

from gtm.config.build.context import Context
from gtm.config.build.regions import unknown_region
from gtm.config.document import Document, Steps
from gtm.config.nearby import did_you_mean, listed
from gtm.config.shape.steering import InstanceShape, PoolShape, SteeringFile
from gtm.model.pool import Instance, Pool

OWN_KEYS = ("check", "threshold")


def build_pools(document: Document, shape: SteeringFile, zone: str, context: Context) -> dict[str, Pool]:
    """The file's pools by their short names."""
    pools = {}
    for name, pool in shape.pools.items():
        _check_references(document, name, pool, context)
        _check_instances(document, name, pool)
        pools[name] = Pool(
            name=f"{zone.removesuffix('.')}/{name}",
            check=pool.check,
            instances=tuple(_instances(pool)),
            threshold=pool.threshold,
        )
    return pools


def check_keys(document: Document, context: Context) -> None:
    """Every key of a pool is one of its own or a region. Before the shapes: a misspelt key is no region's instances."""
    for name in document.known("pools"):
        for key in document.written("pools", name):
            if key in OWN_KEYS or key in context.regions:
                continue
            place: Steps = ("pools", name, key)
            near_key = did_you_mean(key, OWN_KEYS)
            if near_key and not did_you_mean(key, context.regions):
                document.fault(place, f"unknown key{near_key}", listed((*OWN_KEYS, *context.regions)))
                document.cut([place])
            else:
                unknown_region(document, place, key, context.regions)


def by_region(pool: PoolShape) -> dict[str, tuple[InstanceShape, ...]]:
    """A pool's instances by region, in file order."""
    return pool.__pydantic_extra__ or {}


def _instances(pool: PoolShape) -> Iterator[Instance]:
    for region, shapes in by_region(pool).items():
        for shape in shapes:
            yield Instance(
                region=region, a=shape.a, aaaa=shape.aaaa, cname=shape.cname, weight=shape.weight, probe=shape.probe
            )


def _check_references(document: Document, name: str, pool: PoolShape, context: Context) -> None:
    """The check exists, and there is at least one region."""
    if pool.check is not None and pool.check not in context.checks:
        document.fault(
            ("pools", name, "check"),
            f"there is no check {pool.check}{did_you_mean(pool.check, context.checks)}",
            listed(context.checks) or "none: probes/checks.yaml defines no checks",
        )
    if all(key in OWN_KEYS for key in document.written("pools", name)):
        document.fault(("pools", name), "has no instances", "at least one region with instances")


def _check_instances(document: Document, name: str, pool: PoolShape) -> None:
    """Each instance answers something that fits its neighbours, once, and can be checked; somebody has weight."""
    seen: dict[object, str] = {}
    aliases: list[Steps] = []
    hosts = 0
    for region, shapes in by_region(pool).items():
        for position, shape in enumerate(shapes):
            place: Steps = ("pools", name, region, position)
            _check_instance(document, place, pool, shape)
            for answer in (shape.a, shape.aaaa, shape.cname):
                if answer is not None and answer in seen:
                    document.fault(place, f"{answer} is already an instance of {seen[answer]}", "each instance once")
                elif answer is not None:
                    seen[answer] = region
            if shape.cname is not None:
                aliases.append(place)
            elif shape.a is not None or shape.aaaa is not None:
                hosts += 1
    if hosts:
        for place in aliases:
            document.fault(
                place, "a host name in a pool of addresses", "only addresses, or only host names, in one pool"
            )
    weights = [shape.weight for shapes in by_region(pool).values() for shape in shapes]
    if weights and not any(weights) and document.intact("pools", name):
        document.fault(("pools", name), "every weight is 0", "at least one instance with weight above 0")


def _check_instance(document: Document, place: Steps, pool: PoolShape, shape: InstanceShape) -> None:
    addresses = shape.a is not None or shape.aaaa is not None
    if shape.cname is None and not addresses and set(document.written(*place)) <= {"weight", "probe"}:
        document.fault(place, "answers nothing", "a, aaaa, both, or cname")
    if shape.cname is not None and addresses:
        document.fault(place, "has both addresses and cname", "a and aaaa, or cname alone (RFC 1034 3.6.2)")
    if shape.cname is not None and shape.probe is None and pool.check is not None:
        document.fault(
            place, "a host name cannot be checked by itself", "probe: ADDRESS beside it, or a pool without check"
        )
