"""`gtm balance setup`: what the machine of a backend needs so that it takes what instances send, as commands."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

from gtm.app.question import near
from gtm.config.deployment import DATAPLANE_FILE, load
from gtm.decide.fit import advmss_bytes, room_bytes
from gtm.model.address import IPAddress, IPNetwork
from gtm.model.balance import GUE_PORT, Backend, Dataplane, Instance, Service, Wrap
from gtm.model.errors import AskedError, GtmError
from gtm.web.document import as_object

QUIET = ("net.ipv4.conf.all.arp_ignore=1", "net.ipv4.conf.all.arp_announce=2")
CLIENT_MTU = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendSetup:
    """A machine that backends stand on: all of them, as an address may serve several services.

    `vips` go on its loopback; `sources` are the networks that hold all outer sources of the instances that use it;
    `advmss4` and `advmss6` are None where full packets fit. `commands` say it all to a shell, `notes` what is amiss.
    """

    address: IPAddress
    backends: tuple[str, ...]
    wraps: tuple[str, ...]
    instances: tuple[str, ...]
    vips: tuple[IPAddress, ...]
    sources: tuple[IPNetwork, ...]
    port: int | None
    advmss4: int | None
    advmss6: int | None
    commands: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Role:
    """One of the machine's backends, and the instances that use it."""

    service: Service
    backend: Backend
    instances: tuple[Instance, ...]

    def sources(self) -> Iterator[IPNetwork]:
        """The outer sources of what it gets."""
        version = self.backend.address.version
        for instance in self.instances:
            own, made_up = instance.address(version), instance.source(version)
            if self.backend.wrap is Wrap.GUE and own is not None:
                yield ip_network(own)
            elif self.backend.wrap in (Wrap.IPIP, Wrap.GRE) and made_up is not None:
                yield made_up

    def room(self) -> int:
        """The largest packet that goes through from every instance."""
        return min((room_bytes(self.backend, instance) for instance in self.instances), default=CLIENT_MTU)


def setup(folder: Path, name: str, *, interface: str) -> BackendSetup:
    """What the machine of the backend SERVICE/NAME needs. Raises ConfigErrors, AskedError, GtmError."""
    dataplane = load(folder).dataplane
    if dataplane is None:
        raise GtmError(f"{folder / DATAPLANE_FILE}: there is no such file, so nothing is balanced")
    every = {service.key(each): each for service in dataplane.services.values() for each in service.backends}
    if name not in every:
        raise AskedError(f"there is no backend {name[:80]!r}", argument="SERVICE/NAME", known=near(name, tuple(every)))
    roles = tuple(_roles(dataplane, every[name].address))
    notes: list[str] = []
    if not any(role.instances for role in roles):
        notes.append("no instance uses it: there is none in its region")
    sources = tuple(_sources(roles, notes))
    port = _port(roles, notes)
    advmss4, advmss6 = (_advmss(roles, version) for version in (4, 6))
    vips = tuple(dict.fromkeys(vip for role in roles for vip in role.service.vips))
    return BackendSetup(
        address=every[name].address,
        backends=tuple(role.service.key(role.backend) for role in roles),
        wraps=tuple(dict.fromkeys(str(role.backend.wrap) for role in roles)),
        instances=tuple(dict.fromkeys(instance.node for role in roles for instance in role.instances)),
        vips=vips,
        sources=sources,
        port=port,
        advmss4=advmss4,
        advmss6=advmss6,
        commands=tuple(_commands(interface, vips, sources, port, (advmss4, advmss6))),
        notes=tuple(notes),
    )


def _roles(dataplane: Dataplane, address: IPAddress) -> Iterator[_Role]:
    for service in dataplane.services.values():
        for backend in service.backends:
            if backend.address == address:
                regions = {backend.region} if backend.region else {each.region for each in dataplane.instances.values()}
                using = tuple(each for each in dataplane.instances.values() if each.region in regions)
                yield _Role(service=service, backend=backend, instances=using)


def _sources(roles: Iterable[_Role], notes: list[str]) -> Iterator[IPNetwork]:
    """One network for each family, as the program compares with one."""
    found = [each for role in roles for each in role.sources()]
    for version, shortest in ((4, 1), (6, 64)):
        some = [each for each in found if each.version == version]
        if not some:
            continue
        around = some[0] if version == 4 or some[0].prefixlen < shortest else some[0].supernet(new_prefix=64)
        while around.prefixlen and not all(each.subnet_of(around) for each in some):  # type: ignore[arg-type]
            around = around.supernet()
        if around.prefixlen >= shortest:
            yield around
        else:
            listed = ", ".join(sorted({str(each) for each in some}))
            kind = "an IPv4 network" if version == 4 else "an IPv6 /64"
            notes.append(f"no one network ({kind}) holds the outer sources {listed}: move them together")


def _port(roles: Iterable[_Role], notes: list[str]) -> int | None:
    ports = sorted({role.backend.gue_port for role in roles if role.backend.wrap is Wrap.GUE})
    if len(ports) > 1:
        notes.append(f"it unwraps GUE at one port, not at {' and '.join(map(str, ports))}: have one gue_port for it")
    return ports[0] if ports else None


def _advmss(roles: Iterable[_Role], version: int) -> int | None:
    """What clients of an IP version must be told, None if they may send full packets."""
    rooms = [role.room() for role in roles if any(vip.version == version for vip in role.service.vips)]
    room = min(rooms, default=math.inf)
    return advmss_bytes(int(room), version) if room < CLIENT_MTU else None


def _commands(
    interface: str,
    vips: Iterable[IPAddress],
    sources: tuple[IPNetwork, ...],
    port: int | None,
    advmss: tuple[int | None, int | None],
) -> Iterator[str]:
    for vip in vips:
        yield f"ip address replace {ip_network(vip)} dev lo"
    yield from (f"sysctl -w {each}" for each in QUIET)
    if sources:
        yield from (f"sysctl -w net.ipv4.conf.{each}.rp_filter=0" for each in ("all", interface))
        words = " ".join(f"--from {each}" for each in sources)
        yield f"gtm balance decap {interface} {words}{'' if port in (None, GUE_PORT) else f' --port {port}'}"
    for family, mss in (("", advmss[0]), ("-6 ", advmss[1])):
        if mss is not None:
            yield f"ip {family}route change $(ip {family}route show default) advmss {mss}"


def setup_document(found: BackendSetup) -> dict[str, object]:
    """The setup as JSON."""
    return as_object(found)


def setup_text(found: BackendSetup) -> str:
    """The setup as lines for a shell."""
    users = ", ".join(found.instances) or "nobody"
    head = f"# {found.address}, which is {', '.join(found.backends)}: {', '.join(found.wraps)} from {users}"
    return "\n".join((head, *found.commands, *(f"# note: {note}" for note in found.notes)))
