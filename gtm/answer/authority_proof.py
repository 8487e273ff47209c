"""Proofs of non-existence from a signed zone's own NSEC (RFC 4035 section 3.1.3) or NSEC3 records (RFC 5155 7.2)."""

from __future__ import annotations

from bisect import bisect_right
from hashlib import sha1

from gtm.answer.authority_zone import Chain, Node, ZoneData
from gtm.wire import name
from gtm.wire import rtype as t

Denial = tuple[bytes, int, Node]  # owner, NSEC or NSEC3, and the node that holds it


def no_name(zone: ZoneData, lowered: bytes, encloser: bytes) -> list[Denial]:
    """That neither the name nor the wildcard that could have made it exists; `encloser` is its closest encloser."""
    return _distinct([*expanded(zone, lowered, encloser, whole=True), _cover(zone, b"\1*" + encloser)])


def no_data(zone: ZoneData, lowered: bytes) -> list[Denial]:
    """That the name, which exists, has no such type."""
    found = _match(zone, lowered)
    if found is None and zone.chain is not None and zone.chain.nodes:
        return _distinct(_closest(zone, lowered))  # an insecure delegation under opt-out, RFC 5155 section 7.2.4
    return _distinct([found or _cover(zone, lowered)])  # NSEC has no record at an empty non-terminal


def no_wildcard_data(zone: ZoneData, lowered: bytes, encloser: bytes) -> list[Denial]:
    """That the wildcard which matches the name has no such type."""
    wildcard = b"\1*" + encloser
    return _distinct(
        [
            *expanded(zone, lowered, encloser, whole=True),
            _match(zone, wildcard) or _cover(zone, wildcard),
        ]
    )


def expanded(zone: ZoneData, lowered: bytes, encloser: bytes, *, whole: bool = False) -> list[Denial | None]:
    """That the name does not itself exist, so that a wildcard applies.

    For NSEC3 `whole` adds that its closest encloser does exist; in a positive answer the signature shows that.
    """
    if zone.chain is None or not zone.chain.nodes:
        return [_cover(zone, lowered)]
    proof = [_cover(zone, _next_closer(lowered, encloser))]
    return [_match(zone, encloser), *proof] if whole else proof


def _distinct(found: list[Denial | None]) -> list[Denial]:
    return list({denial[0]: denial for denial in found if denial is not None}.values())


def _closest(zone: ZoneData, lowered: bytes) -> list[Denial | None]:
    """The closest encloser that has a record, and what covers the name next closer to this one."""
    closer = lowered
    for suffix in name.suffixes(lowered):
        found = _match(zone, suffix)
        if found is not None:
            return [found, _cover(zone, closer)]
        closer = suffix
        if suffix == zone.origin:
            break
    return []


def _next_closer(lowered: bytes, encloser: bytes) -> bytes:
    """The name one label longer than its closest encloser."""
    while name.parent(lowered) != encloser:
        lowered = name.parent(lowered)
    return lowered


def _match(zone: ZoneData, lowered: bytes) -> Denial | None:
    chain = zone.chain
    if chain is None:
        return None
    if not chain.nodes:
        node = zone.nodes.get(lowered, {})
        return (lowered, t.NSEC, node) if t.NSEC in node else None
    hashed = nsec3_hash(lowered, chain)
    place = bisect_right(chain.keys, hashed) - 1
    return (chain.owners[place], t.NSEC3, chain.nodes[place]) if place >= 0 and chain.keys[place] == hashed else None


def _cover(zone: ZoneData, lowered: bytes) -> Denial | None:
    chain = zone.chain
    if chain is None:
        return None
    key = nsec3_hash(lowered, chain) if chain.nodes else name.canonical_key(lowered)
    place = bisect_right(chain.keys, key) - 1  # -1, before the first, is in the span of the last
    owner = chain.owners[place]
    return (owner, t.NSEC3, chain.nodes[place]) if chain.nodes else (owner, t.NSEC, zone.nodes[owner])


def nsec3_hash(lowered: bytes, chain: Chain) -> bytes:
    """The name's SHA-1 hash under the chain's salt and iterations (RFC 5155 section 5)."""
    digest = sha1(lowered + chain.salt, usedforsecurity=False).digest()
    for _ in range(chain.iterations):
        digest = sha1(digest + chain.salt, usedforsecurity=False).digest()
    return digest
