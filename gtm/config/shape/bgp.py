"""bgp/anycast.yaml: who announces which prefixes, to whom, how, and what must never happen."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field

from gtm.config import dnsnames
from gtm.config.communities import U32, allowance, asn, community, prefix
from gtm.config.scalars import Unfit, interface_name, ipv4, shown, unicast
from gtm.config.shape.base import OneOrList, OrText, Read, Shape
from gtm.config.shape.durations import DURATION_SCHEMA, between
from gtm.config.shape.node import Label, Path
from gtm.model.anycast import (
    DISABLED_METRIC,
    DOWN_METRIC,
    FALL,
    FAST_INTERVAL_S,
    INTERVAL_S,
    RISE,
    TIMEOUT_S,
    UP_METRIC,
    Damping,
    Guard,
    Lease,
)

PREPEND_MAX = 16
RUNGS_MAX, WORDS_MAX, NEIGHBOURS_MAX, PREFIXES_MAX = 32, 1000, 1000, 1000
DAY_S = 86_400.0
BANDWIDTH_MAX = 10**14
LOCAL_ADDRESS = "127.0.0.1"
VIEWS = {"frr": "/run/frr", "bird": "/run/bird/bird.ctl"}

_BANDWIDTH = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?) ?([kMGT]?)bit")
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_FAMILIES = {"ipv4": "ipv4 unicast", "ipv6": "ipv6 unicast"}

ASN_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": U32 - 1},
        {"type": "string", "pattern": "^(AS)?[0-9]{1,10}$"},
    ]
}
WORD_SCHEMA: dict[str, Any] = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
PREFIX_SCHEMA: dict[str, Any] = {"type": "string", "pattern": "^[0-9A-Fa-f:.]+/[0-9]{1,3}$"}


def _bandwidth(value: object) -> int:
    """Octets a second of a number, or of a text such as 10Gbit."""
    allowed = "octets a second as a number, or a text such as 10Gbit or 400Mbit"
    found = _BANDWIDTH.fullmatch(value) if isinstance(value, str) else None
    octets = value if isinstance(value, int) and not isinstance(value, bool) else None
    if found is not None:
        octets = round(float(found[1]) * _UNITS[found[2]] / 8)
    if octets is None:
        raise Unfit(f"{shown(value)} is not a bandwidth", allowed)
    if not 1 <= octets <= BANDWIDTH_MAX:
        raise Unfit(f"{shown(value)} is out of range", f"1 to {BANDWIDTH_MAX} octets a second")
    return octets


def _med(value: object) -> int | None:
    if value == "none":
        return None
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= U32:
        return value
    raise Unfit(f"{shown(value)} is not a MED", f"0 to {U32}, or none")


def _family(value: object) -> str:
    if isinstance(value, str) and value in _FAMILIES:
        return _FAMILIES[value]
    raise Unfit(f"{shown(value)} is not a family", ", ".join(_FAMILIES))


def _hold_time(value: object) -> float:
    found = between(3.0, 65535.0)(value)
    if found.is_integer():
        return found
    raise Unfit(f"{found:g}s is not a hold time", "whole seconds (RFC 4271 4.2)")


def _off_or(low_s: float, high_s: float) -> Any:
    read = between(low_s, high_s)
    return lambda value: None if value == "off" else read(value)


def _of_address(value: object) -> object:
    """The mapping that a neighbour written as ADDRESS or ASN@ADDRESS means."""
    if not isinstance(value, str):
        return value
    number, at, address = value.rpartition("@")
    try:
        return {"address": str(unicast(address)), **({"asn": asn(number)} if at else {})}
    except Unfit as unfit:
        raise Unfit(unfit.message, "ADDRESS, ASN@ADDRESS, or a mapping of address and more") from None


def _of_check(value: object) -> object:
    """The mapping that a local check written as CHECK or CHECK@ADDRESS means."""
    if not isinstance(value, str):
        return value
    name, at, address = value.partition("@")
    try:
        return {"check": dnsnames.label(name), **({"address": str(unicast(address))} if at else {})}
    except Unfit as unfit:
        raise Unfit(unfit.message, "a check's name, NAME@ADDRESS, or a mapping of check and more") from None


def _of_switch(value: object) -> object:
    """The mapping that true or false means."""
    return {"enabled": value} if isinstance(value, bool) else value


def _of_word(value: object) -> object:
    """The mapping that a word written as its communities means."""
    return value if isinstance(value, dict) else {"communities": value}


def _of_view(value: object) -> object:
    """The mapping that frr or bird means."""
    if not isinstance(value, str):
        return value
    if value not in VIEWS:
        raise Unfit(f"{shown(value)} is not a view", f"{', '.join(VIEWS)}, or a mapping of one of them to its path")
    return {value: VIEWS[value]}


def _of_regions(value: object) -> object:
    return () if value == "all" else value


class OrSwitch(OrText):
    """Annotation: true or false may stand for the mapping."""

    def __init__(self) -> None:
        super().__init__(_of_switch, "", type="boolean")


Address = Annotated[Any, Read(unicast, type="string")]
OptionalAsn = Annotated[int | None, Read(asn, **ASN_SCHEMA)]
Communities = Annotated[
    tuple[Annotated[Any, Read(community, type="string")], ...], Field(max_length=WORDS_MAX), OneOrList()
]
Seconds = Annotated[float | None, Read(between(0.0, DAY_S), **DURATION_SCHEMA)]
Period = Annotated[float | None, Read(between(0.05, 3600.0), **DURATION_SCHEMA)]
Milliseconds = Annotated[float, Read(between(0.01, 10.0), **DURATION_SCHEMA)]


class BfdShape(Shape):
    """BFD with a neighbour, single hop (RFC 5881)."""

    enabled: bool = Field(default=True, description="Whether there is BFD; true or false may stand for the mapping.")
    transmit: Milliseconds = Field(default=0.05, description="The least time between two packets that are sent.")
    receive: Milliseconds = Field(default=0.05, description="The least time between two packets that are wanted.")
    multiplier: int = Field(default=3, ge=2, le=255, description="So many missing packets are a failure.")


class SessionShape(Shape):
    """How sessions are held."""

    families: Annotated[tuple[Annotated[Any, Read(_family, enum=list(_FAMILIES))], ...], OneOrList()] = Field(
        default=tuple(_FAMILIES.values()),
        min_length=1,
        max_length=2,
        description="ipv4, ipv6 or both, as one or a list.",
        json_schema_extra={"default": list(_FAMILIES)},
    )
    hold_time: Annotated[float, Read(_hold_time, **DURATION_SCHEMA)] = Field(
        default=9.0,
        description="A neighbour that is not heard of for so long is gone; whole seconds, 3s or more.",
    )
    md5_file: Path | None = Field(default=None, description="A file that holds the key of TCP MD5 (RFC 2385).")
    ttl_security: int | None = Field(
        default=None, ge=1, le=254, description="GTSM (RFC 5082): how many hops away the neighbour may be; mostly 1."
    )
    add_path: bool = Field(default=False, description="Whether path identifiers are sent (RFC 7911).")
    graceful_restart: Annotated[
        float | None, Read(_off_or(1.0, 4095.0), anyOf=[{"const": "off"}, *DURATION_SCHEMA["anyOf"]])
    ] = Field(
        default=None,
        description="How long routes outlive the session (RFC 4724); off unless you are sure.",
        json_schema_extra={"default": "off"},
    )
    bfd: Annotated[BfdShape | None, OrSwitch()] = Field(
        default=None, description="BFD with the neighbour, by FRR or BIRD beside ExaBGP."
    )
    port: int = Field(default=179, ge=1, le=65535, description="Where the neighbour listens.")


class ViewShape(Shape):
    """How a neighbour's own table is looked at, on this machine."""

    frr: Path | None = Field(default=None, description="FRR's folder of vty sockets; `view: frr` is /run/frr.")
    bird: Path | None = Field(default=None, description="BIRD's control socket; `view: bird` is /run/bird/bird.ctl.")


