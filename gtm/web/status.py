"""What a node says of itself: one value that the page, the API, the metrics and `gtm status` all show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gtm.model.address import IPAddress
from gtm.model.announcing import AnnouncerReport
from gtm.model.balancing import BalancerCounts, PeerReport, ServiceReport
from gtm.model.check import Target
from gtm.model.cluster import ClusterState
from gtm.model.health import Health, Result, Vote
from gtm.model.load import LoadSummary
from gtm.model.override import Override
from gtm.model.place import Coordinates
from gtm.model.rtt import RttState


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerStatus:
    """The process that probes, decides and publishes. `heartbeat_age_s` is None where it was never seen."""

    alive: bool
    pid: int | None = None
    heartbeat_age_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TableStatus:
    """The published answers: their revision, and seconds since a controller last vouched for them.

    `age_s` is None where none has since the machine started.
    """

    revision: int
    age_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatus:
    """A process that answers queries: its slot ("dns-0"), the revision it serves, and its counters by name."""

    name: str
    pid: int
    alive: bool
    revision: int
    counters: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceStatus:
    """An instance in one pool: its effective health, and what its check says.

    `target` is what is probed (None: nothing is); `judged` is the check's own verdict, in force since `since_s`;
    `streak` counts the latest results that contradict it, of which `last` is the newest. `stale`: the check has not run
    lately, and the verdict is an old one; `votes` are those of all nodes, where there are others.
    """

    label: str
    weight: int
    health: Health
    available: bool
    reason: str
    target: Target | None = None
    judged: Health | None = None
    since_s: float | None = None
    streak: int = 0
    last: Result | None = None
    stale: bool = False
    votes: tuple[Vote, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRegionStatus:
    """A pool's part in one region."""

    region: str
    available: bool
    healthy: int
    total: int
    reason: str
    instances: tuple[InstanceStatus, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStatus:
    """A pool: the names it answers for and its regions. `all_down` when none of them is available."""

    name: str
    names: tuple[str, ...]
    all_down: bool
    regions: tuple[PoolRegionStatus, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionStatus:
    """A region over all pools: `pools_available` of `pools_total` can be answered from it."""

    name: str
    coordinates: Coordinates
    share: float | None
    pools_available: int
    pools_total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseStatus:
    """A geo database: its file, what its licence asks us to say, and when it was built."""

    file: str
    attribution: str
    built_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BfdStatus:
    """A BFD session with a peer; `up` None in a state that is not known here.

    FRR tells of some of the figures, BIRD of others.
    """

    peer: IPAddress
    up: bool | None
    since_s_ago: float | None = None
    transmit_ms: float | None = None
    receive_ms: float | None = None
    multiplier: int | None = None
    timeout_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnouncementsStatus:
    """What the announcer of this machine last said, `age_s` ago; None where none has run.

    `alive`: it has said something within its lease. `bfd` are the sessions of the daemon beside ExaBGP, where
    neighbours have BFD; `bfd_problem` is why they are not known.
    """

    report: AnnouncerReport | None
    age_s: float | None = None
    alive: bool = False
    bfd: tuple[BfdStatus, ...] = ()
    bfd_problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancerStatus:
    """What the balancer's manager here last said, `age_s` ago; None where none has run. `pid` 0: it has ended.

    `alive`: it has said something lately. `ready`: the instance may attract traffic, else `unready` says why not.
    """

    node: str
    region: str
    interface: str
    mode: str
    age_s: float | None = None
    pid: int = 0
    alive: bool = False
    ready: bool = False
    unready: str | None = None
    problem: str | None = None
    services: tuple[ServiceReport, ...] = ()
    peers: tuple[PeerReport, ...] = ()
    counts: BalancerCounts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One node at one moment. `probes` are the prober's counters by name, `faults` why targets cannot be probed here.

    `reload_problem` is what the last reload failed on, None when it did not; `problems` is everything that somebody
    should look at, that included.
    """

    node: str
    region: str | None
    version: str
    now_s: float
    controller: ControllerStatus
    table: TableStatus | None
    workers: tuple[WorkerStatus, ...]
    regions: tuple[RegionStatus, ...]
    pools: tuple[PoolStatus, ...]
    overrides: tuple[Override, ...]
    databases: tuple[DatabaseStatus, ...]
    probes: Mapping[str, float] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)
    cluster: ClusterState | None = None
    load: LoadSummary | None = None
    rtt: RttState | None = None
    announcements: AnnouncementsStatus | None = None
    balancer: BalancerStatus | None = None
    reload_problem: str | None = None
    problems: tuple[str, ...] = ()
