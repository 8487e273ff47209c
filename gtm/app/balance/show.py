"""`gtm balance show`: what dataplane/services.yaml comes to for one instance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gtm.app.balance.instance import find_instance
from gtm.app.columns import columns, duration
from gtm.decide.fit import advmss_bytes, overhead_bytes, room_bytes
from gtm.model.address import Endpoint, IPAddress, IPNetwork
from gtm.model.balance import Backend, Gateway, Instance, Mode, Rule, Service, Wrap
from gtm.web.document import as_object


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownBackend:
    """A backend as one instance uses it.

    `share` of new flows by weight (0 to 1), all backends being up. `overhead_bytes` is what the encapsulation adds,
    `room_bytes` the largest packet that then goes through, `advmss4` and `advmss6` the MSS that the backend has to
    advertise to IPv4 and IPv6 clients (None where there is no VIP of that version).
    """

    name: str
    address: IPAddress
    wrap: Wrap
    second_chance: bool
    gateway: str | None
    weight: int
    share: float
    overhead_bytes: int
    room_bytes: int
    advmss4: int | None
    advmss6: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownService:
    """A service as one instance balances it; `check` is asked `through`."""

    name: str
    vips: tuple[IPAddress, ...]
    ports: tuple[str, ...]
    check: str | None
    through: str
    table_size: int
    drain_s: float
    backends: tuple[ShownBackend, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """An instance, whom it syncs with, what it balances, and what its rules do. `notes` say what is worth a thought."""

    node: str
    region: str
    interface: str
    mode: str
    mtu_bytes: int
    gateways: tuple[Gateway, ...]
    addresses: tuple[IPAddress, ...]
    sources: tuple[IPNetwork, ...]
    listen: Endpoint | None
    peers: tuple[str, ...]
    services: tuple[ShownService, ...]
    rules: dict[str, str]
    notes: tuple[str, ...]


def show(folder: Path, *, node: str | None = None) -> Shown:
    """What an instance is to do, by the files alone. Raises ConfigErrors, AskedError, GtmError."""
    found = find_instance(folder, node)
    instance, dataplane = found.instance, found.dataplane
    services = tuple(
        _service(service, instance) for service in dataplane.services.values() if service.backends_of(instance.region)
    )
    return Shown(
        node=instance.node,
        region=instance.region,
        interface=instance.interface,
        mode=str(instance.mode),
        mtu_bytes=instance.mtu_bytes,
        gateways=instance.gateways,
        addresses=instance.addresses,
        sources=instance.sources,
        listen=None if instance.sync is None else instance.sync.listen,
        peers=() if instance.sync is None else tuple(peer.node for peer in dataplane.peers(instance)),
        services=services,
        rules={str(rule): str(dataplane.protection.rules[rule]) for rule in Rule},
        notes=tuple(_notes(instance, services, [s.name for s in dataplane.services.values()])),
    )


def _service(service: Service, instance: Instance) -> ShownService:
    backends = service.backends_of(instance.region)
    total = sum(backend.weight for backend in backends)
    return ShownService(
        name=service.name,
        vips=service.vips,
        ports=tuple(map(str, service.ports)),
        check=service.check,
        through=str(service.through),
        table_size=service.table_size,
        drain_s=service.drain_s,
        backends=tuple(_backend(service, each, instance, total) for each in backends),
    )


def _backend(service: Service, backend: Backend, instance: Instance, total: int) -> ShownBackend:
    room = room_bytes(backend, instance)
    versions = {vip.version for vip in service.vips}
    gateway = None if backend.wrap is Wrap.L2 else instance.gateway(backend.gateway)
    return ShownBackend(
        name=backend.name,
        address=backend.address,
        wrap=backend.wrap,
        second_chance=backend.second_chance,
        gateway=None if gateway is None else gateway.name,
        weight=backend.weight,
        share=backend.weight / total if total else 0.0,
        overhead_bytes=overhead_bytes(backend),
        room_bytes=room,
        advmss4=advmss_bytes(room, 4) if 4 in versions else None,
        advmss6=advmss_bytes(room, 6) if 6 in versions else None,
    )


def _notes(instance: Instance, services: tuple[ShownService, ...], names: list[str]) -> Iterator[str]:
    shown = {service.name for service in services}
    for name in names:
        if name not in shown:
            yield f"{name} has no backend for {instance.region}: its packets pass to this machine itself"
    for service in services:
        if service.check is None:
            yield f"{service.name} has no check: a backend that is gone goes on getting its packets"
        if service.table_size < 100 * len(service.backends):
            yield f"{service.name}: {service.table_size} slots for {len(service.backends)} backends share unevenly"
        small = [each.name for each in service.backends if each.room_bytes < 1500]
        if small:
            yield f"{service.name}: full packets do not fit on the way to {', '.join(small)}: a larger MTU, or advmss"
    if instance.sync is None:
        yield "no state sync: while a table changes, flows that come from another instance rely on second_chance"


def shown_document(shown: Shown) -> dict[str, object]:
    """What an instance is to do, as JSON."""
    return as_object(shown)


def shown_text(shown: Shown) -> str:
    """What an instance is to do, as text."""
    return "\n".join(_lines(shown))


def _lines(shown: Shown) -> Iterator[str]:
    yield f"{shown.node} in {shown.region}: XDP on {shown.interface}, {shown.mode}, MTU {shown.mtu_bytes}"
    if shown.gateways:
        yield f"  by {', '.join(f'{each.name} {each.address}' for each in shown.gateways)}"
    if shown.listen is not None:
        yield f"  syncs at {shown.listen} with {', '.join(shown.peers) or 'nobody: it is the only one that does'}"
    for service in shown.services:
        yield ""
        yield f"{service.name}: {', '.join(map(str, service.vips))}; {', '.join(service.ports)}"
        check = "no check" if service.check is None else f"check {service.check}, {service.through}"
        yield f"  {service.table_size} slots, drain {duration(service.drain_s)}, {check}"
        yield from columns(
            [_row(each) for each in service.backends],
            heads=("BACKEND", "ADDRESS", "BY", "SHARE", "ADDS", "ROOM", "ADVMSS"),
        )
    yield ""
    modes = {mode: [rule for rule, its in shown.rules.items() if its == mode] for mode in (Mode.ON, Mode.DRY_RUN)}
    yield f"drops: {', '.join(modes[Mode.ON]) or 'nothing'}; would drop: {', '.join(modes[Mode.DRY_RUN]) or 'nothing'}"
    yield from (f"note: {note}" for note in shown.notes)


def _row(each: ShownBackend) -> tuple[str, ...]:
    way = f"{each.wrap}{' + second chance' if each.second_chance else ''}"
    mss = [f"{mss} (IPv{version})" for version, mss in ((4, each.advmss4), (6, each.advmss6)) if mss is not None]
    return (
        each.name,
        str(each.address),
        way if each.gateway is None else f"{way}, {each.gateway}",
        f"{each.share:.1%}",
        str(each.overhead_bytes),
        str(each.room_bytes),
        ", ".join(mss),
    )
