"""zones/NAME.yaml: a zone's pools, its steered names, and their tests."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from gtm.config import clients, dnsnames
from gtm.config.scalars import Unfit, ipv4, ipv6, seconds, share, shown, unicast
from gtm.config.shape.base import OneOrList, Read, Shape
from gtm.config.shape.durations import DURATION_SCHEMA
from gtm.config.shape.node import Label
from gtm.config.shape.regions import SHARE_SCHEMA
from gtm.model.address import IPAddress, IPNetwork
from gtm.model.name import TTL_DEFAULT_S
from gtm.model.policy import Matcher
from gtm.model.pool import WEIGHT_DEFAULT, WEIGHT_MAX

TTL_MAX_S = 7 * 86400
TTL_FORMS = f"whole seconds from 0 to {TTL_MAX_S}, as a number or like 30s, 5m, 1h; or a range of them such as 15..60"
TTL_SCHEMA = {
    "anyOf": [
        *DURATION_SCHEMA["anyOf"],
        {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)?\.\.[0-9]+(\.[0-9]+)?(ms|s|m|h|d)?$"},
    ]
}
ANSWERS_MAX = 16
ALL_DOWN_WORDS = ("serve_all", "last_good", "nodata")
ASKABLE = ("A", "AAAA", "CNAME")


def _ttl(value: object) -> int | tuple[int, int]:
    """A TTL in seconds, or the least and the most of a range."""
    least, dots, most = value.partition("..") if isinstance(value, str) else ("", "", "")
    if not dots:
        return _one_ttl(value)
    found = _one_ttl(least), _one_ttl(most)
    if not 0 < found[0] < found[1]:
        raise Unfit(f"{shown(value)} is not a range of TTLs", "LEAST..MOST, LEAST at least one second and below MOST")
    return found


def _one_ttl(value: object) -> int:
    try:
        found = seconds(value)
    except Unfit as unfit:
        raise Unfit(unfit.message, TTL_FORMS) from None
    if not found.is_integer() or found > TTL_MAX_S:
        raise Unfit(f"{shown(value)} is not a TTL", TTL_FORMS)
    return int(found)


def _expand(value: object) -> object:
    """The mapping that an instance written as one text means."""
    if not isinstance(value, str):
        return value
    if value.endswith("."):
        return {"cname": value}
    try:
        found = unicast(value)
    except Unfit as unfit:
        raise Unfit(
            unfit.message,
            "an IPv4 or IPv6 address, a host name that ends with a dot, or a mapping {a, aaaa, cname, ...}",
        ) from None
    return {"a" if found.version == 4 else "aaaa": value}


def _all_down(value: object) -> str | tuple[IPAddress, ...]:
    allowed = f"{', '.join(ALL_DOWN_WORDS)}, or a list of addresses"
    if isinstance(value, str) and value in ALL_DOWN_WORDS:
        return value
    if not isinstance(value, tuple) or not 1 <= len(value) <= ANSWERS_MAX:
        raise Unfit(f"{shown(value)} is no rule for when all are down", allowed)
    found = tuple(map(unicast, value))
    if len(set(found)) < len(found):
        raise Unfit("an address is listed twice", "each address once")
    return found


def _host(value: object) -> str:
    return dnsnames.absolute(value)


def _text(value: object) -> str:
    if isinstance(value, str) and value:
        return value
    raise Unfit(f"{shown(value)} is not text", "text")


def _ask(value: object) -> tuple[str, str]:
    allowed = f'OWNER TYPE such as "www A"; TYPE is one of {", ".join(ASKABLE)}'
    words = value.split() if isinstance(value, str) else []
    if len(words) != 2 or words[1] not in ASKABLE:
        raise Unfit(f"{shown(value)} is not a question", allowed)
    return words[0], words[1]


def _nodata(value: object) -> bool:
    if value is True:
        return True
    raise Unfit(f"{shown(value)} says nothing here", "nodata: true, or region: REGION")


class OrText:
    """Annotation: a text may stand for the mapping; `_expand` says which."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        made: CoreSchema = BeforeValidator(_expand).__get_pydantic_core_schema__(source, handler)
        return made

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {
            "anyOf": [
                {"type": "string", "description": "An address, or a host name with a dot at its end."},
                handler(core),
            ]
        }


