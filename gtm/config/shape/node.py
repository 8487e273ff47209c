"""gtm.yaml: this node."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

from gtm.config import dnsnames
from gtm.config.scalars import Unfit, endpoint, seconds, shown
from gtm.config.shape.base import Read, Shape
from gtm.model.address import Endpoint
from gtm.model.cluster import LEASE_S

LISTEN_DEFAULT = ("127.0.0.1:5300", "[::1]:5300")
WORKERS_MAX = 256
LEASE_MIN_S, LEASE_MAX_S = 2.0, 60.0
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_ENDPOINT_PATTERN = r"^(\[[0-9A-Fa-f:.]+\]|[0-9.]+):[0-9]{1,5}$"
_URL = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)(:([0-9]{1,5}))?/?")
_PREFIX = re.compile(r"(/[A-Za-z0-9._-]{1,63}){1,8}")


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


def _store(value: object) -> str:
    if value in ("sqlite", "etcd"):
        return str(value)
    raise Unfit(f"{shown(value)} is not a kind of store", "sqlite, etcd; the folder is state_folder")


def _url(value: object) -> str:
    found = _URL.fullmatch(value) if isinstance(value, str) else None
    if found is not None and 1 <= int(found[4] or 2379) <= 65535:
        return found[0].rstrip("/") if found[3] else f"{found[0].rstrip('/')}:2379"
    raise Unfit(f"{shown(value)} is not a client URL", "http://HOST:PORT or https://HOST:PORT; without port 2379")


def _prefix(value: object) -> str:
    if isinstance(value, str) and _PREFIX.fullmatch(value):
        return value
    raise Unfit(f"{shown(value)} is not a prefix", "/NAME or /NAME/NAME of letters, digits, '.', '_' and '-'")


def _account(value: object) -> str:
    if isinstance(value, str) and 1 <= len(value) <= 255 and value.isprintable():
        return value
    hint = "; put quotes around it" if isinstance(value, int | float) else ""
    raise Unfit(f"{shown(value)} is not a user of etcd{hint}", "1 to 255 characters")


def _lease(value: object) -> float:
    lease_s = seconds(value)
    if not LEASE_MIN_S <= lease_s <= LEASE_MAX_S:
        raise Unfit(f"{shown(value)} is out of range", f"{LEASE_MIN_S:g}s to {LEASE_MAX_S:g}s")
    return lease_s


def _said(value: object) -> str:
    if isinstance(value, str) and 1 <= len(value) <= 255 and value.isascii() and value.isprintable():
        return value
    hint = "; put quotes around it" if isinstance(value, int | float) else ""
    raise Unfit(f"{shown(value)} cannot be sent as text{hint}", "1 to 255 printable ASCII characters")


Label = Annotated[str, Read(dnsnames.label, type="string", pattern="^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$")]
Listen = Annotated[Endpoint, Read(endpoint, type="string", pattern=_ENDPOINT_PATTERN)]
Path = Annotated[str, Read(_path, type="string", minLength=1)]
Said = Annotated[str | None, Read(_said, type="string", minLength=1, maxLength=255)]


class EtcdShape(Shape):
    """The etcd cluster that nodes share, and how it is reached."""

    endpoints: tuple[Annotated[str, Read(_url, type="string", pattern=f"^{_URL.pattern}$")], ...] = Field(
        min_length=1, max_length=16, description="Client URLs of its members, tried in turn; all http or all https."
    )
    prefix: Annotated[str, Read(_prefix, type="string", pattern=f"^{_PREFIX.pattern}$")] = Field(
        default="/gtm", description="What all keys begin with; nodes that share something have the same."
    )
    ca_file: Path | None = Field(
        default=None, description="PEM file of the roots to trust for https, instead of the system's."
    )
    cert_file: Path | None = Field(default=None, description="PEM file of this node's certificate, for https.")
    key_file: Path | None = Field(default=None, description="PEM file of that certificate's key.")
    user: Annotated[str | None, Read(_account, type="string", minLength=1, maxLength=255)] = Field(
        default=None, description="The user of etcd that this node is, where etcd asks for one."
    )
    password_file: Path | None = Field(default=None, description="A file that holds that user's password.")
    lease: Annotated[float, Read(_lease, anyOf=[{"type": "string"}, {"type": "number"}])] = Field(
        default=LEASE_S,
        description="A node that has not been heard of for so long is gone; 2s to 1m.",
        json_schema_extra={"default": LEASE_S},
    )


class PushShape(Shape):
    """What may be pushed to this node, and by whom."""

    token_file: Path = Field(description="A file that holds the word that whoever pushes must know.")


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
    state: Annotated[str, Read(_store, enum=["sqlite", "etcd"])] = Field(
        default="sqlite",
        description="Where orders of people are kept: sqlite is this node's own, etcd is shared.",
    )
    state_folder: Path = Field(
        default="state", description="The state folder, relative to the deployment folder or absolute."
    )
    etcd: EtcdShape | None = Field(default=None, description="With state: etcd, the cluster and how it is reached.")
    push: PushShape | None = Field(default=None, description="Lets others push results to the API.")
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
