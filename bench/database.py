"""The countries of a geo database as one /24 table, and that table as an MMDB that all four servers can read.

PowerDNS reads `country.iso_code`, gdnsd `continent.code` and `country.iso_code`, Knot any path: so a database in the
layout of GeoLite2 serves them all, and a flat one is reduced to that layout first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import maxminddb
import numpy as np
import numpy.typing as npt

ELSEWHERE = "AN"  # the continent where a flat database names none


@dataclass(frozen=True, slots=True, kw_only=True)
class Countries:
    """A database in a layout that every server reads, and what is in it.

    table       country number of every IPv4 /24; a /24 that the database splits has the country of its last part
    codes       country codes by number; number 0 is no country
    continents  by country code
    """

    path: Path
    table: npt.NDArray[np.uint16]
    codes: Sequence[str]
    continents: Mapping[str, str]


def ready(path: Path, folder: Path) -> Countries:
    """The database itself if it has GeoLite2's layout, else its countries in that layout, written into `folder`.

    Takes seconds: it reads every IPv4 network once.
    """
    table = np.zeros(1 << 24, dtype=np.uint16)
    number_of = {"": 0}
    continents: dict[str, str] = {}
    with maxminddb.open_database(str(path)) as reader:
        for network, record in reader:
            if network.version == 6 and int(network.network_address) >> 32:
                break  # IPv4 comes first, in ::/96
            code, continent = _country(record)
            if continent:
                continents[code] = continent
            first = (int(network.network_address) & 0xFFFFFFFF) >> 8
            last = (int(network.broadcast_address) & 0xFFFFFFFF) >> 8
            table[first : last + 1] = number_of.setdefault(code, len(number_of))
    codes = list(number_of)
    if continents:
        return Countries(path=path, table=table, codes=codes, continents=continents)
    continents = dict.fromkeys(codes[1:], ELSEWHERE)
    made = folder / "GeoLite2-Country.mmdb"
    write(made, table, codes)
    return Countries(path=made, table=table, codes=codes, continents=continents)


def _country(record: Any) -> tuple[str, str]:
    if not isinstance(record, dict):
        return "", ""
    if "country_code" in record:
        return str(record["country_code"]), ""
    code = str((record.get("country") or {}).get("iso_code") or "")
    return code, str((record.get("continent") or {}).get("code") or "") if code else ""


def write(path: Path, table: npt.NDArray[np.uint16], codes: Sequence[str]) -> None:
    """Write the table as an MMDB 2.0 file of type GeoLite2-Country, IP version 4, records of 28 bits."""
    data, offsets = _data(codes)
    lefts, rights, root = _tree(table)
    count = len(lefts)

    # A record below `count` is a node, `count` itself is "nothing", above it 16 bytes and then the data section.
    resolved = np.array([count, *(count + 16 + offset for offset in offsets[1:])], dtype=np.int64)

    def records(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return np.where(values < 0, resolved[np.clip(-values - 1, 0, None)], count - 1 - values)

    if root < 0:
        raise ValueError("a database with one country only")
    left, right = records(lefts[::-1]), records(rights[::-1])  # created last is the root: node 0
    tree = np.empty((count, 7), dtype=np.uint8)
    tree[:, 0], tree[:, 1], tree[:, 2] = left >> 16 & 0xFF, left >> 8 & 0xFF, left & 0xFF
    tree[:, 3] = (left >> 24 & 0xF) << 4 | right >> 24 & 0xF
    tree[:, 4], tree[:, 5], tree[:, 6] = right >> 16 & 0xFF, right >> 8 & 0xFF, right & 0xFF
    metadata = _map(
        node_count=_uint(count, 6),
        record_size=_uint(28, 5),
        ip_version=_uint(4, 5),
        database_type=_text("GeoLite2-Country"),
        languages=b"\x01\x04" + _text("en"),
        binary_format_major_version=_uint(2, 5),
        binary_format_minor_version=_uint(0, 5),
        build_epoch=_uint(1_700_000_000, 9),
        description=_map(en=_text("countries of the benchmark's database")),
    )
    path.write_bytes(tree.tobytes() + bytes(16) + data + b"\xab\xcd\xefMaxMind.com" + metadata)


def _tree(table: npt.NDArray[np.uint16]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int]:
    """(left, right) records of every node in the order of creation, bottom up, and the root's.

    A record is a node's number, or -1 - country.
    """
    level = -1 - table.astype(np.int64)
    lefts: list[npt.NDArray[np.int64]] = []
    rights: list[npt.NDArray[np.int64]] = []
    made = 0
    while len(level) > 1:
        left, right = level[0::2], level[1::2]
        split = (left != right) | (left >= 0)
        lefts.append(left[split])
        rights.append(right[split])
        fresh = int(split.sum())
        level = left.copy()
        level[split] = np.arange(made, made + fresh)
        made += fresh
    return np.concatenate(lefts), np.concatenate(rights), int(level[0])


def _data(codes: Sequence[str]) -> tuple[bytes, list[int]]:
    data, offsets = b"", [0]
    for code in codes[1:]:
        offsets.append(len(data))
        data += _map(
            continent=_map(code=_text(ELSEWHERE)),
            country=_map(iso_code=_text(code), names=_map(en=_text(code))),
        )
    return data, offsets


def _text(value: str) -> bytes:
    raw = value.encode()
    return (bytes([2 << 5 | len(raw)]) if len(raw) < 29 else bytes([2 << 5 | 29, len(raw) - 29])) + raw


def _uint(value: int, kind: int) -> bytes:
    raw = value.to_bytes(8, "big").lstrip(b"\0")
    return (bytes([kind << 5 | len(raw)]) if kind < 8 else bytes([len(raw), kind - 7])) + raw


def _map(**entries: bytes) -> bytes:
    return bytes([7 << 5 | len(entries)]) + b"".join(_text(key) + value for key, value in entries.items())
