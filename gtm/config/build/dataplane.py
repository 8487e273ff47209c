"""dataplane/services.yaml -> services, the machines that balance them, and how they fit together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from gtm.config.build.bgp_services import Around
from gtm.config.build.dataplane_protection import absolute, build_protection
from gtm.config.build.dataplane_services import build_balanced
from gtm.config.build.regions import unknown_region
from gtm.config.document import Document, Steps
from gtm.config.known import Known
from gtm.config.nearby import did_you_mean, listed
from gtm.config.shape.dataplane import DataplaneFile, InstanceShape, SyncShape
from gtm.model.address import Endpoint, IPAddress, IPNetwork
from gtm.model.balance import (
    SYNC_PORT,
    AttachMode,
    Backend,
    Dataplane,
    Gateway,
    Instance,
    Secret,
    Service,
    SyncSettings,
    Wrap,
)
from gtm.model.node import Node

EXAMPLES = {4: "172.31.0.0/16", 6: "fd00:31::/64"}
SOURCE_LENGTHS = {4: 16, 6: 112}  # the last 16 bits of an outer source vary with the flow


def build_dataplane(document: Document | None, around: Around, node: Node) -> Dataplane | None:
    """What is balanced; None without a file."""
    found = document.validate(DataplaneFile) if document is not None else None
    if document is None or found is None:
        return None
    secret = _secret(document, found, around.folder)
    services = build_balanced(document, found, around)
    instances = {
        name: _instance(document, name, shape, around.folder, around.regions) for name, shape in found.instances.items()
    }
    _check_place(document, instances, node, around.regions)
    _check_reach(document, services, instances)
    _check_own(document, services, instances)
    _check_syncs(document, instances)
    return Dataplane(
        secret=secret,
        services=services,
        instances=instances,
        protection=build_protection(document, found, around.folder),
    )


def _secret(document: Document, found: DataplaneFile, folder: Path) -> Secret:
    """Where the secret is; it is read when it is needed, on the machines that need it."""
    written = {"secret_file", "secret_env"} & set(document.written())
    if not written:
        document.fault(("secret_file",), "is missing", "a file, or secret_env: the instances decide alike by a secret")
    elif len(written) > 1:
        document.fault(("secret_env",), "stands beside secret_file", "one of both")
    return Secret(
        file=None if found.secret_file is None else absolute(folder, found.secret_file),
        env=found.secret_env,
    )


def _instance(document: Document, name: str, shape: InstanceShape, folder: Path, regions: Known) -> Instance:
    place = ("instances", name)
    if shape.region not in regions:
        unknown_region(document, (*place, "region"), shape.region, regions)
    _check_families(document, (*place, "address"), shape.address)
    _check_families(document, (*place, "source"), shape.source)
    for position, network in enumerate(shape.source):
        longest = SOURCE_LENGTHS[network.version]
        if network.prefixlen > longest:
            words = f"{network} is too small: the last 16 bits vary with the flow"
            document.fault((*place, "source", position), words, f"/{longest} or wider")
    return Instance(
        node=name,
        region=shape.region,
        interface=shape.interface,
        mode=AttachMode(shape.mode),
        gateways=tuple(
            Gateway(name=each, address=gateway.address, mac=gateway.mac) for each, gateway in shape.gateways.items()
        ),
        addresses=shape.address,
        sources=shape.source,
        mtu_bytes=shape.mtu,
        sync=_sync(document, place, shape, shape.sync),
        ready_file=None if shape.ready_file is None else absolute(folder, shape.ready_file),
    )


def _sync(document: Document, place: Steps, shape: InstanceShape, sync: SyncShape | None) -> SyncSettings | None:
    if sync is None or not sync.enabled:
        return None
    listen = sync.listen
    if listen is None and shape.address:
        listen = Endpoint(address=shape.address[0], port=SYNC_PORT)
    if listen is None:
        if not {"address", "listen"} & {*document.written(*place), *document.written(*place, "sync")}:
            document.fault((*place, "sync"), "says not where to listen", "ADDRESS:PORT, or address of the instance")
        return None
    if listen.address.is_unspecified:
        document.fault((*place, "sync"), f"{listen.address} is nothing that peers can send to", "one address")
    return SyncSettings(listen=listen, flush_s=sync.flush, ready_s=sync.ready)


def _check_families(document: Document, place: Steps, found: tuple[IPAddress | IPNetwork, ...]) -> None:
    for position, each in enumerate(found):
        if any(each.version == other.version for other in found[:position]):
            document.fault((*place, position), f"is a second one of IPv{each.version}", "one of each family")


def _check_place(document: Document, instances: Mapping[str, Instance], node: Node, regions: Known) -> None:
    """A node balances in the region that gtm.yaml says it stands in."""
    here = instances.get(node.name)
    if here is not None and here.region in regions and node.region not in (None, here.region):
        words = f"{here.region} is not where {node.name} is, says gtm.yaml"
        document.fault(("instances", node.name, "region"), words, node.region)


def _check_reach(document: Document, services: Mapping[str, Service], instances: Mapping[str, Instance]) -> None:
    """Every instance has what the encapsulations of its backends need, and the gateways that they name."""
    for node, instance in instances.items():
        place = ("instances", node)
        known = tuple(gateway.name for gateway in instance.gateways)
        kinds: set[tuple[Wrap, int]] = set()  # each is asked for once: there are many backends, and few kinds of them
        for service, backend in _used(services, instance):
            named = None if backend.wrap is Wrap.L2 else backend.gateway
            if named is not None and named not in known and document.intact(*place, "gateways"):
                words = f"{node} has no gateway {named}{did_you_mean(named, known)}"
                document.fault(_where(document, service, backend, "gateway"), words, listed(known) or "no such key")
            if backend.mac is not None and backend.wrap is not Wrap.L2 and instance.gateways:
                words = f"{backend.wrap} goes to a gateway of {node}"
                document.fault(_where(document, service, backend, "mac"), words, "wrap: l2, or mac of the gateway")
            kind = Wrap.IPIP if backend.wrap is Wrap.GRE else backend.wrap, backend.address.version
            if kind in kinds:
                continue
            kinds.add(kind)
            for key, lacking, allowed in _needs(instance, backend):
                if lacking and document.intact(*place):
                    words = f"is missing for {service.key(backend)}, which is {backend.wrap}"
                    document.fault((*place, key), words, allowed)


def _needs(instance: Instance, backend: Backend) -> Iterator[tuple[str, bool, str]]:
    """What a backend's encapsulation takes of an instance: the key, whether it lacks, what is allowed there."""
    version = backend.address.version
    if backend.wrap is Wrap.GUE:
        yield "address", instance.address(version) is None, f"an IPv{version} address of its own, the source of GUE"
    elif backend.wrap is not Wrap.L2:
        allowed = f"an IPv{version} network, the sources of outer headers, such as {EXAMPLES[version]}"
        yield "source", instance.source(version) is None, allowed


