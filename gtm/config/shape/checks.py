"""probes/checks.yaml: how instances are judged."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from gtm.config import dnsnames
from gtm.config.scalars import Unfit, share, shown, unicast
from gtm.config.shape.base import Read, Shape
from gtm.config.shape.durations import DURATION_SCHEMA, between
from gtm.config.shape.node import Label
from gtm.config.shape.probes import (
    DnsShape,
    ExecShape,
    FileShape,
    GrpcShape,
    HttpShape,
    HttpsShape,
    IcmpShape,
    PushShape,
    TcpShape,
    TlsShape,
    UdpShape,
)
from gtm.config.shape.regions import SHARE_SCHEMA
from gtm.model.address import IPAddress
from gtm.model.check import QUORUM_DEFAULT, WINDOW_DEFAULT, WINDOW_MAX, Cadence

INTERVAL_MIN_S, INTERVAL_MAX_S = 0.1, 3600.0
TIMEOUT_MIN_S = 0.01
RUN_MAX = 100
JITTER_MAX = 0.5
TERMS_MAX = 64
VANTAGES_MAX = 1000
MEMBER_FORMS = "a check's name, NAME@ADDRESS, or a mapping of all, any, not or at_least"


def _jitter(value: object) -> float:
    found = share(value)
    if found <= JITTER_MAX:
        return found
    raise Unfit(f"{shown(value)} is out of range", f"0% to {JITTER_MAX:.0%}")


def _some(value: object) -> float:
    """A share above nothing."""
    if found := share(value):
        return found
    raise Unfit(f"{shown(value)} is out of range", "above 0%, up to 100%")


def _expand(value: object) -> object:
    """The mapping that a member written as one text means."""
    if not isinstance(value, str):
        return value
    name, at, address = value.partition("@")
    try:
        return {"check": dnsnames.label(name), **({"address": str(unicast(address))} if at else {})}
    except Unfit as unfit:
        raise Unfit(unfit.message, MEMBER_FORMS) from None


class OrMember:
    """Annotation: a text, CHECK or CHECK@ADDRESS, may stand for the mapping."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        made: CoreSchema = BeforeValidator(_expand).__get_pydantic_core_schema__(source, handler)
        return made

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"type": "string", "description": "CHECK, or CHECK@ADDRESS."}, handler(core)]}


Interval = Annotated[float | None, Read(between(INTERVAL_MIN_S, INTERVAL_MAX_S), **DURATION_SCHEMA)]
SomeShare = Annotated[float | None, Read(_some, **SHARE_SCHEMA)]


class AtLeastShape(Shape):
    """So many of some checks."""

    count: int = Field(ge=1, le=TERMS_MAX, description="How many of them.")
    of: tuple[Annotated[TermShape, OrMember()], ...] = Field(
        min_length=1, max_length=TERMS_MAX, description="The checks, or what is composed of them."
    )


class Composable(Shape):
    """What a check can be composed of."""

    all_: tuple[Annotated[TermShape, OrMember()], ...] | None = Field(
        default=None, alias="all", min_length=1, max_length=TERMS_MAX, description="All of these: the worst counts."
    )
    any_: tuple[Annotated[TermShape, OrMember()], ...] | None = Field(
        default=None, alias="any", min_length=1, max_length=TERMS_MAX, description="Any of these: the best counts."
    )
    not_: Annotated[TermShape, OrMember()] | None = Field(
        default=None, alias="not", description="UP where the other is DOWN, and DOWN where it is not."
    )
    at_least: AtLeastShape | None = Field(default=None, description="At least so many of these.")


class TermShape(Composable):
    """A check at the same address or at its own, or what is composed of such."""

    check: Label | None = Field(default=None, description="A check.")
    address: Annotated[IPAddress | None, Read(unicast, type="string")] = Field(
        default=None, description="Where that check looks; without it at the same address."
    )


class DegradedShape(Shape):
    """When an instance that answers is DEGRADED."""

    latency: Annotated[float | None, Read(between(0.001, INTERVAL_MAX_S), **DURATION_SCHEMA)] = Field(
        default=None, description="A probe that takes longer than this counts as a poor one."
    )
    errors: SomeShare = Field(default=None, description="This share of the last probes failed.")
    over: int = Field(
        default=WINDOW_DEFAULT, ge=1, le=WINDOW_MAX, description="How many of the last probes `errors` is a share of."
    )


class CheckShape(Composable):
    """One check: exactly one kind of probe, or other checks, and its cadence."""

    http: HttpShape | None = Field(default=None, description="Judge by an HTTP request.")
    https: HttpsShape | None = Field(
        default=None, description="Judge by an HTTPS request; the certificate is verified."
    )
    tcp: TcpShape | None = Field(default=None, description="Judge by a TCP connection.")
    tls: TlsShape | None = Field(default=None, description="Judge by a TLS handshake; the certificate is verified.")
    dns: DnsShape | None = Field(default=None, description="Judge by a DNS query.")
    icmp: IcmpShape | None = Field(default=None, description="Judge by an ICMP echo (ping).")
    grpc: GrpcShape | None = Field(default=None, description="Judge by the standard gRPC health check.")
    udp: UdpShape | None = Field(default=None, description="Judge by a datagram and the answer to it.")
    exec: ExecShape | None = Field(default=None, description="Judge by a program's exit code.")
    file: FileShape | None = Field(default=None, description="Judge by what something else leaves in a file.")
    push: PushShape | None = Field(default=None, description="Judge by what something else pushes to this node.")
    interval: Annotated[float, Read(between(INTERVAL_MIN_S, INTERVAL_MAX_S), **DURATION_SCHEMA)] = Field(
        default=Cadence().interval_s, description="Time between the starts of two probes of one address."
    )
    fast: Interval = Field(
        default=None, description="The interval while results contradict the verdict; at most the interval."
    )
    idle: Interval = Field(
        default=None, description="The interval for instances that nobody asks about; at least the interval."
    )
    timeout: Annotated[float | None, Read(between(TIMEOUT_MIN_S, INTERVAL_MAX_S), **DURATION_SCHEMA)] = Field(
        default=None,
        description="Time for the whole probe; at most interval and fast. Default 3s, or those if they are shorter.",
        json_schema_extra={"default": Cadence().timeout_s},
    )
    fall: int = Field(
        default=Cadence().fall, ge=1, le=RUN_MAX, description="Failures in a row that make an instance DOWN."
    )
    rise: int = Field(default=Cadence().rise, ge=1, le=RUN_MAX, description="Successes in a row that make it UP again.")
    jitter: Annotated[float, Read(_jitter, **SHARE_SCHEMA)] = Field(
        default=Cadence().jitter,
        description="How much starts are spread, as a share of the interval (at most 50%).",
        json_schema_extra={"default": f"{Cadence().jitter:.0%}"},
    )
    degraded: DegradedShape = Field(
        default_factory=DegradedShape,
        description="When an instance that answers is DEGRADED.",
        json_schema_extra={"default": {}},
    )
    quorum: Annotated[float, Read(_some, **SHARE_SCHEMA)] = Field(
        default=QUORUM_DEFAULT,
        description="The share of the nodes that see an instance which must call it DOWN.",
        json_schema_extra={"default": f"{QUORUM_DEFAULT:.0%}"},
    )
    vantages: int | None = Field(
        default=None, ge=1, le=VANTAGES_MAX, description="At most this many nodes probe an instance; without it all."
    )


class ChecksFile(Shape):
    """probes/checks.yaml: checks by name."""

    checks: dict[Label, CheckShape] = Field(description="Checks by name.")