class NeighbourShape(SessionShape):
    """A neighbour of a speaker, and what differs from `session`."""

    address: Address = Field(description="The neighbour's address.")
    asn: OptionalAsn = Field(default=None, description="Its AS; without it the provider's.")
    local_address: Annotated[Any, Read(unicast, type="string")] = Field(
        default=None, description="The speaker's end of the session; without it the speaker's address of that family."
    )
    local_asn: OptionalAsn = Field(default=None, description="The AS that this neighbour knows us by; without it ours.")
    provider: Label | None = Field(
        default=None, description="Whose words it understands; without it the provider of the neighbour's own name."
    )
    next_hop: Annotated[tuple[Address, ...], Field(max_length=2), OneOrList()] = Field(
        default=(),
        description="The next hop that it is told, one for each family, where that is not the speaker's address.",
        json_schema_extra={"default": []},
    )
    view: Annotated[ViewShape | None, OrText(_of_view, "", enum=list(VIEWS))] = Field(
        default=None, description="Where its own table can be looked at, if it is an FRR or a BIRD of this machine."
    )


class SpeakerShape(Shape):
    """A node that announces."""

    region: Label = Field(description="The region it stands in: the PoP it belongs to.")
    address: Annotated[tuple[Address, ...], Field(max_length=2), OneOrList()] = Field(
        default=(),
        description="Its address, or one of each family: its end of sessions, and the next hop of what it announces.",
        json_schema_extra={"default": []},
    )
    asn: OptionalAsn = Field(default=None, description="Its AS; without it the one at the top.")
    router_id: Annotated[Any, Read(ipv4, type="string")] = Field(
        default=None, description="Its BGP identifier; without it its IPv4 address."
    )
    weight: float = Field(
        default=1.0, gt=0, allow_inf_nan=False, description="Its share among the speakers of its region."
    )
    neighbours: Annotated[
        dict[Label, Annotated[NeighbourShape, OrText(_of_address, "ADDRESS, or ASN@ADDRESS.")]],
        Field(min_length=1, max_length=NEIGHBOURS_MAX),
    ] = Field(description="Whom it announces to, by name.")


