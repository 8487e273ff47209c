"""probes/rtt.yaml: which round-trip times are measured, and when they decide."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from gtm.config.scalars import Unfit, address, shown, unicast
from gtm.config.scalars import share as portion
from gtm.config.shape.base import OneOrList, OrText, Read, Shape
from gtm.config.shape.durations import DURATION_SCHEMA, between
from gtm.config.shape.node import Path
from gtm.config.shape.regions import SHARE_SCHEMA
from gtm.model.rtt import RttSettings

DAY_S = 86_400.0
INTERVAL_MIN_S, INTERVAL_MAX_S = 1.0, 3600.0
TIMEOUT_MIN_S = 0.1
TARGETS_MAX, FILES_MAX, PLACES_MAX = 50_000, 64, 10_000
NETWORKS_MAX = 100_000
BAND_MAX_S = 10.0
DEFAULT = RttSettings()


_interval = between(INTERVAL_MIN_S, INTERVAL_MAX_S)
_timeout = between(TIMEOUT_MIN_S, INTERVAL_MAX_S)
_half_life = _dwell = between(0.0, 7 * DAY_S)
_age_max = between(60.0, 10 * DAY_S)
_least = between(0.0, BAND_MAX_S)


def _of_address(value: object) -> object:
    """The mapping that a target written as an address means."""
    if not isinstance(value, str):
        return value
    unicast(value)
    return {"address": value}


def _of_path(value: object) -> object:
    """The mapping that a file written as its path means."""
    return {"path": value} if isinstance(value, str) else value


def _places(value: object) -> dict[Any, str]:
    allowed = "a mapping of addresses to regions, such as {192.0.2.1: us-east}"
    if not isinstance(value, dict) or not 1 <= len(value) <= PLACES_MAX:
        raise Unfit(f"{shown(value)} says of no address which region it stands for", allowed)
    found: dict[Any, str] = {}
    for key, region in value.items():
        where = address(key)
        if not isinstance(region, str):
            raise Unfit(f"{shown(region)} is no region's name", allowed)
        if where in found:
            raise Unfit(f"{where} is listed twice", "each address once")
        found[where] = region
    return found


class TargetShape(Shape):
    """An address that is measured to; it stands for the network around it."""

    address: Annotated[Any, Read(unicast, type="string")] = Field(
        description="An address, mostly a resolver's, that answers from where its clients are."
    )
    kind: Literal["icmp", "tcp", "dns"] = Field(
        default="icmp", description="An echo, a TCP handshake, or a DNS query and its answer."
    )
    port: int | None = Field(default=None, ge=1, le=65535, description="Of tcp and dns. Default 53.")


class FileShape(Shape):
    """A file with round-trip times."""

    path: Path = Field(description="The file; relative to the deployment folder or absolute.")
    format: Literal["csv", "atlas"] = Field(
        default="csv", description="Lines of prefix,region,rtt in milliseconds; or results of RIPE Atlas pings as JSON."
    )
    regions: Annotated[Any, Read(_places, type="object", additionalProperties={"type": "string"})] = Field(
        default=None, description="With atlas: the region that each measured address stands for."
    )


class BandShape(Shape):
    """How much better another region must be."""

    share: Annotated[float, Read(portion, **SHARE_SCHEMA)] = Field(
        default=DEFAULT.band_share, description="Of the time of the region that is before it."
    )
    least: Annotated[float, Read(_least, **DURATION_SCHEMA)] = Field(
        default=DEFAULT.band_s, description="And at least this much."
    )


class RttFile(Shape):
    """probes/rtt.yaml: sources of round-trip times, and when they count."""

    targets: Annotated[
        tuple[
            Annotated[TargetShape, OrText(_of_address, "An address, measured to by ICMP.")],
            ...,
        ],
        Field(max_length=TARGETS_MAX),
        OneOrList(),
    ] = Field(default=(), description="What this node measures to.", json_schema_extra={"default": []})
    interval: Annotated[float, Read(_interval, **DURATION_SCHEMA)] = Field(
        default=DEFAULT.interval_s, description="Time between two measurements of a target."
    )
    timeout: Annotated[float | None, Read(_timeout, **DURATION_SCHEMA)] = Field(
        default=None,
        description="Time for one measurement; at most the interval. Default 2s, or the interval if that is shorter.",
        json_schema_extra={"default": DEFAULT.timeout_s},
    )
    files: Annotated[
        tuple[Annotated[FileShape, OrText(_of_path, "The path of a CSV file.")], ...],
        Field(max_length=FILES_MAX),
        OneOrList(),
    ] = Field(default=(), description="Files of measurements.", json_schema_extra={"default": []})
    passive: bool = Field(default=DEFAULT.passive, description="Whether this node's own TCP clients count.")
    reports: bool = Field(default=DEFAULT.reports, description="Whether agents may report theirs to this node.")
    prefix4: int = Field(default=DEFAULT.prefix4, ge=8, le=24, description="Bits of an IPv4 client network.")
    prefix6: int = Field(default=DEFAULT.prefix6, ge=16, le=64, description="Bits of an IPv6 client network.")
    networks_max: int = Field(
        default=DEFAULT.networks_max, ge=1, le=NETWORKS_MAX, description="The most client networks that are kept."
    )
    half_life: Annotated[float, Read(_half_life, **DURATION_SCHEMA)] = Field(
        default=DEFAULT.half_life_s,
        description="After this time a measurement counts half as much as a new one; 0 is no smoothing.",
    )
    samples_min: int = Field(
        default=DEFAULT.samples_min, ge=1, le=1000, description="An estimate decides from so many measurements on."
    )
    age_max: Annotated[float, Read(_age_max, **DURATION_SCHEMA)] = Field(
        default=DEFAULT.age_max_s, description="An estimate without new measurements for longer decides nothing."
    )
    band: BandShape = Field(
        default=BandShape(),
        description="How much better another region must be to be preferred.",
        json_schema_extra={"default": {}},
    )
    dwell: Annotated[float, Read(_dwell, **DURATION_SCHEMA)] = Field(
        default=DEFAULT.dwell_s, description="What a client network prefers changes at most once in this time."
    )
