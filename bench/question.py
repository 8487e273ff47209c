"""The question that all servers answer: which region, for clients of which country; and the queries that ask it."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any, Final

import maxminddb
import numpy as np
import numpy.typing as npt

NAME: Final = "www.lb.example.com"
ZONE: Final = "lb.example.com"
TTL_S: Final = 30

# One address per region: the answer tells the region. The first region is the default.
REGIONS: Final[dict[str, str]] = {
    "us-east": "192.0.2.11",
    "eu-west": "192.0.2.21",
    "ap-southeast": "192.0.2.31",
    "us-west": "192.0.2.41",
}
DEFAULT_REGION: Final = "us-east"

# The countries that the rules name; every other one gets the default region.
COUNTRIES: Final[dict[str, str]] = {
    "eu-west": "AT BE BG CH CZ DE DK EE ES FI FR GB GR HR HU IE IS IT LT LU LV NL NO PL PT RO RS RU SE SI SK UA "
    "DZ EG KE MA NG SN TN ZA",
    "ap-southeast": "AE BD CN HK ID IL IN IR JP KR KZ MY PH PK SA SG TH TR TW VN AU FJ NZ",
    "us-west": "MX GT HN NI CR PA SV CL PE EC BO",
}
REGION_OF: Final[dict[str, str]] = {
    country: region for region, countries in COUNTRIES.items() for country in countries.split()
}

# Sources of the queries without ECS: a sixteenth of the address space that all five registries have handed out from,
# without special networks.
SOURCES: Final = IPv4Network("176.0.0.0/4")
ECS_SOURCE: Final = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Queries:
    """Prebuilt queries: a row of `packets` each (its message ID is the row), the answer expected to it, its client.

    `answer_at` is where the answer section of a reply starts.
    """

    packets: npt.NDArray[np.uint8]
    expected: npt.NDArray[np.uint32]
    clients: tuple[IPv4Address, ...]
    answer_at: int

    def save(self, path: Path) -> None:
        """Write what bench.load and bench.ask read."""
        clients = np.array([int(client) for client in self.clients], dtype=np.uint32)
        np.savez(path, packets=self.packets, expected=self.expected, answer_at=self.answer_at, clients=clients)


class Geo:
    """The database, asked with the independent reader: the country of an address, and so the region expected."""

    def __init__(self, path: Path) -> None:
        self._reader = maxminddb.open_database(str(path))
        self.path = path
        self.kind = self._reader.metadata().database_type
        # GeoLite2 keeps {"country": {"iso_code": ...}}; flat files keep {"country_code": ...}.
        self.flat = "country_code" in (self._find("8.8.8.8")[0] or {})

    def _find(self, address: str) -> tuple[dict[str, Any], int]:
        record, length = self._reader.get_with_prefix_len(address)
        return (record if isinstance(record, dict) else {}), length

    def country(self, address: IPv4Address) -> tuple[str | None, int]:
        """(country code, length of the database's network) of an address."""
        record, length = self._find(str(address))
        if self._reader.metadata().ip_version == 6 and length > 32:
            length -= 96
        if self.flat:
            return record.get("country_code"), length
        return (record.get("country") or {}).get("iso_code"), length

    def region(self, address: IPv4Address) -> str:
        """The region that a client at this address must get."""
        return REGION_OF.get(self.country(address)[0] or "", DEFAULT_REGION)


def wire_name(name: str) -> bytes:
    """The name in wire form."""
    return b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split(".")) + b"\0"


def query(message_id: int, name: str, *, ecs: tuple[IPv4Address, int] | None = None, rtype: int = 1) -> bytes:
    """One query: plain, or with EDNS(0) of 1232 bytes and an ECS option (RFC 7871)."""
    head = struct.pack(">HHHHHH", message_id, 0, 1, 0, 0, 0 if ecs is None else 1)
    question = wire_name(name) + struct.pack(">HH", rtype, 1)
    if ecs is None:
        return head + question
    network = ecs[0].packed[: -(-ecs[1] // 8)]
    option = struct.pack(">HHHBB", 8, 4 + len(network), 1, ecs[1], 0) + network
    return head + question + b"\0" + struct.pack(">HHIH", 41, 1232, 0, len(option)) + option


def ecs_queries(geo: Geo, count: int, *, seed: int = 1) -> Queries:
    """Queries with ECS for distinct /24 networks all over the public IPv4 space, each whole in one country."""
    rng = random.Random(seed)
    seen: set[int] = set()
    clients: list[IPv4Address] = []
    while len(clients) < count:
        net = rng.randrange(0x010000, 0xE00000)
        address = IPv4Address(net << 8)
        if net in seen or not address.is_global:
            continue
        seen.add(net)
        country, length = geo.country(address)
        if country is not None and length <= ECS_SOURCE:
            clients.append(address)
    return _queries(geo, clients, ecs=True)


def plain_queries(geo: Geo, count: int, *, seed: int = 2) -> Queries:
    """Queries without EDNS for clients in SOURCES (for the checking pass that sends each from its own address)."""
    rng = random.Random(seed)
    clients = [IPv4Address(int(SOURCES[0]) + rng.randrange(SOURCES.num_addresses)) for _ in range(count)]
    return _queries(geo, clients, ecs=False)


def _queries(geo: Geo, clients: list[IPv4Address], *, ecs: bool) -> Queries:
    rows = [query(index, NAME, ecs=(client, ECS_SOURCE) if ecs else None) for index, client in enumerate(clients)]
    packets = np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(len(rows), -1).copy()
    expected = np.array([int(IPv4Address(REGIONS[geo.region(client)])) for client in clients], dtype=np.uint32)
    return Queries(packets=packets, expected=expected, clients=tuple(clients), answer_at=12 + len(wire_name(NAME)) + 4)
