"""A zone compiled for lookups: plain containers only, so that marshal can carry it to another process at full speed.

A node is a dict by type number. `type` gives (TTL, rdatas); `type | SIGNATURES` the RRSIG rdatas that cover the type;
`type | STEERED` the number of a steered set. An empty non-terminal is an empty dict.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from gtm.model.zone import Zone
from gtm.wire import name
from gtm.wire import rtype as t

STEERED: Final = 1 << 16
SIGNATURES: Final = 1 << 17

# A node's value is (TTL, rdatas), rdatas, or a set's number, by the bits above; spelling that union out would cost
# a cast at each of its uses.
Node = dict[int, Any]


class Chain(NamedTuple):
    """A zone's NSEC or NSEC3 records in their order.

    For NSEC `keys` are canonical sort keys and `owners` the names, whose nodes are in the zone. For NSEC3 `keys` are
    hashes, `owners` the hashed names, `nodes` their records; `salt` and `iterations` are NSEC3PARAM's.
    """

    keys: tuple[bytes, ...]
    owners: tuple[bytes, ...]
    nodes: tuple[Node, ...] = ()
    salt: bytes = b""
    iterations: int = -1


class ZoneData(NamedTuple):
    """A compiled zone.

    nodes  every name that exists, empty non-terminals included, in lower case; NSEC3 owners are not names (RFC 5155)
    cuts   owners of NS below the apex, and of DNAME: what is below them is not answered from here
    soa    (negative TTL, rdatas): the SOA as it stands in negative answers (RFC 2308 section 3)
    """

    origin: bytes
    nodes: dict[bytes, Node]
    cuts: frozenset[bytes]
    soa: tuple[int, tuple[bytes, ...]]
    chain: Chain | None

    def dump(self) -> tuple[Any, ...]:
        """The zone as plain tuples, dicts and bytes."""
        return (*self[:4], None if self.chain is None else tuple(self.chain))

    @classmethod
    def load(cls, plain: tuple[Any, ...]) -> ZoneData:
        """The zone that `dump` made plain."""
        origin, nodes, cuts, soa, chain = plain
        return cls(origin, nodes, cuts, soa, None if chain is None else Chain(*chain))

    @property
    def signed(self) -> bool:
        """Whether the zone came with signatures."""
        return t.SOA | SIGNATURES in self.nodes[self.origin]

    def cut(self, lowered: bytes) -> bytes | None:
        """The topmost delegation or DNAME at or above a name of this zone; a DNAME only where it is above."""
        top = None
        if self.cuts:
            for suffix in name.suffixes(lowered):
                if suffix in self.cuts and (suffix != lowered or self.delegated(suffix)):
                    top = suffix
                if suffix == self.origin:
                    break
        return top

    def encloser(self, lowered: bytes) -> bytes:
        """The closest encloser of a name of this zone: itself or its nearest ancestor that exists (RFC 4592 3.3.1)."""
        return next(suffix for suffix in name.suffixes(lowered) if suffix in self.nodes)

    def delegated(self, owner: bytes) -> bool:
        """Whether the name is a delegation point."""
        return owner != self.origin and t.NS in self.nodes[owner]


def compile_zone(zone: Zone, steered: Mapping[bytes, Mapping[int, int]]) -> ZoneData:
    """The zone with its steered owners; a steered type takes the place of static records of that type."""
    origin = zone.origin.lower()
    nodes: dict[bytes, Node] = {}
    hashed: dict[bytes, Node] = {}
    for owner, rrsets in zone.nodes.items():
        node: Node = {rtype: (rrset.ttl_s, rrset.rdatas) for rtype, rrset in rrsets.items()}
        if t.RRSIG in node:
            _attach_signatures(node)
        (hashed if t.NSEC3 in node else nodes)[owner] = node
    for owner, sets in steered.items():
        node = nodes.setdefault(owner, {})
        for rtype, number in sets.items():
            node.pop(rtype, None)
            node[rtype | STEERED] = number
    for owner in tuple(nodes):
        _add_parents(nodes, owner, origin)
    cuts = frozenset(owner for owner, node in nodes.items() if t.DNAME in node or (t.NS in node and owner != origin))
    ttl_s, rdatas = nodes[origin][t.SOA]
    negative_ttl_s = min(ttl_s, int.from_bytes(rdatas[0][-4:], "big"))
    return ZoneData(origin, nodes, cuts, (negative_ttl_s, rdatas), _chain(nodes, hashed, origin))


def _attach_signatures(node: Node) -> None:
    """Signatures by the type they cover, for answers that carry that type."""
    by_type: dict[int, list[bytes]] = {}
    for rdata in node[t.RRSIG][1]:
        by_type.setdefault(int.from_bytes(rdata[:2], "big"), []).append(rdata)
    for covered, rdatas in by_type.items():
        node[covered | SIGNATURES] = tuple(rdatas)


def _add_parents(nodes: dict[bytes, Node], owner: bytes, origin: bytes) -> None:
    """Empty non-terminals between the name and the apex (RFC 4592 section 2.2.2)."""
    while owner != origin:
        owner = name.parent(owner)
        if owner in nodes:
            return
        nodes[owner] = {}


def _chain(nodes: dict[bytes, Node], hashed: dict[bytes, Node], origin: bytes) -> Chain | None:
    if hashed:
        by_hash = sorted((_unbase32hex(owner[1 : 1 + owner[0]]), owner) for owner in hashed)
        first = hashed[by_hash[0][1]][t.NSEC3][1][0]
        return Chain(
            tuple(key for key, _ in by_hash),
            tuple(owner for _, owner in by_hash),
            tuple(hashed[owner] for _, owner in by_hash),
            first[5 : 5 + first[4]],
            int.from_bytes(first[2:4], "big"),
        )
    if t.NSEC in nodes[origin]:
        by_key = sorted((name.canonical_key(owner), owner) for owner, node in nodes.items() if t.NSEC in node)
        return Chain(tuple(key for key, _ in by_key), tuple(owner for _, owner in by_key))
    return None


def _unbase32hex(label: bytes) -> bytes:
    """The octets of an NSEC3 owner's first label (RFC 4648 section 7, without padding); b"" if it is not one."""
    try:
        return int(label, 32).to_bytes(len(label) * 5 // 8, "big")
    except (ValueError, OverflowError):
        return b""
