"""dataplane/services.yaml: which VIPs, which backends, which machines balance, and what is dropped before."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field

from gtm.config.scalars import Unfit, endpoint, interface_name, mac, network, shown, unicast
from gtm.config.shape.base import OneOrList, OrText, Read, Shape
from gtm.config.shape.durations import DURATION_SCHEMA, between
from gtm.config.shape.node import Label, Path
from gtm.model.balance import (
    AMPLIFIERS,
    BACKENDS_MAX,
    DRAIN_S,
    GUE_PORT,
    MTU_BYTES,
    SERVICES_MAX,
    SYN_RATE,
    SYNC_PORT,
    TABLE_SIZE_DEFAULT,
    Transport,
)

MTU_MIN, MTU_MAX = 1280, 9216
WEIGHT_MAX = 1000
RATE_MAX = 10**9
SERVER_ID_MAX, SERVER_IDS_MAX = 15, 7
NETWORKS_MAX = 1000
DAY_S = 86_400.0

_PORT = re.compile(r"(tcp|udp)/([0-9]{1,5})")
_SERVER_ID = re.compile(r"(?:[0-9A-Fa-f]{2}){1,15}")
_ENV = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


def _port(value: object) -> tuple[Transport, int]:
    found = _PORT.fullmatch(value) if isinstance(value, str) else None
    if found is not None and 1 <= int(found[2]) <= 65535:
        return ("tcp" if found[1] == "tcp" else "udp"), int(found[2])
    raise Unfit(f"{shown(value)} is not a port of a protocol", "tcp/PORT or udp/PORT, such as tcp/443")


def _server_id(value: object) -> bytes:
    if isinstance(value, str) and _SERVER_ID.fullmatch(value):
        return bytes.fromhex(value)
    hint = "; put quotes around it" if isinstance(value, int | float) else ""
    raise Unfit(f"{shown(value)} is not a server ID{hint}", 'its 1 to 15 octets in hex, such as "0a1b"')


def _env(value: object) -> str:
    if isinstance(value, str) and _ENV.fullmatch(value):
        return value
    raise Unfit(f"{shown(value)} is not a variable's name", "a name such as GTM_BALANCE_SECRET")


def _table_size(value: object) -> int:
    """A prime: only then does every step of a permutation reach every slot (Maglev, 3.4)."""
    if isinstance(value, int) and not isinstance(value, bool) and 2 <= value <= TABLE_SIZE_DEFAULT:
        if all(value % each for each in range(2, int(value**0.5) + 1)):
            return value
        raise Unfit(f"{value} is not a prime", f"a prime up to {TABLE_SIZE_DEFAULT}, such as 8191, 16381 or 65537")
    raise Unfit(f"{shown(value)} is not a size", f"a prime up to {TABLE_SIZE_DEFAULT}, such as 8191, 16381 or 65537")


def _of_address(value: object) -> object:
    """The mapping that a backend or gateway written as its address means."""
    if not isinstance(value, str):
        return value
    try:
        return {"address": str(unicast(value))}
    except Unfit as unfit:
        raise Unfit(unfit.message, "ADDRESS, or a mapping of address and more") from None


def _of_port(value: object) -> object:
    """The mapping that tcp/443 means."""
    if isinstance(value, dict):
        return value
    _port(value)
    return {"port": value}


def _of_sync(value: object) -> object:
    """The mapping that true, false or ADDRESS:PORT means."""
    match value:
        case bool():
            return {"enabled": value}
        case str():
            endpoint(value)
            return {"listen": value}
        case _:
            return value


Address = Annotated[Any, Read(unicast, type="string")]
NetworkText = Annotated[Any, Read(network, type="string")]
Networks = Annotated[tuple[NetworkText, ...], Field(max_length=NETWORKS_MAX), OneOrList()]
Files = Annotated[tuple[Path, ...], Field(max_length=100), OneOrList()]
Mac = Annotated[Any, Read(mac, type="string", pattern="^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$")]
ServerId = Annotated[bytes, Read(_server_id, type="string", pattern=f"^{_SERVER_ID.pattern}$")]
Weight = Annotated[int, Field(ge=0, le=WEIGHT_MAX)]
RuleMode = Literal["off", "dry-run", "on"]
Codepoint = Literal["0", "1", "2", "3", "4", "5", "6"]


class WayShape(Shape):
    """How packets get to backends."""

    wrap: Literal["l2", "ipip", "gre", "gue"] = Field(
        default="ipip", description="l2: a new MAC alone; ipip (all families), gre or gue: an outer header."
    )
    second_chance: bool = Field(
        default=False, description="GUE carries who had the slot before; a backend passes on what it does not know."
    )
    gateway: Label | None = Field(
        default=None, description="Which of an instance's gateways leads to it; without it the first."
    )
    mtu: int | None = Field(
        default=None, ge=MTU_MIN, le=MTU_MAX, description="The largest outer packet; without it the instance's."
    )
    gue_port: int = Field(default=GUE_PORT, ge=1, le=65535, description="The UDP port where it unwraps GUE.")


class BackendShape(WayShape):
    """A server of a service, and what differs from the service's own way."""

    address: Address = Field(description="Its address: where outer headers go, or for l2 whose MAC is asked for.")
    region: Label | None = Field(default=None, description="Only instances there use it; without it all do.")
    weight: Weight = Field(default=1, description="Its share of new flows; 0 for none.")
    mac: Mac = Field(
        default=None, description="For l2, or without gateways: its MAC; without it the neighbour's at its address."
    )
    server_id: Annotated[tuple[ServerId, ...], Field(max_length=SERVER_IDS_MAX), OneOrList()] = Field(
        default=(),
        description="Its QUIC-LB server IDs in hex, one or a list: one of each length.",
        json_schema_extra={"default": []},
    )


