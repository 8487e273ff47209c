"""What a balancer's manager says of itself, for those who show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gtm.model.address import IPAddress
from gtm.model.balance import AttachMode, Wrap


class Standing(StrEnum):
    """What a backend gets: all, only the flows that it has, or nothing."""

    ACTIVE = "active"
    DRAINING = "draining"
    OUT = "out"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendReport:
    """A backend of a service; `number` is that of the kernel's tables and counters.

    `until_s` (seconds since the epoch) is when a drain ends. `flows` are those of it that the flow table holds, None:
    not counted. While draining, `packets_per_s` says whether anybody still talks to it. `drained`: it takes no new
    flows by somebody's will, whether or not that is over.
    """

    name: str
    number: int
    address: IPAddress
    wrap: Wrap
    standing: Standing
    reason: str
    until_s: float | None = None
    flows: int | None = None
    packets_per_s: float | None = None
    drained: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceReport:
    """A service; `ring` is the number of its Maglev table in the kernel, of which `moving` slots are in transition."""

    name: str
    ring: int
    generation: int
    slots: int
    moving: int
    backends: tuple[BackendReport, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerReport:
    """Another instance of the region, as state sync sees it: `complete` once all of its flows came, `heard_s` ago."""

    node: str
    established: bool
    ready: bool
    complete: bool
    heard_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """Packets, and their octets: of the frame as it came in, for a backend of its IP packet."""

    packets: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendCounts:
    """What went to a backend since its number was first used; `opened` are SYNs, `closed` packets with FIN or RST.

    `flows` are those of it in the flow table that have not been closed.
    """

    packets: int = 0
    bytes: int = 0
    opened: int = 0
    closed: int = 0
    flows: int = 0


class Traffic(StrEnum):
    """What of a VIP an entry of the kernel's table takes: a port's, or of any port."""

    PORT = "port"
    FRAGMENTS = "fragments"
    ECHO = "echo"


@dataclass(frozen=True, slots=True, kw_only=True)
class VipCounts:
    """What came for a port of a VIP since it was first balanced, whatever became of it then; ICMP errors about it too.

    `port` is 0 for fragments (beyond the first, of `protocol`) and echo requests. `opened` are SYNs, `closed` packets
    with FIN or RST. `ring` is that of its service's table.
    """

    address: IPAddress
    traffic: Traffic
    protocol: str
    port: int
    ring: int
    packets: int = 0
    bytes: int = 0
    opened: int = 0
    closed: int = 0

    @property
    def name(self) -> str:
        """As people write it: tcp/443, tcp fragments, echo."""
        if self.traffic is Traffic.PORT:
            return f"{self.protocol}/{self.port}"
        return "echo" if self.traffic is Traffic.ECHO else f"{self.protocol} fragments"


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancerCounts:
    """The kernel's counters at `at_s`, since its maps were made; backends by number, the others by their names in C.

    `vips` are those in the kernel's table, by address and port.

    `guarded` is what went on from the guard, `dropped` what its rules dropped, `would_drop` what dry ones match; empty
    without a guard. Of the flow table's `flow_places`, `flows` are taken, `flows_closed` of those by flows that ended.
    `events_told` and `events_lost` are of the ring buffer for state sync.
    """

    at_s: float
    backends: Mapping[int, BackendCounts]
    verdicts: Mapping[str, Amount]
    guarded: Mapping[str, Amount]
    dropped: Mapping[str, Amount]
    would_drop: Mapping[str, Amount]
    flows: int
    flows_closed: int
    flow_places: int
    events_told: int
    events_lost: int
    vips: tuple[VipCounts, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancerReport:
    """A manager at `at_s`. `pins` is its folder in a bpffs, `layout` that of the maps there; `pid` 0: it has ended.

    `neighbours` has the MACs in use, None where one is not known. `ready`: the instance may attract traffic, else
    `unready` says why not.
    """

    node: str
    region: str
    interface: str
    mode: AttachMode
    at_s: float
    started_s: float
    pid: int
    pins: str
    layout: str
    services: tuple[ServiceReport, ...]
    neighbours: Mapping[IPAddress, bytes | None] = field(default_factory=dict)
    ready: bool = False
    unready: str | None = None
    problem: str | None = None
    peers: tuple[PeerReport, ...] = ()
    counts: BalancerCounts | None = None
