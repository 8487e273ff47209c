"""How an instance is judged: what is asked of it, how often, by whom, and how many answers make a verdict."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from gtm.model.address import IPAddress

QUORUM_DEFAULT = 0.51
WINDOW_DEFAULT = 20
WINDOW_MAX = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Cadence:
    """When a check runs and when its verdict changes.

    `interval_s` between starts, spread by `jitter` (a share of the interval, 0 to 0.5); `timeout_s` for the whole
    probe; `fall` failures in a row make DOWN, `rise` successes in a row make UP. While results contradict the verdict
    the interval is `fast_s`, if given; for targets that nobody asks about it is `idle_s`, if given.
    """

    interval_s: float = 10.0
    timeout_s: float = 3.0
    fall: int = 3
    rise: int = 2
    jitter: float = 0.1
    fast_s: float | None = None
    idle_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Degraded:
    """When a target that answers is DEGRADED: slower than `latency_s`, or `errors` of its last `window` probes failed.

    `errors` is a share above 0 and up to 1; None: not judged by that. What a target says of itself is in its probe.
    """

    latency_s: float | None = None
    errors: float | None = None
    window: int = WINDOW_DEFAULT


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """TLS with the certificate verified (RFC 5280, RFC 9525) against the system's roots or `ca_file`.

    `server_name` is sent as SNI and must be in the certificate; without it the probe's host, else its address. A
    certificate that ends within `expires_s` makes the target DEGRADED.
    """

    server_name: str | None = None
    ca_file: str | None = None
    expires_s: float | None = None


class HttpVersion(StrEnum):
    """The version of HTTP that a probe speaks; HTTP/2 without TLS is by prior knowledge (RFC 9113 section 3.3)."""

    HTTP_1_1 = "1.1"
    HTTP_2 = "2"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpProbe:
    """An HTTP request (RFC 9110) and what a good answer looks like.

    `statuses` are inclusive ranges; `body`, if given, is a regular expression searched in the first 64 KiB. A status
    in `degraded_statuses`, or a body in which `degraded_body` is found, is a target that calls itself DEGRADED. With
    `reuse` the connection is kept for the next probe.
    """

    port: int = 80
    method: str = "GET"
    path: str = "/"
    host: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    statuses: tuple[tuple[int, int], ...] = ((200, 299),)
    body: str | None = None
    degraded_statuses: tuple[tuple[int, int], ...] = ()
    degraded_body: str | None = None
    version: HttpVersion = HttpVersion.HTTP_1_1
    reuse: bool = False
    tls: Tls | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpProbe:
    """A TCP connection that must be accepted."""

    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsProbe:
    """A TLS handshake that must succeed with a good certificate."""

    port: int
    tls: Tls = Tls()


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsProbe:
    """A DNS query (RFC 1035) and what a good answer looks like.

    `qname` is absolute in presentation form, `qtype` and `rcodes` are their numbers; `answer`, if given, is a regular
    expression that must match the rdata of some answer in presentation form.
    """

    port: int = 53
    qname: str = "."
    qtype: int = 6
    rcodes: tuple[int, ...] = (0,)
    answer: str | None = None
    tcp: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class IcmpProbe:
    """An echo request (RFC 792, RFC 4443) of `size_bytes` that must be answered."""

    size_bytes: int = 56


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcProbe:
    """The standard gRPC health check (grpc.health.v1.Health/Check) of a service; "" is the server as a whole."""

    port: int
    service: str = ""
    authority: str | None = None
    tls: Tls | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UdpProbe:
    """A datagram, and a regular expression over octets that the answer must match (None: any answer)."""

    port: int
    send: bytes = b""
    expect: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecProbe:
    """A program with its arguments, never a shell: exit code 0 is good, one of `degraded_exits` DEGRADED, others bad.

    "{address}" in an argument stands for the target's address.
    """

    argv: tuple[str, ...]
    degraded_exits: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileProbe:
    """A result that something else writes into a file; one older than `ttl_s` says nothing any more.

    "{address}" in `path` stands for the target's address.
    """

    path: str
    ttl_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PushProbe:
    """A result that something else pushes; one older than `ttl_s` says nothing any more."""

    ttl_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A check that a composed one looks at: at the same address, or at `address`."""

    check: str
    address: IPAddress | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Not:
    """UP where the other is DOWN, and DOWN where it is UP or DEGRADED."""

    of: Term


@dataclass(frozen=True, slots=True, kw_only=True)
class AtLeast:
    """The health that at least `count` of the terms have or surpass: all of them is "and", 1 is "or"."""

    count: int
    of: tuple[Term, ...]


Term = Member | Not | AtLeast


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """No probe of its own: a health that follows from that of other checks."""

    term: Term

    def members(self) -> Iterator[Member]:
        """The checks that it looks at, from left to right."""
        yield from _members(self.term)


def _members(term: Term) -> Iterator[Member]:
    match term:
        case Member():
            yield term
        case Not(of=other):
            yield from _members(other)
        case AtLeast(of=terms):
            for each in terms:
                yield from _members(each)


Probe = (
    HttpProbe | TcpProbe | TlsProbe | DnsProbe | IcmpProbe | GrpcProbe | UdpProbe | ExecProbe | FileProbe | PushProbe
    | Composed
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A named check: a probe at some cadence.

    A target is DOWN when at least the share `quorum` of the vantage points that see it call it DOWN. At most
    `vantages` nodes probe one target (None: all), so that a cluster's probes of it stay within a budget.
    """

    name: str
    probe: Probe
    cadence: Cadence = Cadence()
    degraded: Degraded = Degraded()
    quorum: float = QUORUM_DEFAULT
    vantages: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is actually probed: an address under a check. Pools that share it share its health."""

    check: str
    address: IPAddress

    def __str__(self) -> str:
        return f"{self.check}@{self.address}"
