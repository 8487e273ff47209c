"""The class table's file: written once by the controller, memory-mapped by every worker, read with stdlib alone.

Imports nothing that takes long to import: a worker is ready in milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from gtm.geo.container import DamagedError, map_container, write_container
from gtm.model.classes import ClassTable
from gtm.model.place import Coordinates, Locus, Place

MAGIC = b"GTMCLS01"
_FORMATS = {"leaves24": "H", "pages": "H", "starts6": "Q", "leaves6": "H"}


def save(path: Path, table: ClassTable) -> None:
    """Writes a class table (as `classify` gives it) to a file, whole or not at all. Raises StoreError."""
    about = {
        "key": table.key,
        "leaves": [list(leaf) for leaf in table.leaves],
        "loci": [locus_to_json(locus) for locus in table.loci],
    }
    write_container(path, MAGIC, about, {name: _bytes(getattr(table, name)) for name in _FORMATS})


def load(path: Path, *, verify: bool = False) -> ClassTable:
    """The class table in a file, its large parts mapped; with `verify` all of it is checked (about 20 ms).

    Raises DamagedError where it has to be built again, FileNotFoundError where there is none.
    """
    contents = map_container(path, MAGIC, verify=verify)
    try:
        about: dict[str, Any] = contents.about
        parts = {name: contents.sections[name].cast(code) for name, code in _FORMATS.items()}  # type: ignore[call-overload]
        table = ClassTable(
            key=str(about["key"]),
            leaves=tuple((int(class_), int(scope)) for class_, scope in about["leaves"]),
            loci=tuple(locus_from_json(item) for item in about["loci"]),
            **parts,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedError(f"{path}: is no class table of this version") from error
    if len(table.leaves24) != 1 << 24 or not 0 < len(table.starts6) == len(table.leaves6) or table.starts6[0]:
        raise DamagedError(f"{path}: its parts do not fit together")
    return table


def _bytes(part: Sequence[int]) -> memoryview:
    if not isinstance(part, memoryview):
        raise TypeError("a class table is saved as classify gives it")
    return part.cast("B")


def locus_to_json(locus: Locus) -> dict[str, object]:
    """A locus as JSON: its place's known facts, its networks as text, sorted, and its regions with their times."""
    networks = sorted(locus.networks, key=lambda n: (n.version, int(n.network_address), n.prefixlen))
    known: dict[str, object] = {"networks": [str(n) for n in networks]} if networks else {}
    if locus.rtts:
        known["rtts"] = [list(each) for each in locus.rtts]
    return place_to_json(locus.place) | known


def locus_from_json(item: Mapping[str, Any]) -> Locus:
    """The locus that locus_to_json wrote. Raises KeyError, TypeError or ValueError."""
    return Locus(
        place=place_from_json(item),
        networks=frozenset(ip_network(n) for n in item.get("networks", ())),
        rtts=tuple((str(region), float(rtt_s)) for region, rtt_s in item.get("rtts", ())),
    )


def place_to_json(place: Place) -> dict[str, object]:
    """A place as JSON: only what is known."""
    facts = {"country": place.country, "subdivision": place.subdivision, "continent": place.continent, "asn": place.asn}
    if place.coordinates is not None:
        return {k: v for k, v in facts.items() if v is not None} | {
            "latitude": place.coordinates.latitude,
            "longitude": place.coordinates.longitude,
        }
    return {k: v for k, v in facts.items() if v is not None}


def place_from_json(item: Mapping[str, Any]) -> Place:
    """The place that place_to_json wrote. Raises KeyError, TypeError or ValueError."""
    coordinates = None
    if "latitude" in item:
        coordinates = Coordinates(latitude=float(item["latitude"]), longitude=float(item["longitude"]))
    return Place(
        country=item.get("country"),
        subdivision=item.get("subdivision"),
        continent=item.get("continent"),
        coordinates=coordinates,
        asn=item.get("asn"),
    )


__all__ = ["DamagedError", "load", "save"]
