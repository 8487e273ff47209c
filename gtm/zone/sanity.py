"""What a zone must be to be served (errors), and what is probably not meant (doubts).

Errors are what NSD and Knot refuse a zone for (RFC 1034 section 3.6.2, RFC 1035 section 5.2, RFC 6672 section 2.4).
"""

from __future__ import annotations

from gtm.model.errors import ConfigError
from gtm.wire import name
from gtm.wire import rtype as t
from gtm.zone.doubt import Doubt
from gtm.zone.master import Gathered, Reading

_BESIDE_CNAME = frozenset({t.CNAME, t.RRSIG, t.NSEC, t.KEY, t.SIG, t.NXT})  # RFC 4034 section 2.5, RFC 2535


def check(reading: Reading, file: str) -> None:
    """Append to `reading` every error and doubt that its records as a whole give; `file` is the zone's own file."""
    _check_apex(reading, file)
    singles = {t.CNAME: "CNAME", t.DNAME: "DNAME", t.SOA: "SOA"}
    cuts: set[bytes] = set()
    for owner, rrsets in reading.nodes.items():
        for rtype, word in singles.items():
            rrset = rrsets.get(rtype)
            if rrset is not None and len(rrset.rdatas) > 1:
                _fault(reading, rrset, f"{name.render(owner)} has more than one {word}")
        if t.CNAME in rrsets and not rrsets.keys() <= _BESIDE_CNAME:
            _fault(reading, rrsets[t.CNAME], f"{name.render(owner)} has a CNAME and other data")
        if owner != reading.origin:
            if t.SOA in rrsets:
                _fault(reading, rrsets[t.SOA], f"SOA of {name.render(owner)} is not at the apex", _apex(reading))
            if t.NS in rrsets or t.DNAME in rrsets:
                cuts.add(owner)
            if t.DS in rrsets and t.NS not in rrsets:
                _doubt(reading, rrsets[t.DS], f"{name.render(owner)} has a DS but is not delegated")
    if t.DNAME in reading.nodes.get(reading.origin, {}):
        cuts.add(reading.origin)
    _check_addresses(reading, cuts)
    _check_occluded(reading, cuts)


def _apex(reading: Reading) -> str:
    return f"SOA at {name.render(reading.origin)} only"


def _fault(reading: Reading, rrset: Gathered, message: str, allowed: str | None = None) -> None:
    reading.errors.append(ConfigError(message, file=rrset.file, line=rrset.line, allowed=allowed))


def _doubt(reading: Reading, rrset: Gathered, message: str) -> None:
    reading.doubts.append(Doubt(message=message, file=rrset.file, line=rrset.line))


def _check_apex(reading: Reading, file: str) -> None:
    apex = reading.nodes.get(reading.origin, {})
    for rtype, word in ((t.SOA, "SOA"), (t.NS, "NS")):
        if rtype not in apex:
            reading.errors.append(
                ConfigError(f"zone {name.render(reading.origin)} has no {word} at its apex", file=file)
            )


def _check_addresses(reading: Reading, cuts: set[bytes]) -> None:
    """Doubts about name servers inside the zone that have no address there, or that are an alias."""
    for owner, rrsets in reading.nodes.items():
        rrset = rrsets.get(t.NS)
        if rrset is None:
            continue
        for target in (rdata.lower() for rdata in rrset.rdatas.values()):
            # Elsewhere in the zone an address may come from a wildcard or a steered name; glue may not.
            needed = name.within(target, owner if owner in cuts else reading.origin)
            if not needed:
                continue
            found = reading.nodes.get(target, {})
            if t.CNAME in found:
                _doubt(reading, rrset, f"name server {name.render(target)} is an alias")
            elif not {t.A, t.AAAA} & found.keys():
                _doubt(reading, rrset, f"name server {name.render(target)} has no address in the zone")


def _check_occluded(reading: Reading, cuts: set[bytes]) -> None:
    if not cuts:
        return
    targets = {
        rdata.lower() for rrsets in reading.nodes.values() if t.NS in rrsets for rdata in rrsets[t.NS].rdatas.values()
    }
    for owner, rrsets in reading.nodes.items():
        above = None if owner == reading.origin else _cut_above(owner, reading.origin, cuts)
        if above is None or t.NSEC3 in rrsets:
            continue
        first = next(iter(rrsets.values()))
        if t.DNAME in reading.nodes[above] and (above == reading.origin or t.NS not in reading.nodes[above]):
            _fault(reading, first, f"{name.render(owner)} is below the DNAME {name.render(above)}")
        elif owner not in targets or not rrsets.keys() <= {t.A, t.AAAA}:
            _doubt(reading, first, f"{name.render(owner)} is hidden below {name.render(above)}")


def _cut_above(owner: bytes, origin: bytes, cuts: set[bytes]) -> bytes | None:
    while owner != origin:
        owner = name.parent(owner)
        if owner in cuts:
            return owner
    return None
