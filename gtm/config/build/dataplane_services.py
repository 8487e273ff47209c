"""dataplane/services.yaml: services, their ports and their backends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gtm.config.build.bgp_services import Around
from gtm.config.build.regions import unknown_region
from gtm.config.document import Document, Steps
from gtm.config.nearby import did_you_mean, listed
from gtm.config.shape.dataplane import BackendShape, DataplaneFile, PortShape, ServiceShape, WayShape
from gtm.model.address import IPAddress
from gtm.model.balance import (
    BACKENDS_MAX,
    VIP_ENTRIES_MAX,
    Affinity,
    Backend,
    Port,
    QuicLb,
    Service,
    Through,
    Wrap,
)
from gtm.model.check import Composed, ExecProbe, FileProbe, IcmpProbe, Probe, PushProbe


def build_balanced(document: Document, found: DataplaneFile, around: Around) -> dict[str, Service]:
    """The services by name."""
    services: dict[str, Service] = {}
    for name, shape in found.services.items():
        place = ("services", name)
        services[name] = Service(
            name=name,
            vips=_vips(document, place, shape),
            ports=_ports(document, place, shape),
            backends=_backends(document, place, shape, around),
            check=_check(document, place, shape, around),
            through=Through(shape.through),
            table_size=shape.table_size,
            drain_s=shape.drain,
            echo=shape.echo,
            line=document.line(place),
        )
        _check_quic(document, place, services[name])
    _check_room(document, services)
    _check_once(document, services)
    return services


def _vips(document: Document, place: Steps, shape: ServiceShape) -> tuple[IPAddress, ...]:
    for position, vip in enumerate(shape.vips):
        if vip in shape.vips[:position]:
            document.fault((*place, "vips", position), f"{vip} is listed twice", "each address once")
        if vip.is_loopback or vip.is_link_local:
            document.fault((*place, "vips", position), f"{vip} leaves no machine or link", "a routed address")
    return tuple(dict.fromkeys(shape.vips))


def _ports(document: Document, place: Steps, shape: ServiceShape) -> tuple[Port, ...]:
    found: dict[tuple[str, int], Port] = {}
    for position, each in enumerate(shape.ports):
        spot = (*place, "ports", position)
        if each.port in found:
            document.fault(spot, f"{found[each.port]} is listed twice", "each port once")
        found[each.port] = _port(document, spot, each)
    return tuple(found.values())


def _port(document: Document, place: Steps, shape: PortShape) -> Port:
    protocol, number = shape.port
    if shape.quic and protocol != "udp":
        document.fault((*place, "quic"), f"{protocol}/{number} carries no QUIC", "a port of udp")
    quic = QuicLb(lengths={int(codepoint): length for codepoint, length in sorted(shape.quic.items())})
    return Port(protocol=protocol, port=number, affinity=Affinity(shape.affinity), quic=quic if shape.quic else None)


def _backends(document: Document, place: Steps, shape: ServiceShape, around: Around) -> tuple[Backend, ...]:
    found: list[Backend] = []
    taken: dict[object, list[Backend]] = {}
    for name, each in shape.backends.items():
        spot = (*place, "backends", name)
        backend = _backend(name, shape, each)
        if each.region is not None and each.region not in around.regions:
            unknown_region(document, (*spot, "region"), each.region, around.regions)
        _check_way(document, spot, backend)
        _check_neighbours(document, spot, backend, taken)
        if backend.address in shape.vips and backend.wrap is not Wrap.L2:
            words = f"{backend.address} is a VIP of this service, so packets to it would come back"
            document.fault((*spot, "address"), words, "the address of the machine itself")
        found.append(backend)
    if shape.second_chance and not any(backend.wrap is Wrap.GUE for backend in found):
        document.fault((*place, "second_chance"), f"{shape.wrap} has no room for it", "wrap: gue, or false")
    if not any(backend.weight for backend in found) and document.intact(*place, "backends"):
        document.fault((*place, "backends"), "all weights are 0", "at least one above 0")
    if len(found) > shape.table_size:
        document.fault((*place, "table_size"), f"is less than its {len(found)} backends", "100 slots for each, or more")
    return tuple(found)


def _backend(name: str, service: ServiceShape, shape: BackendShape) -> Backend:
    way = _way(service, shape)
    return Backend(
        name=name,
        address=shape.address,
        region=shape.region,
        weight=shape.weight,
        wrap=Wrap(way.wrap),
        second_chance=way.second_chance,
        gateway=way.gateway,
        mac=shape.mac,
        mtu_bytes=way.mtu,
        gue_port=way.gue_port,
        server_ids=shape.server_id,
    )


def _way(service: WayShape, shape: WayShape) -> WayShape:
    """What a backend says of the way to it, and what its service does for the rest."""
    keys = WayShape.model_fields.keys()
    values: dict[str, Any] = {key: getattr(service, key) for key in keys}
    values.update({key: getattr(shape, key) for key in keys & shape.model_fields_set})
    if values["wrap"] != "gue" and "second_chance" not in shape.model_fields_set:
        values["second_chance"] = False  # what the service says is for its backends with GUE
    return WayShape.model_construct(**values)


def _check_way(document: Document, place: Steps, backend: Backend) -> None:
    """What an encapsulation cannot do."""
    if backend.second_chance and backend.wrap is not Wrap.GUE and "second_chance" in document.written(*place):
        document.fault((*place, "second_chance"), f"{backend.wrap} has no room for it", "wrap: gue, or false")
    if backend.wrap is Wrap.L2 and "gateway" in document.written(*place):
        document.fault((*place, "gateway"), "l2 goes straight to the backend", "another wrap, or no such key")


def _check_neighbours(document: Document, place: Steps, backend: Backend, taken: dict[object, list[Backend]]) -> None:
    """Nothing that tells a backend from others where it is used is theirs, too; `taken` is by address and server ID."""
    for key in ((backend.address, backend.gue_port), *dict.fromkeys(backend.server_ids)):
        for other in taken.setdefault(key, []):
            if None not in (backend.region, other.region) and backend.region != other.region:
                continue
            if isinstance(key, bytes):
                words = f"{key.hex()} is that of {other.name}, too"
                document.fault((*place, "server_id"), words, "a server ID of its own")
            else:
                words = f"{backend.address} is that of {other.name}, too"
                document.fault((*place, "address"), words, "each machine once")
        taken[key].append(backend)


def _check(document: Document, place: Steps, shape: ServiceShape, around: Around) -> str | None:
    """The check that a service names, if it can be asked in the way that it says."""
    if shape.check is None:
        if "through" in document.written(*place) and "check" not in document.written(*place):
            document.fault((*place, "through"), "nothing is asked", "check beside it, or no such key")
        return None
    if shape.check not in around.check_names:
        words = f"there is no check {shape.check}{did_you_mean(shape.check, around.check_names)}"
        document.fault((*place, "check"), words, listed(around.check_names) or "none: there are no checks")
    known = around.checks.get(shape.check)
    if known is None:
        return shape.check
    if isinstance(known.probe, PushProbe | Composed):
        kind = "is composed of others" if isinstance(known.probe, Composed) else "is pushed to the controller"
        allowed = "a check that asks, such as http, tcp, dns or exec"
        document.fault((*place, "check"), f"{shape.check} {kind}", allowed)
    elif shape.through == "vip" and (reason := _UNSEEN.get(type(known.probe))):
        allowed = "direct, or a check by TCP or UDP such as http, tls or dns"
        document.fault((*place, "through"), f"{shape.check} {reason}", allowed)
    return shape.check


_UNSEEN: dict[type[Probe], str] = {
    ExecProbe: "starts a program, whose packets are its own",
    FileProbe: "reads a file",
    IcmpProbe: "pings, which instances answer themselves",
}


def _check_quic(document: Document, place: Steps, service: Service) -> None:
    """Every server ID has a length that a port expects, and every backend one for each length."""
    lengths = {length for port in service.ports if port.quic is not None for length in port.quic.lengths.values()}
    if not document.intact(*place, "ports"):
        return
    for backend in service.backends:
        spot = (*place, "backends", backend.name)
        has = [len(each) for each in backend.server_ids]
        for length in sorted(set(has) - lengths):
            allowed = " or ".join(f"{each} octets" for each in sorted(lengths)) or "quic at a port of the service"
            document.fault((*spot, "server_id"), f"no port expects server IDs of {_octets(length)}", allowed)
        if len(has) != len(set(has)):
            document.fault((*spot, "server_id"), "has two of one length", "one for each length")
        if lengths - set(has) and document.intact(*spot):
            words = f"has none of {_octets(min(lengths - set(has)))}, which a port expects"
            document.fault((*spot, "server_id"), words, "a server ID of each length in quic")


def _octets(number: int) -> str:
    return "1 octet" if number == 1 else f"{number} octets"


def _check_room(document: Document, services: Mapping[str, Service]) -> None:
    """All backends have numbers, and all VIPs a place, in the tables of the kernel."""
    backends = sum(len(service.backends) for service in services.values())
    if backends > BACKENDS_MAX:
        document.fault(("services",), f"has {backends} backends in all", f"up to {BACKENDS_MAX}")
    entries = sum(len(service.vips) * (len(service.ports) + 3) for service in services.values())
    if entries > VIP_ENTRIES_MAX:
        words = f"needs {entries} places in the table of VIPs: for each of a service's VIPs its ports and 3"
        document.fault(("services",), words, f"up to {VIP_ENTRIES_MAX}")


def _check_once(document: Document, services: Mapping[str, Service]) -> None:
    """No two services have a port of a VIP in common."""
    seen: dict[tuple[IPAddress, str, int], str] = {}
    for name, service in services.items():
        for vip in service.vips:
            for port in service.ports:
                owner = seen.setdefault((vip, port.protocol, port.port), name)
                if owner != name:
                    words = f"{port} of {vip} is that of {owner}"
                    document.fault(("services", name, "ports"), words, "another port, or another VIP")
