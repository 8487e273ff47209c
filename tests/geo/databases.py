"""Small MMDB files made by the test, and an oracle that looks networks up the slow way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path
from typing import TypeVar

import numpy as np

from gtm.geo.nest import nest
from gtm.geo.steps import Steps
from gtm.geo.writer import Datum, Meta, write4, write6
from gtm.model.address import IPAddress, IPNetwork

BUILT_S = 1_750_000_000
T = TypeVar("T")


def networks(*texts: str) -> list[IPNetwork]:
    return [ip_network(text) for text in texts]


def nested(country: str, subdivision: str | None = None, latitude: float = 1.0, longitude: float = 2.0) -> Datum:
    record: dict[str, Datum] = {
        "country": {"iso_code": country, "names": {"en": "x" * 300}},
        "location": {"latitude": latitude, "longitude": longitude, "time_zone": "Etc/UTC"},
    }
    if subdivision:
        record["subdivisions"] = [{"iso_code": subdivision}]
    return record


def flat(country: str, state: str = "", latitude: float = 1.0, longitude: float = 2.0) -> Datum:
    return {"country_code": country, "state1": state, "latitude": latitude, "longitude": longitude}


def asn(number: int) -> Datum:
    return {"autonomous_system_number": number, "autonomous_system_organization": "Example"}


def steps_of(version: int, known: Sequence[IPNetwork]) -> Steps:
    """Each network's number, -1 elsewhere; the longest wins."""
    return nest(known, version).steps


def write(
    path: Path,
    records: Mapping[str, Datum],
    *,
    ip_version: int = 6,
    record_size: int = 24,
    aliases: bool = False,
    with4: bool = True,
    kind: str = "Test-City",
) -> Path:
    """A database of networks (as text) and their records."""
    known = networks(*records)
    meta = Meta(database_type=kind, description="made by a test", build_epoch_s=BUILT_S, record_size=record_size)
    values = list(records.values())
    if ip_version == 4:
        raw = write4(steps_of(4, known), values, meta)
    else:
        raw = write6(steps_of(6, known), steps_of(4, known) if with4 else None, values, meta, aliases=aliases)
    path.write_bytes(raw)
    return path


def innermost(address: IPAddress, table: Mapping[IPNetwork, T]) -> T | None:
    """The value of the longest network around an address: the oracle."""
    around = [n for n in table if n.version == address.version and address in n]
    return table[max(around, key=lambda n: n.prefixlen)] if around else None


def address4(value: int) -> IPv4Address:
    return IPv4Address(value)


def address6(top: int, low: int = 0) -> IPv6Address:
    return IPv6Address(top << 64 | low)


def same_steps(a: Steps, b: Steps) -> bool:
    return np.array_equal(a.starts, b.starts) and np.array_equal(a.values, b.values)
