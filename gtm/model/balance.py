"""dataplane/services.yaml as values: which VIPs, which backends, which machines balance, and what is dropped before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from gtm.model.address import Endpoint, IPAddress, IPNetwork

Transport = Literal["tcp", "udp"]

TABLE_SIZE_DEFAULT = 65537  # slots: the paper's small table, and the kernel side's largest (GTM_RING_SLOTS)
BACKENDS_MAX = 4095  # numbers of the kernel's table (GTM_BACKENDS); 0 is nobody
SERVICES_MAX = 512  # rings of the kernel's table (GTM_RINGS)
DRAIN_S = 300.0
GUE_PORT = 6080  # draft-ietf-intarea-gue
MTU_BYTES = 1500
SYNC_PORT = 6081
SYN_RATE = 100_000  # a second and VIP
VIP_ENTRIES_MAX = 1740  # 85 % of the kernel's table (GTM_VIPS): two choices then always find room, at 88 % not always


class Wrap(StrEnum):
    """What a packet travels in to a backend: a new MAC alone, or an outer header.

    IPIP covers all four mixtures of families (RFC 2003, 4213, 2473); GRE is RFC 2784 without key; GUE is variant 0 of
    draft-ietf-intarea-gue, which alone can carry a second chance.
    """

    L2 = "l2"
    IPIP = "ipip"
    GRE = "gre"
    GUE = "gue"


class Affinity(StrEnum):
    """Which flows are remembered: those whose answer may change just now (FOLLOW), or all of them (TRACK).

    FOLLOW: during a change an unknown UDP flow stays with the previous backend until the change is over. TRACK: a flow
    in the table keeps its backend, whatever changes, and an unknown UDP flow is a new one.
    """

    FOLLOW = "follow"
    TRACK = "track"


class Through(StrEnum):
    """How a backend is checked: at its own address, or at the VIP in the encapsulation that packets get."""

    DIRECT = "direct"
    VIP = "vip"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuicLb:
    """Plaintext connection IDs of QUIC-LB (draft-ietf-quic-load-balancers, 4.1): the server ID is in clear.

    `lengths` has the octets of the server ID (1 to 15) by config rotation codepoint (0 to 6): two while servers change
    from one configuration to the next.
    """

    lengths: Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A port of a service's VIPs, 1 to 65535. `quic` for UDP only."""

    protocol: Transport
    port: int
    affinity: Affinity = Affinity.FOLLOW
    quic: QuicLb | None = None

    def __str__(self) -> str:
        return f"{self.protocol}/{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A server of a service, by a name of its own within the service.

    `region` is where it stands: only instances there use it; None: all do. `weight` is its share, 0 for no new flows.
    `second_chance` (GUE) carries along who had the slot before. `gateway` names one of the instance's
    gateways, None the first; for L2, and where the instance has none, the MAC is `mac`, or the neighbour's at
    `address`. `mtu_bytes` is the largest outer packet on the way to it, None: the instance's. `server_ids`: QUIC-LB.
    """

    name: str
    address: IPAddress
    region: str | None = None
    weight: int = 1
    wrap: Wrap = Wrap.IPIP
    second_chance: bool = False
    gateway: str | None = None
    mac: bytes | None = None
    mtu_bytes: int | None = None
    gue_port: int = GUE_PORT
    server_ids: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """VIPs and ports whose flows are spread over the same backends: one Maglev table of `table_size` (a prime) slots.

    `check` is a check of probes/checks.yaml, asked `through`; None: every backend counts as up. A backend that drains
    or leaves keeps its flows for `drain_s`. `echo`: pings to the VIPs are answered. `line` is where the file has it.
    """

    name: str
    vips: tuple[IPAddress, ...]
    ports: tuple[Port, ...]
    backends: tuple[Backend, ...]
    check: str | None = None
    through: Through = Through.DIRECT
    table_size: int = TABLE_SIZE_DEFAULT
    drain_s: float = DRAIN_S
    echo: bool = True
    line: int | None = field(default=None, compare=False)

    def backends_of(self, region: str) -> tuple[Backend, ...]:
        """The backends that an instance in `region` uses, in file order."""
        return tuple(each for each in self.backends if each.region in (None, region))

    def key(self, backend: Backend) -> str:
        """SERVICE/NAME: what a backend is called in orders (`backend/SERVICE/NAME`), numbers and counters."""
        return f"{self.name}/{backend.name}"


class AttachMode(StrEnum):
    """Where XDP runs: in the driver, or behind the allocation of an skb. Nothing falls back by itself."""

    NATIVE = "native"
    GENERIC = "generic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A next hop of an instance: its MAC, or whose neighbour entry has it."""

    name: str
    address: IPAddress
    mac: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncSettings:
    """State sync with the other instances of the region: where this one listens, and how much it sends.

    Events are gathered for `flush_s`. A bulk transfer that is not done within `ready_s` is given up: the instance is
    then ready with what it has, if no peer answers at all, and stays not ready if one does.
    """

    listen: Endpoint
    flush_s: float = 0.01
    ready_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A machine that runs `gtm balance run`, by the `node` of its gtm.yaml.

    `addresses`, at most one of each family, are its own: the source of GUE, and of what it says itself. `sources`, at
    most one of each family, are the networks that other outer headers come from: the last 16 bits vary with the flow,
    so they are /16 and /112 or wider. `ready_file` is what `gtm announce` looks at: it says up or down, and
    is written again and again.
    """

    node: str
    region: str
    interface: str
    mode: AttachMode = AttachMode.NATIVE
    gateways: tuple[Gateway, ...] = ()
    addresses: tuple[IPAddress, ...] = ()
    sources: tuple[IPNetwork, ...] = ()
    mtu_bytes: int = MTU_BYTES
    sync: SyncSettings | None = None
    ready_file: str | None = None

    def address(self, version: int) -> IPAddress | None:
        """Its own address of IP version 4 or 6."""
        return next((each for each in self.addresses if each.version == version), None)

    def source(self, version: int) -> IPNetwork | None:
        """The network of outer sources of IP version 4 or 6."""
        return next((each for each in self.sources if each.version == version), None)

    def gateway(self, name: str | None) -> Gateway | None:
        """The gateway of that name; the first one for None."""
        return next((each for each in self.gateways if name in (None, each.name)), None)


class Mode(StrEnum):
    """What a rule does with what it matches: nothing, count it, drop and count it."""

    OFF = "off"
    DRY_RUN = "dry-run"
    ON = "on"


class Rule(StrEnum):
    """Why a packet is dropped before it is balanced.

    DENY: its source is in a deny list. MALFORMED: lengths, flags or addresses that no sender means (SYN with FIN,
    source equal to target). MARTIAN: a source that nobody can have (RFC 6890). FRAGMENT: it is a fragment.
    AMPLIFICATION: UDP from a port that reflectors answer from. SOURCE_RATE: its source's prefix sends too much.
    VIP_RATE: its VIP gets too much; packets of TCP connections under way (ACK without SYN) take no part in it.
    """

    DENY = "deny"
    MALFORMED = "malformed"
    MARTIAN = "martian"
    FRAGMENT = "fragment"
    AMPLIFICATION = "amplification"
    SOURCE_RATE = "source-rate"
    VIP_RATE = "vip-rate"


RULES_DEFAULT: Mapping[Rule, Mode] = {
    Rule.DENY: Mode.ON,
    Rule.MALFORMED: Mode.ON,
    Rule.MARTIAN: Mode.OFF,
    Rule.FRAGMENT: Mode.OFF,
    Rule.AMPLIFICATION: Mode.OFF,
    Rule.SOURCE_RATE: Mode.OFF,
    Rule.VIP_RATE: Mode.OFF,
}
# QOTD, chargen, DNS, TFTP, portmap, NTP, NetBIOS, SNMP, CLDAP, RIP, SSDP, WS-Discovery, mDNS, memcached (TA14-017A).
AMPLIFIERS = (17, 19, 53, 69, 111, 123, 137, 161, 389, 520, 1900, 3702, 5353, 11211)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A token bucket: packets a second on average, and how many at once."""

    packets_per_s: int
    burst: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRate:
    """A token bucket for each source prefix of these lengths (IPv4 24 or 32, IPv6 56 or 64)."""

    rate: Rate
    prefix4: int = 24
    prefix6: int = 56


