"""What an announcer says of itself: each service's phase, four facts of each route, each neighbour's session.

Times are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gtm.model.address import IPAddress, IPNetwork
from gtm.model.anycast import ExitPolicy, Phase
from gtm.model.route import Attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceReport:
    """A service at this speaker: its phase, why and since when, and where on the ladder it is.

    `announcing`: its routes are to stand. `rungs` are all down to `rung`, `rungs_left` those to come, `eta_s` how long
    they take at most. `present` says of each of its addresses whether it is on the interface. `connections` to them;
    None: not known. `permit` is that to leave, as a word, `permit_reason` why it is not held. `on_expiry` is what the
    lease comes to. `penalty` is that of damping.
    """

    name: str
    phase: Phase
    reason: str
    since_s: float
    announcing: bool
    rung: str | None = None
    rung_since_s: float | None = None
    rungs: tuple[str, ...] = ()
    rungs_left: tuple[str, ...] = ()
    eta_s: float | None = None
    present: Mapping[IPAddress, bool] = field(default_factory=dict)
    connections: int | None = None
    permit: str = "none"
    permit_reason: str | None = None
    on_expiry: ExitPolicy = ExitPolicy.WITHDRAW
    penalty: float = 0.0
    suppressed: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteReport:
    """Four facts of a route to a neighbour, kept apart; None: not known.

    - `wished`: its attributes as they are to be; None: it is not to stand.
    - `accepted`: ExaBGP has taken the last command for it, or refused it; None: not answered yet.
    - `on_wire`: the session is up, and the Adj-RIB-Out has the route (with these attributes, as far as it tells).
    - `seen`: the peer has it in its table, by `seen_by`; None where no view of the peer's is configured.

    `since_s` is when the wish last changed, `read_s` when the Adj-RIB-Out was last read.
    """

    service: str
    neighbour: IPAddress
    prefix: IPNetwork
    wished: Attributes | None
    accepted: bool | None = None
    on_wire: bool | None = None
    seen: bool | None = None
    seen_by: str | None = None
    since_s: float = 0.0
    read_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourReport:
    """A session: `up` None where nothing was heard of it yet; `reason` is ExaBGP's for its being down."""

    name: str
    address: IPAddress
    asn: int
    up: bool | None = None
    since_s: float | None = None
    reason: str | None = None
    changes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnouncerReport:
    """All that an announcer says, at `at_s`; one that is older than its lease (`ttl_s`) is of an announcer that hangs.

    `pid` is that of the part that thinks, 0 where it has ended in order. `exabgp` is the version of ExaBGP. `counters`
    have counted since `started_s`.
    """

    node: str
    region: str
    at_s: float
    started_s: float
    ttl_s: float
    pid: int
    supervisor_pid: int
    exabgp_pid: int
    exabgp: str | None
    services: tuple[ServiceReport, ...]
    neighbours: tuple[NeighbourReport, ...]
    routes: tuple[RouteReport, ...]
    store: bool | None = None
    controller_age_s: float | None = None
    problem: str | None = None
    counters: Mapping[str, int] = field(default_factory=dict)
