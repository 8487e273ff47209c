"""How an instance is judged: what is asked of it, how often, and how many answers make a verdict."""

from __future__ import annotations

from dataclasses import dataclass

from gtm.model.address import IPAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class Cadence:
    """When a check runs and when its verdict changes.

    `interval_s` between starts, spread by `jitter` (a share of the interval, 0 to 0.5); `timeout_s` for the whole
    probe; `fall` failures in a row make DOWN, `rise` successes in a row make UP.
    """

    interval_s: float = 10.0
    timeout_s: float = 3.0
    fall: int = 3
    rise: int = 2
    jitter: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """TLS with the certificate verified (RFC 5280, RFC 9525) against the system's roots or `ca_file`.

    `server_name` is sent as SNI and must be in the certificate; without it the probe's host, else its address.
    """

    server_name: str | None = None
    ca_file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpProbe:
    """An HTTP/1.1 request (RFC 9112) and what a good answer looks like.

    `statuses` are inclusive ranges; `body`, if given, is a regular expression searched in the first 64 KiB.
    """

    method: str = "GET"
    path: str = "/"
    host: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    statuses: tuple[tuple[int, int], ...] = ((200, 299),)
    body: str | None = None
    tls: Tls | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpProbe:
    """A TCP connection that must be accepted."""


Probe = HttpProbe | TcpProbe


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A named check: a probe of a port at some cadence."""

    name: str
    port: int
    probe: Probe
    cadence: Cadence = Cadence()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is actually probed: an address under a check. Pools that share it share its health."""

    check: str
    address: IPAddress

    def __str__(self) -> str:
        return f"{self.check}@{self.address}"