class SynFlood(StrEnum):
    """When the hash alone decides and nothing is learnt: never, while SYNs come faster than `syn_rate`, always."""

    OFF = "off"
    AUTO = "auto"
    ON = "on"


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """What is dropped before it is balanced. `allow` beats every rule.

    `allow` and `deny` are networks of the file itself; `allow_files` and `deny_files` are lists that others write, one
    network a line: gtm.config.networks reads them. `vip_rates` are by service, `vip_rate` is of all others.
    `syn_rate` is SYNs a second to one VIP, above which AUTO takes it for a flood.
    """

    allow: tuple[IPNetwork, ...] = ()
    deny: tuple[IPNetwork, ...] = ()
    allow_files: tuple[str, ...] = ()
    deny_files: tuple[str, ...] = ()
    rules: Mapping[Rule, Mode] = field(default_factory=lambda: RULES_DEFAULT)
    amplifiers: tuple[int, ...] = AMPLIFIERS
    source_rate: SourceRate | None = None
    vip_rate: Rate | None = None
    vip_rates: Mapping[str, Rate] = field(default_factory=dict)
    syn_flood: SynFlood = SynFlood.AUTO
    syn_rate: int = SYN_RATE


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """Where the secret is that the PoP's instances share: a file, or a variable of the environment; never both."""

    file: str | None = None
    env: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataplane:
    """The whole of dataplane/services.yaml: services by name and instances by node, in file order.

    From the secret come the seed of the packets' hash, the permutations of Maglev tables and the key of state sync.
    """

    secret: Secret
    services: Mapping[str, Service]
    instances: Mapping[str, Instance]
    protection: Protection = Protection()

    def peers(self, instance: Instance) -> tuple[Instance, ...]:
        """The other instances of its region that sync state, in file order."""
        return tuple(
            each
            for each in self.instances.values()
            if each.node != instance.node and each.region == instance.region and each.sync is not None
        )
