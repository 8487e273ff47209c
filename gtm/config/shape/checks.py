"""probes/checks.yaml: how instances are judged."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field

from gtm.config import dnsnames
from gtm.config.scalars import Unfit, seconds, share, shown
from gtm.config.shape.base import OneOrList, Read, Shape
from gtm.config.shape.node import Label, Path
from gtm.config.shape.regions import SHARE_SCHEMA
from gtm.model.check import Cadence

INTERVAL_MIN_S, INTERVAL_MAX_S = 0.1, 3600.0
TIMEOUT_MIN_S = 0.01
RUN_MAX = 100
JITTER_MAX = 0.5
BODY_MAX = 1000

_RANGE = re.compile(r"([0-9]{3})(?:\.\.([0-9]{3}))?")
_REQUEST_PATH = re.compile(r"/[!-~]{0,2000}")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")  # RFC 9110 5.6.2
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?")
_OURS = frozenset(("host", "connection", "content-length", "transfer-encoding", "upgrade", "expect"))
DURATION_SCHEMA = {
    "anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)?$"}]
}


def _between(low_s: float, high_s: float, value: object) -> float:
    found = seconds(value)
    if low_s <= found <= high_s:
        return found
    raise Unfit(f"{shown(value)} is out of range", f"{low_s:g}s to {high_s:g}s")


def _interval(value: object) -> float:
    return _between(INTERVAL_MIN_S, INTERVAL_MAX_S, value)


def _timeout(value: object) -> float:
    return _between(TIMEOUT_MIN_S, INTERVAL_MAX_S, value)


def _jitter(value: object) -> float:
    found = share(value)
    if found <= JITTER_MAX:
        return found
    raise Unfit(f"{shown(value)} is out of range", f"0% to {JITTER_MAX:.0%}")


def _path(value: object) -> str:
    if isinstance(value, str) and _REQUEST_PATH.fullmatch(value):
        return value
    raise Unfit(f"{shown(value)} is not a request path", "a path that starts with / (%20 for a space)")


def _statuses(value: object) -> tuple[int, int]:
    allowed = "a status (200) or a range (200..399) from 100 to 599"
    found = _RANGE.fullmatch(str(value)) if isinstance(value, str | int) else None
    if found is None:
        raise Unfit(f"{shown(value)} is not an HTTP status", allowed)
    low, high = int(found[1]), int(found[2] or found[1])
    if not 100 <= low <= high <= 599:
        raise Unfit(f"{shown(value)} is not an HTTP status", allowed)
    return low, high


def _body(value: object) -> str:
    if not isinstance(value, str) or not value or len(value) > BODY_MAX:
        raise Unfit(f"{shown(value)} is not a regular expression", f"text of 1 to {BODY_MAX} characters; quote numbers")
    try:
        re.compile(value)
    except (re.error, OverflowError, RecursionError) as error:
        raise Unfit(f"{shown(value)} is not a regular expression: {error}", "Python's re syntax") from None
    return value


def _header_name(value: object) -> str:
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise Unfit(f"{shown(value)} is not a header name", "a token (RFC 9110)")
    if value.lower() in _OURS:
        hint = "; use host:" if value.lower() == "host" else ""
        raise Unfit(f"the header {value} is set by gtm itself{hint}", "any other header")
    return value


def _header_value(value: object) -> str:
    if isinstance(value, str) and len(value) <= 4096 and value.isascii() and all(c.isprintable() for c in value):
        return value
    hint = "; put quotes around it" if isinstance(value, int | float) else ""
    raise Unfit(f"{shown(value)} is not a header value{hint}", "printable ASCII text")


def _host(value: object) -> str:
    if isinstance(value, str) and _HOST.fullmatch(value):
        return value
    raise Unfit(f"{shown(value)} is not a host", "a host name or address, optionally with :PORT")


def _server_name(value: object) -> str:
    if not isinstance(value, str) or len(value) < 2:
        raise Unfit(f"{shown(value)} is not a host name", "the name in the server's certificate")
    return dnsnames.absolute(f"{value.removesuffix('.')}.").removesuffix(".")


Port = Annotated[int, Field(ge=1, le=65535, description="The port that is probed.")]
Statuses = Annotated[
    tuple[int, int],
    Read(
        _statuses,
        anyOf=[
            {"type": "integer", "minimum": 100, "maximum": 599},
            {"type": "string", "pattern": r"^[1-5][0-9]{2}(\.\.[1-5][0-9]{2})?$"},
        ],
    ),
]
HeaderName = Annotated[str, Read(_header_name, type="string", pattern=f"^{_TOKEN.pattern}$")]
HeaderValue = Annotated[str, Read(_header_value, type="string")]


class HttpShape(Shape):
    """An HTTP/1.1 request and what a good answer looks like."""

    port: Port = 80
    path: Annotated[str, Read(_path, type="string", pattern="^/")] = Field(
        default="/", description="What is asked for."
    )
    host: Annotated[str | None, Read(_host, type="string")] = Field(
        default=None, description="The Host header; without it the instance's address."
    )
    method: Literal["GET", "HEAD", "OPTIONS"] = Field(default="GET", description="The request method.")
    statuses: Annotated[tuple[Statuses, ...], Field(min_length=1, max_length=64), OneOrList()] = Field(
        default=((200, 299),),
        description="Good statuses: one or a list of numbers and ranges.",
        json_schema_extra={"default": ["200..299"]},
    )
    body: Annotated[str | None, Read(_body, type="string", minLength=1, maxLength=BODY_MAX)] = Field(
        default=None, description="A regular expression that must match somewhere in the first 64 KiB of the body."
    )
    headers: dict[HeaderName, HeaderValue] = Field(
        default_factory=dict, max_length=64, description="Further request headers.", json_schema_extra={"default": {}}
    )


class HttpsShape(HttpShape):
    """The same over TLS, with the certificate verified."""

    port: Port = 443
    server_name: Annotated[str | None, Read(_server_name, type="string")] = Field(
        default=None, description="Sent as SNI, and must be in the certificate; without it the host, else the address."
    )
    ca_file: Path | None = Field(
        default=None, description="PEM file of the roots to trust, instead of the system's; relative to the folder."
    )


class TcpShape(Shape):
    """A TCP connection that must be accepted."""

    port: Port


class CheckShape(Shape):
    """One check: exactly one of http, https and tcp, and its cadence."""

    http: HttpShape | None = Field(default=None, description="Judge by an HTTP request.")
    https: HttpsShape | None = Field(
        default=None, description="Judge by an HTTPS request; the certificate is verified."
    )
    tcp: TcpShape | None = Field(default=None, description="Judge by a TCP connection.")
    interval: Annotated[float, Read(_interval, **DURATION_SCHEMA)] = Field(
        default=Cadence().interval_s, description="Time between the starts of two probes of one address."
    )
    timeout: Annotated[float | None, Read(_timeout, **DURATION_SCHEMA)] = Field(
        default=None,
        description="Time for the whole probe; at most the interval. Default 3s, or the interval if that is shorter.",
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


class ChecksFile(Shape):
    """probes/checks.yaml: checks by name."""

    checks: dict[Label, CheckShape] = Field(description="Checks by name.")
