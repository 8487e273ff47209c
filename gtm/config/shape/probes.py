"""What a check asks of an instance: one mapping for each kind, in probes/checks.yaml."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import dns.exception
import dns.rcode
import dns.rdatatype
from pydantic import Field

from gtm.config import dnsnames
from gtm.config.scalars import Unfit, shown
from gtm.config.shape.base import OneOrList, Read, Shape
from gtm.config.shape.durations import DURATION_SCHEMA, between
from gtm.config.shape.node import Path
from gtm.model.check import FileProbe, HttpVersion, IcmpProbe, PushProbe

BODY_MAX = 1000
DATAGRAM_MAX_BYTES = 1400
ECHO_MIN_BYTES, ECHO_MAX_BYTES = 16, 65000
TTL_MIN_S, TTL_MAX_S = 1.0, 86400.0
EXPIRES_MAX_S = 3650 * 86400.0

_RANGE = re.compile(r"([0-9]{3})(?:\.\.([0-9]{3}))?")
_REQUEST_PATH = re.compile(r"/[!-~]{0,2000}")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")  # RFC 9110 5.6.2
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?")
_OURS = frozenset(("host", "connection", "content-length", "transfer-encoding", "upgrade", "expect"))
_HEX = re.compile(r"hex:((?:[0-9A-Fa-f]{2})*)")


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


def _version(value: object) -> HttpVersion:
    for version in HttpVersion:
        if str(value) in {version.value, f"{version.value}.0"} and not isinstance(value, bool):
            return version
    raise Unfit(f"{shown(value)} is not a version of HTTP that is spoken here", "1.1, 2")


def _qname(value: object) -> str:
    if value == ".":
        return value
    if not isinstance(value, str) or len(value) < 2:
        raise Unfit(f"{shown(value)} is not a name", "a name of the DNS such as www.example.com")
    return dnsnames.absolute(f"{value.removesuffix('.')}.", wildcard=True)


def _qtype(value: object) -> int:
    allowed = "a type of records such as A, AAAA, SOA, MX or TYPE65"
    try:
        found = dns.rdatatype.from_text(value) if isinstance(value, str) else None
    except (dns.exception.DNSException, ValueError):
        found = None
    if found is None or found == 0 or dns.rdatatype.is_metatype(found):
        raise Unfit(f"{shown(value)} is not a type that can be asked for", allowed)
    return int(found)


def _rcode(value: object) -> int:
    try:
        if isinstance(value, str) and not value.isdigit():
            return int(dns.rcode.from_text(value))
    except (dns.exception.DNSException, ValueError):
        pass
    raise Unfit(f"{shown(value)} is not an rcode", "NOERROR, NXDOMAIN, REFUSED or the like")


def _octets(value: object) -> bytes:
    allowed = f"text, or octets as hex:0fa0, up to {DATAGRAM_MAX_BYTES} of them; quote numbers"
    if not isinstance(value, str):
        raise Unfit(f"{shown(value)} cannot be sent", allowed)
    found = _HEX.fullmatch(value)
    if found is None and value.startswith("hex:"):
        raise Unfit(f"{shown(value)} is not in hex", allowed)
    octets = bytes.fromhex(found[1]) if found is not None else value.encode()
    if len(octets) > DATAGRAM_MAX_BYTES:
        raise Unfit(f"{len(octets)} octets are too many", allowed)
    return octets


def _octet_pattern(value: object) -> bytes:
    pattern = _body(value).encode()
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise Unfit(f"{shown(value)} is not a regular expression over octets: {error}", "Python's re syntax") from None
    return pattern


def _argument(value: object) -> str:
    if isinstance(value, str) and len(value) <= 4096 and "\0" not in value:
        return value
    hint = "; put quotes around it" if isinstance(value, int | float) else ""
    raise Unfit(f"{shown(value)} is not an argument{hint}", "text")


def _service(value: object) -> str:
    if isinstance(value, str) and len(value) <= 1000 and value.isprintable():
        return value
    raise Unfit(f"{shown(value)} is not the name of a service", "text such as my.package.Service")


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
Pattern = Annotated[str | None, Read(_body, type="string", minLength=1, maxLength=BODY_MAX)]
HostName = Annotated[str | None, Read(_server_name, type="string")]
Expires = Annotated[float | None, Read(between(0, EXPIRES_MAX_S), **DURATION_SCHEMA)]
Ttl = Annotated[float, Read(between(TTL_MIN_S, TTL_MAX_S), **DURATION_SCHEMA)]


class SaysDegradedShape(Shape):
    """How a target says of itself that it is DEGRADED."""

    statuses: Annotated[tuple[Statuses, ...], Field(max_length=64), OneOrList()] = Field(
        default=(),
        description="Statuses of a target that calls itself DEGRADED; they are good ones.",
        json_schema_extra={"default": []},
    )
    body: Pattern = Field(default=None, description="A regular expression found in the body of such a target.")


class HttpShape(Shape):
    """An HTTP request and what a good answer looks like."""

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
    body: Pattern = Field(
        default=None, description="A regular expression that must match somewhere in the first 64 KiB of the body."
    )
    headers: dict[HeaderName, HeaderValue] = Field(
        default_factory=dict, max_length=64, description="Further request headers.", json_schema_extra={"default": {}}
    )

    version: Annotated[HttpVersion, Read(_version, anyOf=[{"enum": [1.1, 2, 2.0]}, {"enum": ["1.1", "2"]}])] = Field(
        default=HttpVersion.HTTP_1_1,
        description="The version of HTTP; 2 without TLS is by prior knowledge.",
        json_schema_extra={"default": "1.1"},
    )
    reuse: bool = Field(default=False, description="Keep the connection for the next probe.")
    degraded: SaysDegradedShape = Field(
        default_factory=SaysDegradedShape,
        description="How a target says of itself that it is DEGRADED.",
        json_schema_extra={"default": {}},
    )


class HttpsShape(HttpShape):
    """The same over TLS, with the certificate verified."""

    port: Port = 443
    server_name: HostName = Field(
        default=None, description="Sent as SNI, and must be in the certificate; without it the host, else the address."
    )
    ca_file: Path | None = Field(
        default=None, description="PEM file of the roots to trust, instead of the system's; relative to the folder."
    )
    expires: Expires = Field(
        default=None, description="A certificate that ends within this time makes the instance DEGRADED."
    )


class TcpShape(Shape):
    """A TCP connection that must be accepted."""

    port: Port


class TlsOptionsShape(Shape):
    """TLS with the certificate verified."""

    server_name: HostName = Field(
        default=None, description="Sent as SNI, and must be in the certificate; without it the host, else the address."
    )
    ca_file: Path | None = Field(
        default=None, description="PEM file of the roots to trust, instead of the system's; relative to the folder."
    )
    expires: Expires = Field(
        default=None, description="A certificate that ends within this time makes the instance DEGRADED."
    )


class TlsShape(TlsOptionsShape):
    """A TLS handshake that must succeed, with a good certificate."""

    port: Port = 443


class DnsShape(Shape):
    """A DNS query and what a good answer looks like."""

    port: Port = 53
    name: Annotated[str, Read(_qname, type="string")] = Field(description="The name that is asked for, absolute.")
    type: Annotated[int, Read(_qtype, type="string")] = Field(
        default=1, description="The type of records that is asked for.", json_schema_extra={"default": "A"}
    )
    rcodes: Annotated[
        tuple[Annotated[int, Read(_rcode, type="string")], ...], Field(min_length=1, max_length=16), OneOrList()
    ] = Field(default=(0,), description="Good rcodes: one or a list.", json_schema_extra={"default": ["NOERROR"]})
    answer: Pattern = Field(
        default=None, description="A regular expression that must match the data of some record of the answer."
    )
    tcp: bool = Field(default=False, description="Ask over TCP; without it over UDP, and TCP where that is truncated.")


class IcmpShape(Shape):
    """An echo request that must be answered."""

    size: int = Field(
        default=IcmpProbe().size_bytes,
        ge=ECHO_MIN_BYTES,
        le=ECHO_MAX_BYTES,
        description="How many octets are sent along.",
    )


class GrpcShape(Shape):
    """The standard gRPC health check, which must say SERVING."""

    port: Port
    service: Annotated[str | None, Read(_service, type="string")] = Field(
        default=None, description="The service; without it the server as a whole."
    )
    authority: Annotated[str | None, Read(_host, type="string")] = Field(
        default=None, description="The :authority of the call; without it the instance's address and the port."
    )
    tls: TlsOptionsShape | None = Field(default=None, description="Ask over TLS; {} for all defaults.")


class UdpShape(Shape):
    """A datagram that must be answered."""

    port: Port
    send: Annotated[bytes, Read(_octets, type="string")] = Field(description="What is sent: text, or hex:0fa0.")
    expect: Annotated[bytes | None, Read(_octet_pattern, type="string", minLength=1, maxLength=BODY_MAX)] = Field(
        default=None, description="A regular expression over octets that must match the answer; without it any will do."
    )


class ExecShape(Shape):
    """A program whose exit code is the result; never a shell."""

    run: tuple[Annotated[str, Read(_argument, type="string")], ...] = Field(
        min_length=1,
        max_length=64,
        description="The program and its arguments; {address} in one stands for the instance's address.",
    )
    degraded: Annotated[tuple[Annotated[int, Field(ge=1, le=255)], ...], Field(max_length=64), OneOrList()] = Field(
        default=(), description="Exit codes that mean DEGRADED.", json_schema_extra={"default": []}
    )


class FileShape(Shape):
    """A result that something else leaves in a file."""

    path: Path = Field(description="The file; {address} in it stands for the instance's address.")
    ttl: Ttl = Field(default=FileProbe(path="").ttl_s, description="An older file says nothing any more.")


class PushShape(Shape):
    """A result that something else pushes to this node."""

    ttl: Ttl = Field(default=PushProbe().ttl_s, description="An older result says nothing any more.")