class WordShape(Shape):
    """A word of a provider's dictionary."""

    communities: Communities = Field(description="What it stands for.")
    note: str | None = Field(default=None, description="What it does, for people.")


class ProviderShape(Shape):
    """A provider's dictionary."""

    asn: OptionalAsn = Field(default=None, description="Its AS.")
    words: dict[Label, Annotated[WordShape, OrText(_of_word, "", **WORD_SCHEMA)]] = Field(
        default={}, description="What its words mean: communities, one or a list, or a mapping with a note."
    )


class TreatmentShape(Shape):
    """How a route is made more or less attractive."""

    med: int | None = Field(default=None, ge=0, le=U32, description="The MED (RFC 4271 5.1.4); less is better.")
    prepend: int = Field(default=0, ge=0, le=PREPEND_MAX, description="How often the own AS is repeated.")
    local_pref: int | None = Field(
        default=None, ge=0, le=U32, description="The local preference, for neighbours of the same AS; more is better."
    )
    communities: Communities = Field(
        default=(), description="Communities of all kinds, one or a list.", json_schema_extra={"default": []}
    )
    words: Annotated[tuple[Label, ...], Field(max_length=WORDS_MAX), OneOrList()] = Field(
        default=(),
        description="Words of the providers' dictionaries, one or a list.",
        json_schema_extra={"default": []},
    )
    bandwidth: Annotated[
        int | None,
        Read(_bandwidth, anyOf=[{"type": "integer", "minimum": 1}, {"type": "string", "pattern": "bit$"}]),
    ] = Field(default=None, description="Link bandwidth that is told, times the speaker's weight.")


class PhaseShape(TreatmentShape):
    """The treatment of a phase, which has a MED unless that is none."""

    med: Annotated[
        int | None, Read(_med, anyOf=[{"type": "integer", "minimum": 0, "maximum": U32}, {"const": "none"}])
    ] = Field(default=None, description="The MED, or none; without it that of healthcheck.py.")


class LocalShape(Shape):
    """A check of this instance's own services."""

    check: Label = Field(description="A check of probes/checks.yaml.")
    address: Annotated[Any, Read(unicast, type="string")] = Field(
        default=None, description="Where it looks.", json_schema_extra={"default": LOCAL_ADDRESS}
    )
    rise: int | None = Field(default=None, ge=1, le=1000, description="As the service's, for this check.")
    fall: int | None = Field(default=None, ge=1, le=1000, description="As the service's, for this check.")
    interval: Period = Field(default=None, description="As the service's, for this check.")
    fast_interval: Period = Field(default=None, description="As the service's, for this check.")
    timeout: Period = Field(default=None, description="As the service's, for this check.")


