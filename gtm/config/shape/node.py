"""gtm.yaml: this node."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

from gtm.config import dnsnames
from gtm.config.scalars import Unfit, endpoint, shown
from gtm.config.shape.base import Read, Shape
from gtm.model.address import Endpoint

LISTEN_DEFAULT = ("127.0.0.1:5300", "[::1]:5300")
WORKERS_MAX = 256
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_ENDPOINT_PATTERN = r"^(\[[0-9A-Fa-f:.]+\]|[0-9.]+):[0-9]{1,5}$"


def _api(value: object) -> Endpoint | None:
    if value == "off":
        return None
    try:
        return endpoint(value)
    except Unfit as unfit:
        raise Unfit(unfit.message, f"{unfit.allowed}, or off") from None


def _workers(value: object) -> int:
    if value == "auto":
        return 0
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= WORKERS_MAX:
        return value
    raise Unfit(f"{shown(value)} is not a number of workers", f"auto, or 1 to {WORKERS_MAX}")


def _user(value: object) -> str:
    if isinstance(value, str) and _USER.fullmatch(value):
        return value
    raise Unfit(f"{shown(value)} is not an account name", "an account of this machine")


def _path(value: object) -> str:
    if isinstance(value, str) and value.strip() and len(value) <= 4096 and "\n" not in value:
        return value
    raise Unfit(f"{shown(value)} is not a path", "a path, absolute or relative to the deployment folder")


def _said(value: object) -> str:
    if isinstance(value, str) and 1 <= len(value) <= 255 and value.isascii() and value.isprintable():
        return value
    hint = "; put quotes around it" if isinstance(value, int | float) else ""
    raise Unfit(f"{shown(value)} cannot be sent as text{hint}", "1 to 255 printable ASCII characters")


Label = Annotated[str, Read(dnsnames.label, type="string", pattern="^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$")]
Listen = Annotated[Endpoint, Read(endpoint, type="string", pattern=_ENDPOINT_PATTERN)]
Path = Annotated[str, Read(_path, type="string", minLength=1)]
Said = Annotated[str | None, Read(_said, type="string", minLength=1, maxLength=255)]


class NodeFile(Shape):
    """gtm.yaml: this node's name, where it listens, and how it runs. Every key has a default."""

    node: Label = Field(default="gtm", description="This node's name, as logs, metrics and the audit show it.")
    region: Annotated[str | None, Read(dnsnames.label, type="string")] = Field(
        default=None, description="The region this node stands in; a key of geodata/regions.yaml."
    )
    listen: tuple[Listen, ...] = Field(
        default=tuple(map(endpoint, LISTEN_DEFAULT)),
        min_length=1,
        max_length=64,
        description="Addresses and ports for DNS, each over UDP and TCP.",
        json_schema_extra={"default": list(LISTEN_DEFAULT)},
    )
    api: Annotated[
        Endpoint | None, Read(_api, anyOf=[{"const": "off"}, {"type": "string", "pattern": _ENDPOINT_PATTERN}])
    ] = Field(
        default=None,
        description="Where the read-only API, the status page and metrics are, or off.",
        json_schema_extra={"default": "off"},
    )
    state: Path = Field(default="state", description="The state folder, relative to the deployment folder or absolute.")
    workers: Annotated[
        int, Read(_workers, anyOf=[{"const": "auto"}, {"type": "integer", "minimum": 1, "maximum": WORKERS_MAX}])
    ] = Field(
        default=0,
        description="Processes that answer DNS queries; auto is one per core.",
        json_schema_extra={"default": "auto"},
    )
    user: Annotated[str | None, Read(_user, type="string", pattern=f"^{_USER.pattern}$")] = Field(
        default=None, description="The account that workers change to after binding, if gtm starts as root."
    )
    geo: tuple[Path, ...] | None = Field(
        default=None,
        max_length=16,
        description="Geo databases (MMDB), first match wins; without it geodata/*.mmdb in alphabetical order.",
    )
    nsid: Said = Field(default=None, description="Sent to clients that ask for the name server identifier (RFC 5001).")
    id_server: Said = Field(default=None, description="The answer to id.server. CH TXT (RFC 4892); without it REFUSED.")
    version: Said = Field(default=None, description="The answer to version.bind. CH TXT; without it REFUSED.")
