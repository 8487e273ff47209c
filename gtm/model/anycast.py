"""bgp/anycast.yaml as values: who announces which prefixes, to whom, how, when, and what must never happen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address

from gtm.model.address import IPAddress, IPNetwork
from gtm.model.check import Check, Target
from gtm.model.route import GRACEFUL_SHUTDOWN, NO_COMMUNITIES, Communities, Family

UP_METRIC, DOWN_METRIC, DISABLED_METRIC = 100, 1000, 500  # of ExaBGP's healthcheck
RISE, FALL, INTERVAL_S, FAST_INTERVAL_S, TIMEOUT_S = 3, 3, 5.0, 1.0, 5.0  # of ExaBGP's healthcheck


class Phase(StrEnum):
    """The state of a service's announcement at one speaker, in the words of ExaBGP's healthcheck and four more.

    DRAINING is on the ladder, DRAINED at its end; HELD is announced although it should not be, for the guard's reason.
    """

    INIT = "INIT"
    RISING = "RISING"
    UP = "UP"
    FALLING = "FALLING"
    DOWN = "DOWN"
    DISABLED = "DISABLED"
    DRAINING = "DRAINING"
    DRAINED = "DRAINED"
    HELD = "HELD"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bfd:
    """BFD with a neighbour, single hop (RFC 5881): least intervals in milliseconds, and how many may be missed."""

    transmit_ms: int = 50
    receive_ms: int = 50
    multiplier: int = 3


class ViewKind(StrEnum):
    """A router whose table can be looked at where it runs."""

    FRR = "frr"
    BIRD = "bird"


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How a neighbour's own table is looked at on this machine: FRR's folder of vty sockets, BIRD's control socket."""

    kind: ViewKind
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A BGP session of a speaker.

    `ttl_security` is the number of hops of GTSM (RFC 5082); `md5_file` holds the key of RFC 2385; `add_path` sends path
    identifiers (RFC 7911); `graceful_restart_s` None is off: a route that outlives its speaker attracts traffic to
    nothing. `next_hops` by family, where it is not the speaker's own address. `provider` has the dictionary of words
    that this neighbour understands. `port` is where it listens. `view`, if there is one, tells what it has of us.
    """

    name: str
    address: IPAddress
    local_address: IPAddress
    asn: int
    local_asn: int
    families: tuple[Family, ...] = (Family.IPV4, Family.IPV6)
    provider: str | None = None
    hold_time_s: int = 9
    md5_file: str | None = None
    ttl_security: int | None = None
    add_path: bool = False
    graceful_restart_s: int | None = None
    next_hops: Mapping[Family, IPAddress]
    bfd: Bfd | None = None
    port: int = 179
    view: View | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """A node that announces: its region is the PoP it belongs to. Several speakers of one region are instances (ECMP).

    `weight` is its share among them, sent as link bandwidth where a service asks for that.
    """

    node: str
    region: str
    asn: int
    router_id: IPv4Address
    neighbours: tuple[Neighbour, ...]
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """How a route is made more or less attractive: None and 0 leave it as it is.

    `prepend` is how often the own AS is repeated. `words` are looked up in the dictionary of each neighbour's
    provider; `bandwidth` sends link bandwidth in octets a second, times the speaker's weight.
    """

    med: int | None = None
    prepend: int = 0
    local_pref: int | None = None
    communities: Communities = NO_COMMUNITIES
    words: tuple[str, ...] = ()
    bandwidth: int | None = None


UNTREATED = Treatment()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One step down the ladder of a drain; its treatment stays on all rungs below.

    It lasts `hold_s`, and then until there are at most `connections` on the service's addresses, or `deadline_s` after
    its start. `announce` False withdraws; `address` False takes the addresses off the interface.
    """

    name: str
    treatment: Treatment = UNTREATED
    announce: bool = True
    address: bool = True
    hold_s: float = 0.0
    connections: int | None = None
    deadline_s: float | None = None


