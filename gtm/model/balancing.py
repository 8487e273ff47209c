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
