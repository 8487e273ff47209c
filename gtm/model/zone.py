"""Static zone data as the answer compiler reads it: names and rdata in uncompressed wire form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Rrset:
    """An RRset: `owner` as written (case kept), type, TTL in seconds, and each rdata in uncompressed wire form."""

    owner: bytes
    rtype: int
    ttl_s: int
    rdatas: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """One zone: its apex and, by lower-case wire owner name, the RRsets by type.

    Holds everything the master file has, glue and occluded data included; `source` is the file it came from.
    """

    origin: bytes
    nodes: Mapping[bytes, Mapping[int, Rrset]]
    source: str