def _used(services: Mapping[str, Service], instance: Instance) -> Iterator[tuple[Service, Backend]]:
    for service in services.values():
        for backend in service.backends_of(instance.region):
            yield service, backend


def _where(document: Document, service: Service, backend: Backend, key: str) -> Steps:
    """Where a key is written that a backend may have from its service."""
    own = ("services", service.name, "backends", backend.name)
    return (*own, key) if key in document.written(*own) else ("services", service.name, key)


def _check_own(document: Document, services: Mapping[str, Service], instances: Mapping[str, Instance]) -> None:
    """No address of an instance, and none of its gateways, is a VIP: its own traffic would be balanced."""
    vips = {vip: service.name for service in services.values() for vip in service.vips}
    for node, instance in instances.items():
        for position, address in enumerate(instance.addresses):
            if address in vips:
                words = f"{address} is a VIP of {vips[address]}"
                document.fault(("instances", node, "address", position), words, "an address of its own")
        for gateway in instance.gateways:
            if gateway.address in vips:
                words = f"{gateway.address} is a VIP of {vips[gateway.address]}"
                document.fault(("instances", node, "gateways", gateway.name), words, "the address of a next hop")


def _check_syncs(document: Document, instances: Mapping[str, Instance]) -> None:
    """Peers can send to each other."""
    seen: dict[Endpoint, str] = {}
    versions: dict[str, tuple[int, str]] = {}
    for node, instance in instances.items():
        if instance.sync is None:
            continue
        listen = instance.sync.listen
        if listen in seen:
            document.fault(("instances", node, "sync"), f"{listen} is that of {seen[listen]}", "an endpoint of its own")
        seen.setdefault(listen, node)
        version, other = versions.setdefault(instance.region, (listen.address.version, node))
        if version != listen.address.version:
            words = f"{listen.address} and {other}'s address cannot talk to each other"
            document.fault(("instances", node, "sync"), words, f"an IPv{version} address, as {other} has")