class ServiceShape(Shape):
    """Prefixes that move as one."""

    prefixes: Annotated[
        tuple[Annotated[Any, Read(prefix, **PREFIX_SCHEMA)], ...],
        Field(min_length=1, max_length=PREFIXES_MAX),
        OneOrList(),
    ] = Field(description="What is announced, one or a list.")
    regions: Annotated[tuple[Label, ...], OneOrList(), OrText(_of_regions, "all")] = Field(
        default=(), description="The regions that may announce it.", json_schema_extra={"default": "all"}
    )
    local: Annotated[
        tuple[Annotated[LocalShape, OrText(_of_check, "CHECK, or CHECK@ADDRESS.")], ...],
        Field(max_length=100),
        OneOrList(),
    ] = Field(
        default=(),
        description="Checks of this instance's own services, one or a list.",
        json_schema_extra={"default": []},
    )
    rise: int = Field(default=RISE, ge=1, le=1000, description="Successes in a row that make it UP.")
    fall: int = Field(default=FALL, ge=1, le=1000, description="Failures in a row that make it DOWN.")
    interval: Annotated[float, Read(between(0.05, 3600.0), **DURATION_SCHEMA)] = Field(
        default=INTERVAL_S, description="Time between two checks."
    )
    fast_interval: Annotated[float, Read(between(0.05, 3600.0), **DURATION_SCHEMA)] = Field(
        default=FAST_INTERVAL_S, description="Time between two checks while a change is about to occur."
    )
    timeout: Annotated[float, Read(between(0.01, 3600.0), **DURATION_SCHEMA)] = Field(
        default=TIMEOUT_S, description="Time for one check."
    )
    disable: Path | None = Field(default=None, description="While there is this file, the service is DISABLED here.")
    pool: str | None = Field(
        default=None,
        description="ZONE/POOL: the region must be up for this pool, too; without it local checks alone count.",
    )
    base: TreatmentShape = Field(
        default=TreatmentShape(), description="How it is announced in all phases.", json_schema_extra={"default": {}}
    )
    up: PhaseShape = Field(
        default=PhaseShape(),
        description=f"On top of base while UP; med {UP_METRIC}.",
        json_schema_extra={"default": {}},
    )
    down: PhaseShape = Field(
        default=PhaseShape(),
        description=f"While DOWN, if it is not withdrawn then; med {DOWN_METRIC}.",
        json_schema_extra={"default": {}},
    )
    disabled: PhaseShape = Field(
        default=PhaseShape(),
        description=f"While DISABLED, if it is not withdrawn then; med {DISABLED_METRIC}.",
        json_schema_extra={"default": {}},
    )
    draining: PhaseShape | None = Field(
        default=None, description="While DRAINING, below what the rungs add; without it as up."
    )
    held: PhaseShape | None = Field(
        default=None, description="While HELD, beside GRACEFUL_SHUTDOWN (RFC 8326); without it as down."
    )
    providers: dict[Label, TreatmentShape] = Field(
        default={}, description="On top of all of these towards a provider, by its name."
    )
    withdraw_on_down: bool = Field(
        default=True,
        description="Whether it is withdrawn while DOWN or DISABLED; or else as `down` or `disabled`.",
    )
    addresses: Annotated[tuple[Address, ...], Field(max_length=1000), OneOrList()] = Field(
        default=(),
        description="Addresses that are put on the interface while it may be reached, one or a list.",
        json_schema_extra={"default": []},
    )
    interface: Annotated[str | None, Read(interface_name, type="string", minLength=1, maxLength=15)] = Field(
        default=None, description="Where addresses are put; without it lo."
    )
    ports: Annotated[tuple[Annotated[int, Field(ge=1, le=65535)], ...], Field(max_length=100), OneOrList()] = Field(
        default=(),
        description="Only connections to these ports count when a drain waits; without it all to its prefixes.",
        json_schema_extra={"default": []},
    )


class RungShape(TreatmentShape):
    """One step down the ladder of a drain; what it adds stays on all below."""

    name: Label = Field(description="Its name.")
    announce: bool | None = Field(default=None, description="false: the prefixes are withdrawn, from here on.")
    address: bool | None = Field(default=None, description="false: the addresses are taken away, from here on.")
    hold: Seconds = Field(default=0.0, description="How long it lasts at least.", json_schema_extra={"default": 0.0})
    connections: int | None = Field(
        default=None, ge=0, le=10**9, description="It lasts until there are no more connections than this."
    )
    deadline: Seconds = Field(default=None, description="With connections: but no longer than this.")