class PortShape(Shape):
    """A port of a service."""

    port: Annotated[Any, Read(_port, type="string", pattern=f"^{_PORT.pattern}$")] = Field(
        description="tcp/PORT or udp/PORT; that text alone may stand for the mapping."
    )
    affinity: Literal["follow", "track"] = Field(
        default="follow", description="Which flows are remembered: those that a change concerns, or all."
    )
    quic: dict[Codepoint, Annotated[int, Field(ge=1, le=SERVER_ID_MAX)]] = Field(
        default={}, description="QUIC-LB: octets of the server ID by config rotation codepoint, 0 to 6."
    )


class ServiceShape(WayShape):
    """VIPs and ports whose flows are spread over the same backends."""

    vips: Annotated[tuple[Address, ...], Field(min_length=1, max_length=100), OneOrList()] = Field(
        description="Its addresses, one or a list."
    )
    ports: Annotated[
        tuple[Annotated[PortShape, OrText(_of_port, "", type="string", pattern=f"^{_PORT.pattern}$")], ...],
        Field(min_length=1, max_length=100),
        OneOrList(),
    ] = Field(description="Its ports, one or a list.")
    backends: Annotated[
        dict[Label, Annotated[BackendShape, OrText(_of_address, "ADDRESS.")]],
        Field(min_length=1, max_length=BACKENDS_MAX),
    ] = Field(description="Who serves it, by name.")
    check: Label | None = Field(
        default=None, description="A check of probes/checks.yaml; without it every backend counts as up."
    )
    through: Literal["direct", "vip"] = Field(
        default="direct", description="direct: it is asked at the backend's address; vip: at the VIP, as packets go."
    )
    table_size: Annotated[int, Read(_table_size, type="integer", minimum=2, maximum=TABLE_SIZE_DEFAULT)] = Field(
        default=TABLE_SIZE_DEFAULT, description="Slots of its Maglev table, a prime: 100 for each backend and more."
    )
    drain: Annotated[float, Read(between(0.0, DAY_S), **DURATION_SCHEMA)] = Field(
        default=DRAIN_S, description="How long a backend that drains or leaves keeps its flows."
    )
    echo: bool = Field(default=True, description="Whether pings to its VIPs are answered.")


class GatewayShape(Shape):
    """A next hop of an instance."""

    address: Address = Field(description="Its address.")
    mac: Mac = Field(default=None, description="Its MAC; without it the neighbour's.")


class SyncShape(Shape):
    """State sync with the other instances of the region."""

    enabled: bool = Field(default=True, description="Whether there is any; true or false may stand for the mapping.")
    listen: Annotated[Any, Read(endpoint, type="string")] = Field(
        default=None, description=f"ADDRESS:PORT; without it the first of `address`, port {SYNC_PORT}."
    )
    flush: Annotated[float, Read(between(0.001, 1.0), **DURATION_SCHEMA)] = Field(
        default=0.01, description="How long flows are gathered for one datagram."
    )
    ready: Annotated[float, Read(between(1.0, 3600.0), **DURATION_SCHEMA)] = Field(
        default=30.0, description="How long peers have to hand over their flows."
    )


