"""Where a client is: from an address, a network or a code to its place, its class, and the network that is hashed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address

from gtm.answer.client import Located, informative, locate, normalise
from gtm.app.scene import Scene
from gtm.model.address import IPAddress, IPNetwork
from gtm.model.classes import ClassTable
from gtm.model.errors import AskedError, GtmError
from gtm.model.place import Locus, Place
from gtm.wire.ecs import Subnet

PARTS_MAX = 4096  # parts of a wide network that are looked at before saying "at least"
_FAMILY = {4: 1, 6: 2}  # RFC 7871 section 6, from the IANA registry of address families


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """A client: the locus that decides, its own place and where that is known from, and, for networks, its class.

    `locus` is the class's representative: what the served answers were compiled for.
    """

    locus: Locus
    place: Place
    origin: str
    located: Located | None = None
    notes: tuple[str, ...] = ()


def whereabouts(scene: Scene, asker: IPAddress | IPNetwork | str) -> Whereabouts:
    """The whereabouts of a client. Raises AskedError for a code that the geo data do not have."""
    if isinstance(asker, str):
        return _area(scene, asker)
    if isinstance(asker, IPv4Network | IPv6Network):
        return _network(scene, asker.network_address, asker.prefixlen, _spread(scene.classes, asker))
    return _network(scene, asker, asker.max_prefixlen, ())


def _area(scene: Scene, code: str) -> Whereabouts:
    if scene.places is None:
        raise GtmError("the geo databases cannot be read now, so a country cannot be placed; ask for an address")
    place = scene.places.area(code)
    if place is None:
        raise AskedError(f"the geo databases know no {code}", argument="from")
    return Whereabouts(
        locus=Locus(place=place),
        place=place,
        origin=f"the middle of {code}",
        notes=("Asked for an area: rules for networks and AS numbers do not fit it.",),
    )


def _network(scene: Scene, address: IPAddress, length: int, notes: tuple[str, ...]) -> Whereabouts:
    subnet = Subnet(family=_FAMILY[address.version], source=length, address=address.packed)
    located = locate(scene.classes, address.packed, subnet)
    locus = scene.classes.loci[located.class_]
    inner = ip_address(normalise(address.packed))
    place, origin = (locus.place, "the class table") if scene.places is None else scene.places.find(inner)
    if inner != address:
        notes = (*notes, f"{address} holds the IPv4 address {inner}, which decides.")
    if not informative(inner.packed):
        notes = (*notes, f"{inner} is no global unicast address: in a client subnet option it would not decide.")
    elif scene.places is not None and place.coordinates is None:
        notes = (*notes, f"{inner} has no known place: `nearest` goes by the regions' shares of traffic.")
    if length and informative(inner.packed) and located.scope > length:
        notes = (*notes, f"The scope is longer than /{length}: parts of this network may get other answers.")
    return Whereabouts(locus=locus, place=place, origin=origin, located=located, notes=notes)


def _spread(classes: ClassTable, network: IPNetwork) -> tuple[str, ...]:
    found = {class_ for class_, _ in parts(classes, network)}
    if len(found) < 2:
        return ()
    return (f"{network} holds clients of {len(found)} classes; this is for {network.network_address}.",)


def parts(classes: ClassTable, network: IPNetwork) -> Iterator[tuple[int, IPAddress]]:
    """(class, first address) of each part of a network that is one class; at most PARTS_MAX of them."""
    find = classes.find4 if network.version == 4 else classes.find6
    bits = network.max_prefixlen
    value, last = int(network.network_address), int(network.broadcast_address)
    for _ in range(PARTS_MAX):
        class_, scope = find(value)
        yield class_, type(network.network_address)(value)
        size = 1 << bits - scope
        value = (value // size + 1) * size
        if value > last:
            return
