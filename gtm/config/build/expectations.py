"""A steering file's tests -> expectations."""

from __future__ import annotations

from collections.abc import Mapping

from gtm.config import dnsnames
from gtm.config.build.context import Context
from gtm.config.build.regions import unknown_region
from gtm.config.document import Document, Steps
from gtm.config.nearby import did_you_mean, listed
from gtm.config.scalars import Unfit
from gtm.config.shape.steering import ExpectShape, SteeringFile
from gtm.model.expectation import Expectation
from gtm.model.name import SteeredName
from gtm.model.pool import Pool


def build_expectations(
    document: Document,
    shape: SteeringFile,
    zone: str,
    names: tuple[SteeredName, ...],
    pools: Mapping[str, Pool],
    context: Context,
) -> tuple[Expectation, ...]:
    """The file's tests; `pools` by full name."""
    owners = {name.owner: name for name in names}
    written = _written_owners(document, zone)
    made = []
    for position, expect in enumerate(shape.expect):
        place = ("expect", position)
        owner = _owner(document, place, expect.ask[0], zone, written)
        _check_outcome(document, place, expect)
        _check_regions(document, place, expect, context)
        steered = None if owner is None else _steering(owner, owners)
        if steered is not None:
            _check_pool(document, place, expect, pools[steered.pool], context)
        if owner is not None:
            made.append(
                Expectation(
                    owner=owner,
                    rtype=expect.ask[1],
                    client=expect.from_,
                    region=expect.region,
                    down=expect.down,
                    file=document.file,
                    line=document.line(place),
                )
            )
    return tuple(made)


def _written_owners(document: Document, zone: str) -> dict[str, str]:
    """What names are written, sound or not: absolute owner -> the key in the file."""
    owners = {}
    for key in document.written("names"):
        try:
            owners[dnsnames.owner(key, zone)] = key
        except Unfit:
            continue
    return owners


def _owner(document: Document, place: Steps, asked: str, zone: str, written: Mapping[str, str]) -> str | None:
    """The absolute owner that is asked for, if this file steers it (RFC 4592 wildcards included)."""
    try:
        owner = dnsnames.owner(asked, zone)
    except Unfit as unfit:
        document.fault((*place, "ask"), unfit.message, unfit.allowed)
        return None
    if document.known("names").complete and not any(each in written for each in _covering(owner)):
        hint = did_you_mean(asked, written.values())
        document.fault(
            (*place, "ask"), f"{asked} is not steered here{hint}", listed(written.values()) or "names of this file"
        )
        return None
    return owner


def _covering(owner: str) -> list[str]:
    """The owner, and the wildcards that may stand for it, nearest first."""
    labels = owner.split(".")
    return [owner, *(".".join(("*", *labels[first:])) for first in range(1, len(labels) - 1))]


def _steering(owner: str, owners: Mapping[str, SteeredName]) -> SteeredName | None:
    return next((owners[each] for each in _covering(owner) if each in owners), None)


def _check_outcome(document: Document, place: Steps, expect: ExpectShape) -> None:
    if set(document.written(*place)) <= {"ask", "from", "down"}:
        document.fault(place, "expects nothing", "region: REGION, or nodata: true")
    if expect.region is not None and expect.nodata is not None:
        document.fault(place, "expects both a region and no data", "region: REGION, or nodata: true")


def _check_regions(document: Document, place: Steps, expect: ExpectShape, context: Context) -> None:
    if expect.region is not None and expect.region not in context.regions:
        unknown_region(document, (*place, "region"), expect.region, context.regions)
    for position, name in enumerate(expect.down):
        if name not in context.regions:
            unknown_region(document, (*place, "down", position), name, context.regions)
        elif name in expect.down[:position]:
            document.fault((*place, "down", position), f"{name} is listed twice", "each region once")


def _check_pool(document: Document, place: Steps, expect: ExpectShape, pool: Pool, context: Context) -> None:
    """A pool that has no instances in a region can never be answered from there."""
    regions = tuple(dict.fromkeys(instance.region for instance in pool.instances))
    if expect.region is None or expect.region not in context.regions or expect.region in regions:
        return
    if document.intact("pools", pool.name.rpartition("/")[2]):
        message = f"pool {pool.name} has no instances in {expect.region}"
        document.fault((*place, "region"), message, listed(regions))