class InstanceShape(Shape):
    """A machine that balances."""

    region: Label = Field(description="The region it stands in.")
    interface: Annotated[str, Read(interface_name, type="string", minLength=1, maxLength=15)] = Field(
        description="Where packets come in and go out."
    )
    mode: Literal["native", "generic"] = Field(
        default="native", description="native: in the driver; generic: where the driver has no XDP, and slower."
    )
    gateways: dict[Label, Annotated[GatewayShape, OrText(_of_address, "ADDRESS.")]] = Field(
        default={}, max_length=64, description="Its next hops by name; the first is for backends that name none."
    )
    address: Annotated[tuple[Address, ...], Field(max_length=2), OneOrList()] = Field(
        default=(),
        description="Its own address, or one of each family: the source of GUE.",
        json_schema_extra={"default": []},
    )
    source: Annotated[tuple[NetworkText, ...], Field(max_length=2), OneOrList()] = Field(
        default=(),
        description="A network, or one of each family, that other outer headers come from: /16 and /112 or wider.",
        json_schema_extra={"default": []},
    )
    mtu: int = Field(default=MTU_BYTES, ge=MTU_MIN, le=MTU_MAX, description="The largest outer packet.")
    sync: Annotated[SyncShape | None, OrText(_of_sync, "", anyOf=[{"type": "boolean"}, {"type": "string"}])] = Field(
        default=None, description="State sync with the other instances of the region."
    )
    ready_file: Path | None = Field(
        default=None, description="A file that says whether the instance may attract traffic, written every second."
    )


class RateShape(Shape):
    """A token bucket."""

    packets: int = Field(ge=1, le=RATE_MAX, description="Packets a second on average.")
    burst: int | None = Field(
        default=None, ge=1, le=RATE_MAX, description="Packets at once; without it those of one second."
    )


class SourceRateShape(RateShape):
    """A token bucket for each source prefix."""

    prefix4: Literal[24, 32] = Field(default=24, description="The length of IPv4 prefixes.")
    prefix6: Literal[56, 64] = Field(default=56, description="The length of IPv6 prefixes.")


class ProtectionShape(Shape):
    """What is dropped before it is balanced."""

    allow: Networks = Field(
        default=(), description="Networks that no rule touches, one or a list.", json_schema_extra={"default": []}
    )
    allow_files: Files = Field(
        default=(), description="Files of such networks, one a line.", json_schema_extra={"default": []}
    )
    deny: Networks = Field(
        default=(), description="Networks whose packets are dropped, one or a list.", json_schema_extra={"default": []}
    )
    deny_files: Files = Field(
        default=(), description="Files of such networks, one a line.", json_schema_extra={"default": []}
    )
    rules: dict[
        Literal["deny", "malformed", "martian", "fragment", "amplification", "source-rate", "vip-rate"], RuleMode
    ] = Field(default={}, description="off, dry-run (count only) or on, by rule.")
    amplifiers: Annotated[tuple[Annotated[int, Field(ge=0, le=65535)], ...], Field(max_length=64), OneOrList()] = Field(
        default=AMPLIFIERS,
        description="UDP source ports that reflectors answer from.",
        json_schema_extra={"default": list(AMPLIFIERS)},
    )
    source_rate: SourceRateShape | None = Field(default=None, description="What one source prefix may send.")
    vip_rate: RateShape | None = Field(default=None, description="What one VIP may get.")
    vip_rates: dict[Label, RateShape] = Field(default={}, description="The same for the VIPs of a service, by name.")
    syn_flood: Literal["off", "auto", "on"] = Field(
        default="auto", description="When new flows are not remembered: never, during a flood of SYNs, always."
    )
    syn_rate: int = Field(default=SYN_RATE, ge=1, le=RATE_MAX, description="SYNs a second to a VIP that are a flood.")


class DataplaneFile(Shape):
    """dataplane/services.yaml: services, the machines that balance them, protection, and where the secret is."""

    secret_file: Path | None = Field(default=None, description="A file with the secret that the instances share.")
    secret_env: Annotated[str | None, Read(_env, type="string", pattern=f"^{_ENV.pattern}$")] = Field(
        default=None, description="Or a variable of the environment that has it."
    )
    services: dict[Label, ServiceShape] = Field(
        default={}, max_length=SERVICES_MAX, description="What is balanced, by name."
    )
    instances: dict[Label, InstanceShape] = Field(
        default={}, description="The machines that balance, by `node` of their gtm.yaml."
    )
    protection: ProtectionShape = Field(
        default=ProtectionShape(), description="What is dropped before.", json_schema_extra={"default": {}}
    )
