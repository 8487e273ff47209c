"""What the kernel's tables should say: services, health, orders and neighbours in, a plan out. Nothing here waits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from gtm.decide.balance import ICMP, ICMP6, MAPPED, TCP, UDP, Vip
from gtm.decide.balance import Backend as Record
from gtm.decide.balance import Wrap as RecordWrap
from gtm.decide.plan import PRESUMED
from gtm.model.address import IPAddress
from gtm.model.balance import Affinity, Backend, Dataplane, Instance, Service, Through, Wrap
from gtm.model.balancing import Standing
from gtm.model.check import Target
from gtm.model.health import Health, Judgement
from gtm.model.override import Action, Override

PROTOCOLS = {"tcp": TCP, "udp": UDP}
WRAPS = {Wrap.L2: RecordWrap.L2, Wrap.IPIP: RecordWrap.IP, Wrap.GRE: RecordWrap.GRE, Wrap.GUE: RecordWrap.GUE}
KIND = "backend"  # of the subjects of orders

VipKey = tuple[bytes, int, int]  # address of 16 bytes, port, protocol
ServerKey = tuple[int, int, bytes]  # ring, config rotation codepoint, server ID


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """When a backend stopped taking new flows (seconds of the boot clock), and what it was: the file may be without it.

    `drain_s` is how long it keeps those that it has.
    """

    service: str
    backend: Backend
    since_s: float
    drain_s: float

    @property
    def until_s(self) -> float:
        """When its drain is over."""
        return self.since_s + self.drain_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What a plan is made of, beside the configuration, at `now_s` (of the boot clock).

    `judgements` and `orders` as they stand; `macs` of the next hops that are resolved. `active` are the backends
    (SERVICE/NAME) that took new flows until now, with what they were, and `left` those that have stopped.
    """

    now_s: float
    judgements: Mapping[Target, Judgement]
    orders: tuple[Override, ...]
    macs: Mapping[IPAddress, bytes]
    active: Mapping[str, Backend]
    left: Mapping[str, Left]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A backend as it should be; `record` None where it is OUT. `left`: it takes no new flows by somebody's will."""

    key: str
    backend: Backend
    standing: Standing
    reason: str
    record: Record | None
    left: Left | None = None

    @property
    def until_s(self) -> float | None:
        """When its drain is over, by the boot clock; None where it is not DRAINING."""
        return self.left.until_s if self.left is not None and self.standing is Standing.DRAINING else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePlan:
    """A service's backends, in file order, then those that have left it."""

    service: Service
    backends: tuple[Planned, ...]

    @property
    def taking(self) -> tuple[Planned, ...]:
        """Those that take new flows."""
        return tuple(each for each in self.backends if each.standing is Standing.ACTIVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that an instance should have in its tables."""

    services: tuple[ServicePlan, ...]

    def vips(self, rings: Mapping[str, int]) -> dict[VipKey, Vip]:
        """The entries of the VIP table, with the ring of each service."""
        found: dict[VipKey, Vip] = {}
        for planned in self.services:
            for key, vip in entries(planned.service, rings[planned.service.name]):
                found.setdefault(key, vip)
        return found

    def servers(self, rings: Mapping[str, int], numbers: Mapping[str, int]) -> dict[ServerKey, int]:
        """The number of the backend of each QUIC-LB server ID, for as long as it gets packets."""
        return {
            (rings[planned.service.name], rotation, server_id): numbers[each.key]
            for planned in self.services
            for port in planned.service.ports
            if port.quic is not None
            for rotation, length in port.quic.lengths.items()
            for each in planned.backends
            if each.record is not None
            for server_id in each.backend.server_ids
            if len(server_id) == length
        }

    @property
    def active(self) -> dict[str, Backend]:
        """The backends that take new flows."""
        return {each.key: each.backend for service in self.services for each in service.taking}

    @property
    def left(self) -> dict[str, Left]:
        """Those that have stopped."""
        every = (each for service in self.services for each in service.backends)
        return {each.key: each.left for each in every if each.left is not None}

    def wake_s(self) -> float | None:
        """When the first drain ends, by the boot clock."""
        moments = (each.until_s for service in self.services for each in service.backends)
        return min((moment for moment in moments if moment is not None), default=None)


def plan(dataplane: Dataplane, instance: Instance, sight: Sight) -> Plan:
    """The plan of an instance.

    A backend that is DOWN, or whose next hop has no MAC, is OUT: its flows move. One that is drained, has weight 0 or
    stands no more in the file keeps its flows for the service's `drain_s`. Where checks call all that are not drained
    DOWN, they are taken for up: checks that see nothing are no reason to serve nothing.
    """
    return Plan(services=tuple(_service(each, instance, sight) for each in dataplane.services.values()))


def entries(service: Service, ring: int) -> Iterator[tuple[VipKey, Vip]]:
    """The VIP entries of a service: each port; port 0 of each protocol for fragments; ICMP for echo."""
    for vip in service.vips:
        address = packed(vip)
        for port in service.ports:
            quic = {} if port.quic is None else port.quic.lengths
            track = port.affinity is Affinity.TRACK
            yield (address, port.port, PROTOCOLS[port.protocol]), Vip(ring=ring, track=track, quic=quic)
        for protocol in dict.fromkeys(port.protocol for port in service.ports):
            yield (address, 0, PROTOCOLS[protocol]), Vip(ring=ring)
        if service.echo:
            yield (address, 0, ICMP if vip.version == 4 else ICMP6), Vip(ring=ring)


def packed(address: IPAddress) -> bytes:
    """16 bytes of an address, IPv4 mapped."""
    return MAPPED + address.packed if isinstance(address, IPv4Address) else address.packed


def target_of(service: Service, backend: Backend) -> Target | None:
    """What is probed for a backend, and counts; its name is no check's where the check goes through the VIP."""
    if service.check is None or service.through is Through.DIRECT:
        return direct_of(service, backend)
    return Target(check=f"{service.check} at {service.vips[0]} for {service.key(backend)}", address=backend.address)


def direct_of(service: Service, backend: Backend) -> Target | None:
    """A backend at its own address: what counts, or a second opinion beside a check through the VIP."""
    return None if service.check is None else Target(check=service.check, address=backend.address)


def next_hop(backend: Backend, instance: Instance) -> IPAddress | None:
    """Whose MAC frames to a backend go to; None where the file has the MAC itself.

    That is the gateway, or for L2 and where the instance has none the backend itself.
    """
    gateway = None if backend.wrap is Wrap.L2 else instance.gateway(backend.gateway)
    if gateway is not None:
        return None if gateway.mac is not None else gateway.address
    return None if backend.mac is not None else backend.address


def next_hops(dataplane: Dataplane, instance: Instance) -> frozenset[IPAddress]:
    """The addresses whose MACs an instance needs."""
    every = (each for service in dataplane.services.values() for each in service.backends_of(instance.region))
    return frozenset(hop for hop in (next_hop(each, instance) for each in every) if hop is not None)


def record(backend: Backend, instance: Instance, mac: bytes) -> Record:
    """A backend as the program reads it."""
    version = backend.address.version
    network, own = instance.source(version), instance.address(version)
    source = network.network_address if network is not None else own
    if backend.wrap is Wrap.GUE and own is not None:
        source = own
    return Record(
        wrap=WRAPS[backend.wrap],
        address=packed(backend.address),
        source=bytes(16) if source is None else packed(source),
        mac=mac,
        mtu_bytes=backend.mtu_bytes or instance.mtu_bytes,
        port=backend.gue_port,
        outer6=version == 6,
        second_chance=backend.second_chance,
    )


def _service(service: Service, instance: Instance, sight: Sight) -> ServicePlan:
    here = service.backends_of(instance.region)
    failing = {each.name: _failing(service, each, sight.judgements) for each in here}
    leaving = {each.name: _leaving(service, each, instance, sight.orders) for each in here}
    asked = [failing[each.name] for each in here if not leaving[each.name]]
    blind = bool(asked) and all(asked)
    found = []
    for each in here:
        left = _left(service, each, sight) if leaving[each.name] else None
        down = failing[each.name]
        if blind and left is None:
            found.append(_planned(service, each, "", f"all are down, so none is ({down})", left, instance, sight))
        else:
            reason = leaving[each.name] or _doubt(service, each, sight.judgements)
            found.append(_planned(service, each, down, reason, left, instance, sight))
    return ServicePlan(service=service, backends=(*found, *_gone(service, instance, sight)))


def _gone(service: Service, instance: Instance, sight: Sight) -> Iterator[Planned]:
    """Backends that the file had, and has no more, for as long as their drain lasts."""
    here = {service.key(each) for each in service.backends_of(instance.region)}
    left = {key: one for key, one in sight.left.items() if one.service == service.name}
    for key, backend in sight.active.items():
        if key == service.key(backend) and key not in left:
            left[key] = _left(service, backend, sight)
    for key, one in left.items():
        if key not in here and sight.now_s < one.until_s:
            yield _planned(service, one.backend, "", "no longer in the file", one, instance, sight)


def _planned(
    service: Service, backend: Backend, down: str, reason: str, left: Left | None, instance: Instance, sight: Sight
) -> Planned:
    """A backend that is `down`, or has `left`, or neither."""
    mac = mac_of(backend, instance, sight.macs)
    over = left is not None and sight.now_s >= left.until_s
    if mac is None:
        reason = f"no MAC for {next_hop(backend, instance)}"
    elif down:
        reason = down
    elif over:
        reason = f"{reason}; its drain is over"
    out = mac is None or bool(down) or over
    return Planned(
        key=service.key(backend),
        backend=backend,
        standing=Standing.OUT if out else Standing.ACTIVE if left is None else Standing.DRAINING,
        reason=reason,
        record=None if out or mac is None else record(backend, instance, mac),
        left=left,
    )


def _left(service: Service, backend: Backend, sight: Sight) -> Left:
    """When it left: now, if that is not known from before."""
    known = sight.left.get(service.key(backend))
    since_s = sight.now_s if known is None else known.since_s
    return Left(service=service.name, backend=backend, since_s=since_s, drain_s=service.drain_s)


def mac_of(backend: Backend, instance: Instance, macs: Mapping[IPAddress, bytes]) -> bytes | None:
    """The MAC that frames to a backend get; None while its next hop is not resolved."""
    hop = next_hop(backend, instance)
    if hop is not None:
        return macs.get(hop)
    gateway = None if backend.wrap is Wrap.L2 else instance.gateway(backend.gateway)
    return backend.mac if gateway is None else gateway.mac


def _failing(service: Service, backend: Backend, judgements: Mapping[Target, Judgement]) -> str:
    """Why its check has it out; "" if it has not."""
    target = target_of(service, backend)
    words = "" if target is None else _down(target, judgements)
    if not words or service.through is Through.DIRECT:
        return words
    direct = direct_of(service, backend)
    beside = "" if direct is None else _down(direct, judgements)
    return f"{words} (at its own address it is {beside or 'not down'})"


def _doubt(service: Service, backend: Backend, judgements: Mapping[Target, Judgement]) -> str:
    """What the second opinion has against a backend that is up through the VIP, which counts; "" for nothing."""
    direct = direct_of(service, backend)
    if service.through is Through.DIRECT or direct is None:
        return ""
    beside = _down(direct, judgements)
    return beside and f"at its own address {beside}"


def _down(target: Target, judgements: Mapping[Target, Judgement]) -> str:
    """How a target is down; "" if it is not."""
    found = judgements.get(target, Judgement())
    if found.health in PRESUMED:
        return ""
    last = found.last.detail if found.last is not None else ""
    return f"{found.health}: {last}" if last else str(Health(found.health))


def _leaving(service: Service, backend: Backend, instance: Instance, orders: tuple[Override, ...]) -> str:
    """Why it takes no new flows, by an order or its weight; "" if it does."""
    names = {(KIND, service.key(backend)), ("instance", f"{backend.region or instance.region}/{backend.address}")}
    for order in orders:
        if order.action is Action.DRAIN and (order.subject.kind, order.subject.name) in names:
            return f"drained by {order.owner}: {order.reason}"
    return "" if backend.weight else "weight 0"
