"""The served zones, ready for lookups: built from master data, carried to other processes, asked by the full path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gtm.answer.authority_lookup import CHAIN_MAX, Answer, Choose, Lookup
from gtm.answer.authority_zone import STEERED, ZoneData, compile_zone
from gtm.model.errors import ConfigError
from gtm.model.zone import Zone
from gtm.wire import name
from gtm.wire import rtype as t


class Authority:
    """Every served zone, by lower-case origin. Immutable once made."""

    __slots__ = ("_zones",)

    def __init__(self, zones: Mapping[bytes, ZoneData]) -> None:
        self._zones = zones

    @classmethod
    def build(cls, zones: Iterable[Zone], steered: Mapping[bytes, Mapping[int, int]]) -> Authority:
        """The authority over checked zones, with steered owners (lower-case wire names) -> {type: number of its set}.

        Raises ConfigError if a steered owner is in none of the zones.
        """
        by_origin = {zone.origin.lower(): zone for zone in zones}
        of_zone: dict[bytes, dict[bytes, Mapping[int, int]]] = {}
        for owner, sets in steered.items():
            origin = next((suffix for suffix in name.suffixes(owner) if suffix in by_origin), None)
            if origin is None:
                raise ConfigError(f"steered name {name.render(owner)} is in no served zone", file="zones")
            of_zone.setdefault(origin, {})[owner] = sets
        return cls({origin: compile_zone(zone, of_zone.get(origin, {})) for origin, zone in by_origin.items()})

    def dump(self) -> list[tuple[Any, ...]]:
        """The zones as plain containers, fit for marshal."""
        return [zone.dump() for zone in self._zones.values()]

    @classmethod
    def load(cls, plain: Iterable[tuple[Any, ...]]) -> Authority:
        """The authority whose `dump` this is."""
        return cls({fields[0]: ZoneData.load(fields) for fields in plain})

    def lookup(self, qname: bytes, qtype: int, choose: Choose, *, dnssec: bool = False) -> Answer | None:
        """The answer to a question of class IN, or None where no served zone has the name.

        `qname` is in wire form, its case kept in what is made of it; `choose(number)` gives a steered set's ready
        records (`c00c type class ttl rdlength rdata`, b"" for none); `dnssec` is whether DO was set.
        """
        lookup = Lookup(self.zone_for, choose, dnssec=dnssec)
        return lookup.run(qname, qtype)

    def memoable(self, lowered: bytes, qtype: int) -> bool:
        """Whether the answer to a question is the same for every client, and is made of names that exist as such.

        Names that exist by a wildcard or a DNAME only are left out: there is no end of them.
        """
        for _ in range(CHAIN_MAX):
            zone = self.zone_for(lowered, qtype)
            if zone is None:
                return True
            node = zone.nodes.get(lowered)
            if node is None:
                return False
            cut = zone.cut(lowered)
            if cut is not None and not (cut == lowered and qtype == t.DS):
                return zone.delegated(cut)
            if qtype | STEERED in node or (qtype == t.ANY and any(key & STEERED for key in node)):
                return False
            if qtype in node or qtype == t.ANY:
                return True
            if t.CNAME not in node:
                return t.CNAME | STEERED not in node
            lowered = node[t.CNAME][1][0].lower()
        return False

    def zone_for(self, lowered: bytes, qtype: int) -> ZoneData | None:
        """The zone to ask: the one nearest above the name; for DS at its apex the one above that, if one is served.

        DS belongs to the parent's side of a cut (RFC 4035 section 3.1.4.1).
        """
        zones = self._zones
        for suffix in name.suffixes(lowered):
            zone = zones.get(suffix)
            if zone is not None:
                break
        else:
            return None
        if qtype == t.DS and suffix == lowered and lowered != name.ROOT:
            return self.zone_for(name.parent(lowered), t.NS) or zone
        return zone