class InstanceShape(Shape):
    """One instance: what is answered, how much of it, and what is probed."""

    a: Annotated[Any, Read(ipv4, type="string", format="ipv4")] = Field(
        default=None, description="IPv4 address to answer."
    )
    aaaa: Annotated[Any, Read(ipv6, type="string", format="ipv6")] = Field(
        default=None, description="IPv6 address to answer."
    )
    cname: Annotated[str | None, Read(_host, type="string", pattern=r"\.$")] = Field(
        default=None, description="Host name to answer as a CNAME; ends with a dot."
    )
    weight: int = Field(
        default=WEIGHT_DEFAULT, ge=0, le=WEIGHT_MAX, description="Its part of the region's traffic; 0 takes none."
    )
    probe: Annotated[Any, Read(unicast, type="string")] = Field(
        default=None, description="The address that checks go to; without it a, else aaaa."
    )


Instances = Annotated[tuple[Annotated[InstanceShape, OrText()], ...], Field(min_length=1, max_length=1000), OneOrList()]


class PoolShape(BaseModel):
    """A pool: its check and threshold; every other key is a region with its instances."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True, hide_input_in_errors=True)
    __pydantic_extra__: dict[str, Instances]

    check: Label | None = Field(
        default=None, description="A check of probes/checks.yaml; without it every instance counts as up."
    )
    threshold: Annotated[float | None, Read(share, **SHARE_SCHEMA)] = Field(
        default=None, description="Beats the regions' own threshold for this pool."
    )


class RuleShape(Shape):
    """A rule: for these clients, this order of regions."""

    from_: Annotated[
        tuple[Annotated[Matcher, Read(clients.matcher, type="string")], ...],
        Field(min_length=1, max_length=100_000),
        OneOrList(),
    ] = Field(
        default=(),
        alias="from",
        description="Clients, one or a list: address, network, AS number, country, subdivision, continent:CODE. "
        "Without it the rule is for everyone.",
    )
    order: Annotated[
        tuple[Annotated[str, Read(_text, type="string")], ...], Field(min_length=1, max_length=1000), OneOrList()
    ] = Field(description="nearest, rtt, a region, or a list of regions that may end with nearest or rtt.")


class NameShape(Shape):
    """A steered name."""

    pool: Label = Field(description="A pool of this file.")
    ttl: Annotated[int | tuple[int, int], Read(_ttl, **TTL_SCHEMA)] = Field(
        default=TTL_DEFAULT_S,
        description="The TTL of its answers, in whole seconds; or LEAST..MOST, within which it is the time until they "
        "may change.",
    )
    answers: int = Field(default=1, ge=1, le=ANSWERS_MAX, description="How many instances one answer holds at most.")
    steer: tuple[RuleShape, ...] = Field(
        default=(),
        max_length=10_000,
        description="Rules, first match wins; a client that none fits gets the nearest region.",
        json_schema_extra={"default": []},
    )
    all_down: Annotated[
        Any,
        Read(
            _all_down,
            anyOf=[
                {"enum": list(ALL_DOWN_WORDS)},
                {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": ANSWERS_MAX},
            ],
        ),
    ] = Field(default="serve_all", description="What is answered when no region of the pool is up.")


class ExpectShape(Shape):
    """A test that `gtm check` runs."""

    ask: Annotated[tuple[str, str], Read(_ask, type="string", pattern=f"^\\S+ +({'|'.join(ASKABLE)})$")] = Field(
        description='The question: owner and type, such as "www A".'
    )
    from_: Annotated[IPAddress | IPNetwork | str, Read(clients.client, type="string")] = Field(
        alias="from", description="The client: address, network, country or subdivision."
    )
    region: Annotated[str | None, Read(dnsnames.label, type="string")] = Field(
        default=None, description="The region that must answer."
    )
    nodata: Annotated[Literal[True] | None, Read(_nodata, const=True)] = Field(
        default=None, description="true: the answer must be empty. Instead of region."
    )
    down: Annotated[tuple[Label, ...], OneOrList()] = Field(
        default=(), description="Regions taken to be wholly down.", json_schema_extra={"default": []}
    )


class SteeringFile(Shape):
    """zones/NAME.yaml: pools, steered names and tests of the zone whose master file is zones/NAME.zone."""

    pools: dict[Label, PoolShape] = Field(
        default_factory=dict, description="Pools by name.", json_schema_extra={"default": {}}
    )
    names: dict[str, NameShape] = Field(
        default_factory=dict,
        description='Steered names by owner: relative to the zone, absolute with a dot at its end, or "@", the apex.',
        json_schema_extra={"default": {}},
    )
    expect: tuple[ExpectShape, ...] = Field(
        default=(), max_length=100_000, description="Tests that gtm check runs.", json_schema_extra={"default": []}
    )
