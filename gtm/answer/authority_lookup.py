"""One lookup: RFC 1034 section 4.3.2 over the served zones, with wildcards (RFC 4592), DNAME (RFC 6672), negative
answers (RFC 2308, RFC 6604), the DNSSEC records of signed zones (RFC 4035, RFC 5155), and steered names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from struct import Struct
from typing import NamedTuple

from gtm.answer import authority_proof as proof
from gtm.answer.authority_extra import hosts
from gtm.answer.authority_zone import SIGNATURES, STEERED, Node, ZoneData
from gtm.wire import header, name
from gtm.wire import rtype as t

CHAIN_MAX = 16  # aliases followed in one answer

Choose = Callable[[int], bytes]
ZoneFor = Callable[[bytes, int], ZoneData | None]

_READY = Struct("!HHHIH")  # a ready record up to its rdata: pointer, type, class, TTL, RDLENGTH
_NOT_FOR_ANY = frozenset({t.RRSIG, t.NSEC, t.NSEC3PARAM})


class Rrs(NamedTuple):
    """An RRset in an answer: owner (case as asked), type, TTL in seconds, uncompressed rdatas."""

    owner: bytes
    rtype: int
    ttl_s: int
    rdatas: tuple[bytes, ...]


@dataclass(slots=True)
class Answer:
    """What to put in a response. The first `glue` RRsets of `additional` must be there or TC be set (RFC 9471).

    `negative` is NXDOMAIN or NODATA at the end of the chain.
    """

    rcode: int = header.NOERROR
    authoritative: bool = True
    negative: bool = False
    answer: list[Rrs] = field(default_factory=list)
    authority: list[Rrs] = field(default_factory=list)
    additional: list[Rrs] = field(default_factory=list)
    glue: int = 0


class Lookup:
    """The state of one lookup; use once."""

    __slots__ = ("_choose", "_dnssec", "_found", "_seen", "_zone_for")

    def __init__(self, zone_for: ZoneFor, choose: Choose, *, dnssec: bool) -> None:
        self._zone_for = zone_for
        self._choose = choose
        self._dnssec = dnssec
        self._found = Answer()
        self._seen: set[bytes] = set()

    def run(self, qname: bytes, qtype: int) -> Answer | None:
        """The answer, or None if the name is in no served zone."""
        zone = self._zone_for(qname.lower(), qtype)
        if zone is None:
            return None
        for _ in range(CHAIN_MAX):
            target = self._step(zone, qname, qtype)
            if target is None or target.lower() in self._seen:
                break
            qname = target
            zone = self._zone_for(qname.lower(), qtype)
            if zone is None:
                break
        return self._found

    def _step(self, zone: ZoneData, qname: bytes, qtype: int) -> bytes | None:
        """Add what the zone says of the name; the name to go on with if that was an alias."""
        lowered = qname.lower()
        self._seen.add(lowered)
        cut = zone.cut(lowered)
        if cut is not None and zone.delegated(cut):
            if cut != lowered or qtype != t.DS:
                self._refer(zone, cut)
                return None
        elif cut is not None:
            target = self._rename(zone, qname, cut)
            return None if qtype in {t.CNAME, t.ANY} else target  # the CNAME made of it answers these
        node = zone.nodes.get(lowered)
        if node is not None:
            return self._exact(zone, qname, node, qtype)
        encloser = zone.encloser(lowered)
        wildcard = zone.nodes.get(b"\1*" + encloser)
        if wildcard is None:
            self._found.rcode = header.NXDOMAIN
            self._deny(zone, proof.no_name(zone, lowered, encloser))
            return None
        return self._synthesise(zone, qname, wildcard, qtype, encloser)

    def _exact(self, zone: ZoneData, qname: bytes, node: Node, qtype: int) -> bytes | None:
        found, target = self._match(zone, qname, node, qtype)
        if not found:
            self._deny(zone, proof.no_data(zone, qname.lower()))
        return target

    def _synthesise(self, zone: ZoneData, qname: bytes, node: Node, qtype: int, encloser: bytes) -> bytes | None:
        """As `_exact`, at a wildcard that stands for the name (RFC 4592 section 3.3)."""
        lowered = qname.lower()
        found, target = self._match(zone, qname, node, qtype)
        if not found:
            self._deny(zone, proof.no_wildcard_data(zone, lowered, encloser))
        elif self._dnssec:
            self._prove([denial for denial in proof.expanded(zone, lowered, encloser) if denial])
        return target

    def _match(self, zone: ZoneData, qname: bytes, node: Node, qtype: int) -> tuple[bool, bytes | None]:
        """(whether the node had an answer, the alias's target to go on with)."""
        if qtype == t.ANY:
            return self._match_any(zone, qname, node), None
        rrs = self._rrs(qname, node, qtype)
        if rrs is not None:
            self._add(self._found.answer, rrs, node)
            self._add_hosts(zone, rrs)
            return True, None
        alias = self._rrs(qname, node, t.CNAME)
        if alias is None:
            return False, None
        self._add(self._found.answer, alias, node)
        return True, alias.rdatas[0]

    def _match_any(self, zone: ZoneData, qname: bytes, node: Node) -> bool:
        """One RRset instead of all (RFC 8482 section 4.1): of the lowest type, so addresses before anything else."""
        types = sorted({key & 0xFFFF for key in node if not key & SIGNATURES} - _NOT_FOR_ANY)
        for rtype in types:
            rrs = self._rrs(qname, node, rtype)
            if rrs is not None:
                self._add(self._found.answer, rrs, node)
                self._add_hosts(zone, rrs)
                return True
        return False

    def _rrs(self, owner: bytes, node: Node, rtype: int) -> Rrs | None:
        """The node's RRset of a type, static or steered, as `owner`'s."""
        static = node.get(rtype)
        if static is not None:
            return Rrs(owner, rtype, *static)
        number = node.get(rtype | STEERED)
        if number is None:
            return None
        ready = self._choose(number)
        return unpack(owner, ready) if ready else None

    def _add(self, section: list[Rrs], rrs: Rrs, node: Node) -> None:
        """The RRset, and with DO the signatures that the zone has for it; neither twice."""
        if rrs in section:
            return
        section.append(rrs)
        if self._dnssec:
            signatures = node.get(rrs.rtype | SIGNATURES)
            if signatures and rrs.rtype in node:
                section.append(Rrs(rrs.owner, t.RRSIG, rrs.ttl_s, signatures))

    def _rename(self, zone: ZoneData, qname: bytes, owner: bytes) -> bytes | None:
        """Follow a DNAME above the name: the record, and a CNAME made of it (RFC 6672 section 3.1)."""
        node = zone.nodes[owner]
        dname = Rrs(owner, t.DNAME, *node[t.DNAME])
        self._add(self._found.answer, dname, node)
        target = qname[: len(qname) - len(owner)] + dname.rdatas[0]
        if len(target) > name.NAME_MAX_BYTES:
            self._found.rcode = header.YXDOMAIN
            return None
        self._found.answer.append(Rrs(qname, t.CNAME, dname.ttl_s, (target,)))
        return target

    def _refer(self, zone: ZoneData, cut: bytes) -> None:
        """A referral: NS, DS or the proof that there is none, and glue (RFC 1034 4.2.1, RFC 4035 3.1.4)."""
        found = self._found
        if not found.answer:
            found.authoritative = False
        node = zone.nodes[cut]
        servers = Rrs(cut, t.NS, *node[t.NS])
        found.authority.append(servers)
        if self._dnssec and zone.signed:
            if t.DS in node:
                self._add(found.authority, Rrs(cut, t.DS, *node[t.DS]), node)
            else:
                self._prove(proof.no_data(zone, cut))
        targets = list(dict.fromkeys(hosts(cut, t.NS, servers.rdatas)))
        below = [host for host in targets if name.within(host, cut)]
        for host in below:
            self._add_addresses(zone, host)
        found.glue = len(found.additional)
        for host in targets:
            if host not in below:
                self._add_addresses(zone, host)

    def _deny(self, zone: ZoneData, denials: list[proof.Denial]) -> None:
        found = self._found
        found.negative = True
        self._add(found.authority, Rrs(zone.origin, t.SOA, *zone.soa), zone.nodes[zone.origin])
        if self._dnssec:
            self._prove(denials)

    def _prove(self, denials: list[proof.Denial]) -> None:
        for owner, rtype, node in denials:
            self._add(self._found.authority, Rrs(owner, rtype, *node[rtype]), node)

    def _add_hosts(self, zone: ZoneData, rrs: Rrs) -> None:
        for host in dict.fromkeys(hosts(rrs.owner, rrs.rtype, rrs.rdatas)):
            self._add_addresses(zone, host)

    def _add_addresses(self, zone: ZoneData, host: bytes) -> None:
        """The host's static addresses, if it is in the zone; steered ones would tie the answer to a place."""
        if not name.within(host, zone.origin):
            return
        node = zone.nodes.get(host)
        if node is None:
            if zone.cut(host) is not None:
                return
            node = zone.nodes.get(b"\1*" + zone.encloser(host), {})
        for rtype in (t.A, t.AAAA):
            if rtype in node:
                self._add(self._found.additional, Rrs(host, rtype, *node[rtype]), node)


def unpack(owner: bytes, ready: bytes) -> Rrs:
    """Ready records (all of one type and TTL) as an RRset of `owner`."""
    position = rtype = ttl_s = 0
    rdatas = []
    while position < len(ready):
        _, rtype, _, ttl_s, size = _READY.unpack_from(ready, position)
        position += _READY.size
        rdatas.append(ready[position : position + size])
        position += size
    return Rrs(owner, rtype, ttl_s, tuple(rdatas))