class DampingShape(Shape):
    """Flap damping (RFC 2439)."""

    enabled: bool = Field(default=True, description="Whether it is done; true or false may stand for the mapping.")
    half_life: Annotated[float, Read(between(1.0, DAY_S), **DURATION_SCHEMA)] = Field(
        default=Damping().half_life_s, description="In this time the figure halves; each change to DOWN adds 1000."
    )
    suppress: float = Field(
        default=Damping().suppress, gt=0, le=100_000, description="At this figure it is announced no more,"
    )
    reuse: float = Field(default=Damping().reuse, gt=0, le=100_000, description="until the figure is below this,")
    max: Annotated[float, Read(between(1.0, DAY_S), **DURATION_SCHEMA)] = Field(
        default=Damping().max_s, description="at most so long."
    )


class GuardShape(Shape):
    """What automatics may never do."""

    leave_window: Annotated[float, Read(between(1.0, 3600.0), **DURATION_SCHEMA)] = Field(
        default=Guard().leave_window_s, description="At most one PoP leaves a service within this time."
    )
    without_store: Literal["hold", "withdraw"] = Field(
        default="hold", description="While the shared store is away: hold every PoP, or withdraw as if alone."
    )
    damping: Annotated[DampingShape, OrSwitch()] = Field(
        default=DampingShape(), description="Flap damping.", json_schema_extra={"default": {}}
    )
    allowed: Annotated[
        tuple[Annotated[Any, Read(allowance, type="string")], ...], Field(max_length=PREFIXES_MAX), OneOrList()
    ] = Field(
        default=(),
        description="All that may be announced, PREFIX or PREFIX..LENGTH, one or a list; without it what is declared.",
        json_schema_extra={"default": []},
    )
    rpki: Literal["off", "warn", "refuse"] = Field(
        default="off", description="What an announcement that RPKI calls invalid (RFC 6811) comes to."
    )
    vrps: Path | None = Field(default=None, description="A validator's JSON export (rpki-client, Routinator).")
    vrps_age_max: Annotated[float, Read(between(60.0, 30 * DAY_S), **DURATION_SCHEMA)] = Field(
        default=Guard().vrps_age_max_s, description="An export older than this says nothing."
    )


class LeaseShape(Shape):
    """How long announcements live without somebody who is well."""

    ttl: Annotated[float, Read(between(0.3, 3600.0), **DURATION_SCHEMA)] = Field(
        default=Lease().ttl_s, description="Without the announcer's thinking part."
    )
    controller: Annotated[float, Read(between(1.0, DAY_S), **DURATION_SCHEMA)] = Field(
        default=Lease().controller_s, description="Without a controller on this node, which judges regions."
    )
    exit: Literal["withdraw", "keep", "hand-over"] = Field(
        default="withdraw", description="And then, or when the announcer ends: what becomes of them."
    )


class AnycastFile(Shape):
    """bgp/anycast.yaml: speakers, services, providers, the ladder, the guard and leases."""

    asn: OptionalAsn = Field(default=None, description="Our AS, for speakers without their own.")
    session: SessionShape = Field(
        default=SessionShape(), description="What all sessions have in common.", json_schema_extra={"default": {}}
    )
    speakers: dict[Label, SpeakerShape] = Field(
        default={}, description="The nodes that announce, by `node` of their gtm.yaml."
    )
    providers: dict[Label, ProviderShape] = Field(default={}, description="Providers' dictionaries, by name.")
    services: dict[Label, ServiceShape] = Field(default={}, description="What is announced, by name.")
    ladder: tuple[RungShape, ...] | None = Field(
        default=None, min_length=1, max_length=RUNGS_MAX, description="How a drain goes; without it six rungs."
    )
    guard: GuardShape = Field(
        default=GuardShape(), description="What automatics may never do.", json_schema_extra={"default": {}}
    )
    lease: LeaseShape = Field(
        default=LeaseShape(),
        description="How long announcements live without somebody who is well.",
        json_schema_extra={"default": {}},
    )
