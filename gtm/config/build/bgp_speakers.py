"""bgp/anycast.yaml: speakers and their neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address
from pathlib import Path

from gtm.config.build.regions import unknown_region
from gtm.config.document import Document, Steps
from gtm.config.known import Known
from gtm.config.nearby import did_you_mean, listed
from gtm.config.shape.bgp import AnycastFile, BfdShape, NeighbourShape, SessionShape, SpeakerShape
from gtm.model.address import IPAddress
from gtm.model.anycast import Bfd, Neighbour, Speaker, View, ViewKind
from gtm.model.route import Family


def build_speakers(document: Document, found: AnycastFile, folder: Path, regions: Known) -> dict[str, Speaker]:
    """The speakers by node, those that are whole."""
    speakers: dict[str, Speaker] = {}
    for node, shape in found.speakers.items():
        if shape.region not in regions:
            unknown_region(document, ("speakers", node, "region"), shape.region, regions)
        speaker = _speaker(document, found, node, shape, folder)
        if speaker is not None:
            _check_identity(document, speaker, speakers)
            speakers[node] = speaker
    return speakers


def _speaker(document: Document, found: AnycastFile, node: str, shape: SpeakerShape, folder: Path) -> Speaker | None:
    place = ("speakers", node)
    addresses = _by_family(document, (*place, "address"), shape.address)
    asn = found.asn if shape.asn is None else shape.asn
    if asn is None and not {"asn"} & {*document.written(), *document.written(*place)}:
        document.fault((*place, "asn"), "is missing", "an AS number here, or at the top of the file for all")
    router_id = shape.router_id or addresses.get(Family.IPV4)
    if router_id is None and not {"router_id", "address"} & set(document.written(*place)):
        document.fault((*place, "router_id"), "is missing", "an IPv4 address; or address, with one of IPv4 in it")
    elif router_id is None and document.intact(*place):
        document.fault((*place, "router_id"), "is missing", "an IPv4 address, as address has none")
    if asn is None or not isinstance(router_id, IPv4Address):
        return None
    built = {
        name: _neighbour(document, found, (*place, "neighbours", name), each, addresses, asn, folder)
        for name, each in shape.neighbours.items()
    }
    neighbours = tuple(each for each in built.values() if each is not None)
    for position, each in enumerate(neighbours):
        if each.address in {other.address for other in neighbours[:position]}:
            document.fault((*place, "neighbours", each.name, "address"), f"{each.address} is listed twice", "once")
    if not neighbours:
        return None
    return Speaker(
        node=node, region=shape.region, asn=asn, router_id=router_id, neighbours=neighbours, weight=shape.weight
    )


def _check_identity(document: Document, speaker: Speaker, others: Mapping[str, Speaker]) -> None:
    """A BGP identifier is unique within its AS (RFC 6286)."""
    for other in others.values():
        if (other.asn, other.router_id) == (speaker.asn, speaker.router_id):
            written = document.written("speakers", speaker.node)
            key = "router_id" if "router_id" in written else "address"
            words = f"{speaker.router_id} is the router_id of {other.node}, too"
            document.fault(("speakers", speaker.node, key), words, "a BGP identifier of its own (RFC 6286)")
            return


def _neighbour(
    document: Document,
    found: AnycastFile,
    place: Steps,
    shape: NeighbourShape,
    addresses: Mapping[Family, IPAddress],
    speaker_asn: int,
    folder: Path,
) -> Neighbour | None:
    """A neighbour; None, and a fault, where its AS or our end of the session is not known."""
    name = str(place[-1])
    provider = _provider(document, found, place, shape)
    known = found.providers.get(provider) if provider is not None else None
    asn = shape.asn if shape.asn is not None else (None if known is None else known.asn)
    written = document.written(*place)
    if asn is None and "asn" not in written and (known is None or document.intact("providers")):
        document.fault((*place, "asn"), "is missing", "its AS, ASN@ADDRESS, or a provider with asn")
    family = Family.of(shape.address)
    local = shape.local_address or addresses.get(family)
    if local is None and "local_address" not in written:
        words = f"is missing: the speaker has no IPv{shape.address.version} address"
        document.fault((*place, "local_address"), words, f"an IPv{shape.address.version} address of this speaker")
    elif local is not None and local.version != shape.address.version:
        words = f"{local} and {shape.address} cannot talk to each other"
        document.fault((*place, "local_address"), words, f"an IPv{shape.address.version} address")
        return None
    elif local == shape.address:
        document.fault((*place, "address"), f"{local} is the speaker itself", "another address")
    if asn is None or local is None:
        return None
    session = _settled(found.session, shape)
    families = tuple(each for each in Family if each in session.families)
    hops = {**{each: addresses[each] for each in Family if each in addresses and each is not family}}
    hops.update(_by_family(document, (*place, "next_hop"), shape.next_hop))
    return Neighbour(
        name=name,
        address=shape.address,
        local_address=local,
        asn=asn,
        local_asn=speaker_asn if shape.local_asn is None else shape.local_asn,
        families=families,
        provider=provider,
        hold_time_s=int(session.hold_time),
        md5_file=None if session.md5_file is None else str(folder / session.md5_file),
        ttl_security=session.ttl_security,
        add_path=session.add_path,
        graceful_restart_s=None if session.graceful_restart is None else int(session.graceful_restart),
        next_hops={each: hop for each, hop in hops.items() if each in families},
        bfd=None if session.bfd is None or not session.bfd.enabled else _bfd(session.bfd),
        port=session.port,
        view=_view(document, place, shape, folder),
    )


def _view(document: Document, place: Steps, shape: NeighbourShape, folder: Path) -> View | None:
    """The view of a neighbour; it need not be there yet."""
    found = shape.view
    if found is None:
        return None
    paths = {kind: path for kind, path in ((ViewKind.FRR, found.frr), (ViewKind.BIRD, found.bird)) if path is not None}
    if len(paths) != 1:
        if document.intact(*place, "view"):
            document.fault((*place, "view"), f"has {' and '.join(paths) or 'nothing'}", "one of frr, bird")
        return None
    ((kind, path),) = paths.items()
    return View(kind=kind, path=str(folder / path))


def _provider(document: Document, found: AnycastFile, place: Steps, shape: NeighbourShape) -> str | None:
    """The provider of a neighbour: the one that it says, else the one of its own name, if there is one."""
    known = document.written("providers")
    if shape.provider is None:
        return str(place[-1]) if str(place[-1]) in found.providers else None
    if shape.provider not in known:
        words = f"there is no provider {shape.provider}{did_you_mean(shape.provider, known)}"
        document.fault((*place, "provider"), words, listed(known) or "none: providers has none")
        return None
    return shape.provider


def _settled(common: SessionShape, shape: NeighbourShape) -> SessionShape:
    """What a neighbour says of its session, and what is common for the rest."""
    keys = SessionShape.model_fields.keys()
    own = {key: getattr(shape, key) for key in keys & shape.model_fields_set}
    return SessionShape.model_construct(**{**{key: getattr(common, key) for key in keys}, **own})


def _bfd(shape: BfdShape) -> Bfd:
    return Bfd(
        transmit_ms=max(1, round(shape.transmit * 1000)),
        receive_ms=max(1, round(shape.receive * 1000)),
        multiplier=shape.multiplier,
    )


def _by_family(document: Document, place: Steps, addresses: tuple[IPAddress, ...]) -> dict[Family, IPAddress]:
    """Addresses by family; a second one of a family is a fault."""
    found: dict[Family, IPAddress] = {}
    for position, address in enumerate(addresses):
        if Family.of(address) in found:
            document.fault((*place, position), f"is a second IPv{address.version} address", "one of each family")
        found.setdefault(Family.of(address), address)
    return found
