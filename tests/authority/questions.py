"""Questions to a folder of zones: every name that is there, and the names around it, by a spread of types."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

import dns.rdatatype

from gtm.model.zone import Zone
from gtm.wire import name
from gtm.wire import rtype as t
from tests.authority.cases import Ask

USUAL = ("A", "AAAA", "TXT", "MX", "NS", "SOA", "CNAME", "DS", "DNAME", "SRV")


def questions(zones: Iterable[Zone], rng: random.Random, *, share: float, dnssec: bool = False) -> Iterator[Ask]:
    """Questions in a fixed order; `share` of the usual types is asked of each name, and all types that it has."""
    for zone in zones:
        for owner, types in sorted(_around(zone).items()):
            held = sorted(dns.rdatatype.to_text(dns.rdatatype.RdataType.make(number)) for number in types)
            picked = [rtype for rtype in USUAL if rtype not in held and rng.random() < share]
            for rtype in [word for word in held if word not in {"RRSIG", "NSEC3"}] + picked:
                yield _ask(rng, owner, rtype, dnssec=dnssec)


def _ask(rng: random.Random, owner: bytes, rtype: str, *, dnssec: bool) -> Ask:
    text = name.render(owner)
    if rng.random() < 0.1:
        text = "".join(rng.choice((letter.upper(), letter)) for letter in text)
    edns = rng.choice((None, 512, 1232, 1232, 1232, 4096))
    do = edns is not None and (dnssec or rng.random() < 0.15)
    return Ask(
        qname=text, qtype=rtype, do=do, edns_bytes=edns, tcp=rng.random() < 0.15 or dnssec, rd=rng.random() < 0.1
    )


def _around(zone: Zone) -> dict[bytes, set[int]]:
    """The zone's names with their types, and the names above, beside and below them, with none."""
    found: dict[bytes, set[int]] = {}
    origin = zone.origin.lower()
    for owner, rrsets in zone.nodes.items():
        if t.NSEC3 in rrsets:
            continue
        found.setdefault(owner, set()).update(rrsets)
        near = [b"\1a" + owner, b"\1*" + owner, b"\5x-x-x\1y" + owner]
        if owner != origin:
            near += [b"\5x-x-x" + name.parent(owner), name.parent(owner), b"\1*" + name.parent(owner)]
            near += [b"\1z" + owner[1 + owner[0] :]]
        for other in near:
            if len(other) <= name.NAME_MAX_BYTES:
                found.setdefault(other, set())
    return found
