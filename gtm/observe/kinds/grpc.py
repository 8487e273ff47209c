"""The standard gRPC health check, grpc.health.v1.Health/Check, over HTTP/2.

The two messages are a field each (health.proto of grpc/grpc-proto), so they are written and read here by hand.
"""

from __future__ import annotations

import urllib.parse

from gtm.model.address import Endpoint
from gtm.model.check import GrpcProbe, Target
from gtm.observe.attempt import Attempt
from gtm.observe.kinds.http2 import opened
from gtm.observe.kinds.session import Session
from gtm.observe.kinds.words import printable
from gtm.observe.outcome import ProbeFault, Reason

SERVICE_MAX = 1024
_PATH = "/grpc.health.v1.Health/Check"
_SERVING = 1
_STATUSES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
_CODES = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
_VARINT_MAX_BYTES = 10


class GrpcAsk:
    """Asks for the health of one service. Raises ValueError for a service whose name cannot be sent."""

    __slots__ = ("_headers", "_message", "_name", "_probe", "_target")

    def __init__(self, target: Target, probe: GrpcProbe) -> None:
        if len(probe.service) > SERVICE_MAX:
            raise ValueError(f"the service's name is too long (allowed: up to {SERVICE_MAX} characters)")
        self._target = target
        self._probe = probe
        authority = probe.authority or str(Endpoint(address=target.address, port=probe.port))
        self._name = (probe.tls.server_name if probe.tls else None) or _host(probe.authority) or str(target.address)
        self._headers = (
            (":method", "POST"),
            (":scheme", "http" if probe.tls is None else "https"),
            (":authority", authority),
            (":path", _PATH),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", "gtm-probe"),
        )
        self._message = encode_request(probe.service)

    async def __call__(self, attempt: Attempt) -> str:
        """SERVING. Raises ProbeFault for all else."""
        session = await opened(attempt, self._target.address, self._probe.port, self._probe.tls, self._name)
        await session.ask(self._headers, self._message)
        while not session.ended:
            await session.advance()
        _check_response(session)
        status = decode_response(bytes(session.body))
        words = _STATUSES[status] if status < len(_STATUSES) else f"status {status}"
        if status != _SERVING:
            raise ProbeFault(Reason.STATUS, words)
        return words


def encode_request(service: str) -> bytes:
    """A HealthCheckRequest as gRPC frames it: not compressed, four octets of length, field 1 with the service."""
    name = service.encode()
    message = b"\x0a" + _varint(len(name)) + name if name else b""
    return b"\0" + len(message).to_bytes(4, "big") + message


def decode_response(body: bytes) -> int:
    """The ServingStatus in a framed HealthCheckResponse; 0 where it is left out. Raises ProbeFault."""
    if len(body) < 5 or body[0] != 0 or len(body) != 5 + int.from_bytes(body[1:5], "big"):
        raise ProbeFault(Reason.PROTOCOL, "the answer is not one gRPC message")
    message, at, status = body[5:], 0, 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        match tag & 7:
            case 0:
                value, at = _read_varint(message, at)
                status = value if tag >> 3 == 1 else status
            case 1:
                at += 8
            case 2:
                size, at = _read_varint(message, at)
                at += size
            case 5:
                at += 4
            case _:
                raise _malformed()
    if at > len(message):
        raise _malformed()
    return status


def _check_response(session: Session) -> None:
    """That it is gRPC's, and went well. Errors may come without a body, all in the headers ("trailers only")."""
    kind = session.headers.get(b"content-type", b"")
    if session.status != 200:
        raise ProbeFault(Reason.STATUS, f"status {session.status}")
    if not kind.startswith(b"application/grpc"):
        raise ProbeFault(Reason.PROTOCOL, "the answer is not gRPC's")
    said = {**session.headers, **session.trailers}
    code = said.get(b"grpc-status", b"")
    if not code.isdigit() or len(code) > 3:
        raise ProbeFault(Reason.PROTOCOL, "the answer has no gRPC status")
    if number := int(code):
        name = _CODES[number] if number < len(_CODES) else f"status {number}"
        words = printable(urllib.parse.unquote(said.get(b"grpc-message", b"").decode("ascii", "replace")))
        raise ProbeFault(Reason.STATUS, f"gRPC {name}: {words}" if words else f"gRPC {name}")


def _varint(number: int) -> bytes:
    """A number in groups of seven bits, the lowest first."""
    octets = bytearray()
    while number > 0x7F:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    octets.append(number)
    return bytes(octets)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """(number, where it ends). Raises ProbeFault."""
    number = 0
    for position, octet in enumerate(data[at : at + _VARINT_MAX_BYTES]):
        number |= (octet & 0x7F) << (7 * position)
        if octet < 0x80:
            return number, at + position + 1
    raise _malformed()


def _malformed() -> ProbeFault:
    return ProbeFault(Reason.PROTOCOL, "the answer is no HealthCheckResponse")


def _host(authority: str | None) -> str | None:
    """An authority's host, without port and brackets."""
    return urllib.parse.urlsplit(f"//{authority}").hostname if authority else None