LADDER_DEFAULT = (
    Rung(name="dns", hold_s=60.0),  # the drain itself takes the PoP out of DNS answers: the time of a TTL
    Rung(
        name="graceful-shutdown",
        treatment=Treatment(communities=Communities(standard=(GRACEFUL_SHUTDOWN,))),
        hold_s=30.0,
    ),
    Rung(name="unattractive", treatment=Treatment(med=DOWN_METRIC, prepend=3), hold_s=30.0),
    Rung(name="connections", connections=0, deadline_s=300.0),
    Rung(name="withdraw", announce=False, hold_s=5.0),  # packets that are on their way still find the address
    Rung(name="address", announce=False, address=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Prefixes that move as one, the regions that may announce them, and what they depend on.

    `local` are this instance's own checks: one that is DOWN takes the service down here. `pool` (by its full name) is
    one whose part in the region the plan judges; None: the region is not asked. `treatments` by phase are on top of
    `base`, `providers` on top of both. `withdraw_on_down` False announces with the treatment of DOWN instead. While
    there is a file `disable_file`, the service is DISABLED here.
    `addresses` are put on `interface` while the service may be reached (None: they are somebody else's concern).
    `connection_ports`, if given, are those that count when a drain waits.
    """

    name: str
    prefixes: tuple[IPNetwork, ...]
    regions: tuple[str, ...]
    local: Mapping[Target, Check]
    pool: str | None = None
    base: Treatment = UNTREATED
    treatments: Mapping[Phase, Treatment]
    providers: Mapping[str, Treatment]
    withdraw_on_down: bool = True
    disable_file: str | None = None
    addresses: tuple[IPAddress, ...] = ()
    interface: str | None = None
    connection_ports: tuple[int, ...] = ()


class WithoutStore(StrEnum):
    """What automatics may do while the shared store is away: hold every PoP, or withdraw as if alone."""

    HOLD = "hold"
    WITHDRAW = "withdraw"


class ExitPolicy(StrEnum):
    """What becomes of announcements when the announcer ends or its lease does."""

    WITHDRAW = "withdraw"
    KEEP = "keep"
    HAND_OVER = "hand-over"  # kept for the next announcer, which must come within the lease; else withdrawn


class RpkiMode(StrEnum):
    """What an announcement that RPKI calls invalid (RFC 6811) comes to."""

    OFF = "off"
    WARN = "warn"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Damping:
    """Flap damping (RFC 2439): each change to DOWN adds 1000; it halves each `half_life_s`.

    At `suppress` the service is not announced again until the figure is below `reuse`, at most for `max_s`.
    """

    half_life_s: float = 60.0
    suppress: float = 3000.0
    reuse: float = 1000.0
    max_s: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """Prefixes within `prefix`, from its own length to `length_max`."""

    prefix: IPNetwork
    length_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """What automatics may never do. At most one PoP leaves a service within `leave_window_s`.

    `allowed` None allows what is declared. `vrps` is a validator's JSON export (rpki-client, Routinator), no older than
    `vrps_age_max_s`.
    """

    leave_window_s: float = 60.0
    without_store: WithoutStore = WithoutStore.HOLD
    damping: Damping | None = Damping()
    allowed: tuple[Allowed, ...] | None = None
    rpki: RpkiMode = RpkiMode.OFF
    vrps: str | None = None
    vrps_age_max_s: float = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """How long announcements live without a healthy thinker (`ttl_s`) or controller (`controller_s`); and then."""

    ttl_s: float = 3.0
    controller_s: float = 60.0
    exit: ExitPolicy = ExitPolicy.WITHDRAW


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A transit provider's dictionary: what its words mean as communities."""

    name: str
    words: Mapping[str, Communities]
    notes: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Anycast:
    """The whole of bgp/anycast.yaml. Speakers are by node, services and providers by name, in file order."""

    speakers: Mapping[str, Speaker]
    services: Mapping[str, Service]
    providers: Mapping[str, Provider]
    ladder: tuple[Rung, ...]
    guard: Guard = Guard()
    lease: Lease = Lease()

    def served_by(self, speaker: Speaker) -> tuple[Service, ...]:
        """The services that a speaker may announce."""
        return tuple(service for service in self.services.values() if speaker.region in service.regions)
