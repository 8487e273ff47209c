"""Whether steered names can stand where they are put: beside static data, and where the zone answers itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import dns.rdatatype

from gtm.answer.authority import Authority
from gtm.answer.compile import Layout
from gtm.model.deployment import Deployment
from gtm.model.errors import ConfigError
from gtm.model.name import SteeredName
from gtm.wire import name as wire_name
from gtm.wire import rtype as t
from gtm.zone.load import Loaded

_BESIDE_CNAME = frozenset({t.RRSIG, t.NSEC})  # RFC 4034 sections 3 and 4


def misplaced(authority: Authority, deployment: Deployment, lay: Layout, zones: Loaded) -> list[ConfigError]:
    """A fault for each steered name that the zone's static data contradicts, or that could never be answered."""
    return [
        ConfigError(
            message,
            file=f"zones/{name.zone.rstrip('.')}.yaml",
            line=name.line,
            key=f"names.{name.owner}",
            allowed=allowed,
        )
        for name in deployment.names
        for message, allowed in _faults(name, authority, lay, zones)
    ]


def _faults(name: SteeredName, authority: Authority, lay: Layout, zones: Loaded) -> Iterator[tuple[str, str]]:
    owner = wire_name.parse(name.owner).lower()
    zone = authority.zone_for(owner, t.A)
    cut = None if zone is None else zone.cut(owner)
    if cut is not None:
        where = wire_name.render(cut)
        yield f"is at or below {where}, which is delegated or a DNAME", "a name that the zone itself answers for"
        return
    source = zones.sources.get(name.zone)
    static: Mapping[int, object] = {} if source is None else source.zone.nodes.get(owner, {})
    steered = lay.index[owner]
    file = "" if source is None else source.zone.source
    if t.CNAME in static:
        yield f"is an alias (CNAME) in {file}", "a name without a CNAME there"
    for rtype in sorted(steered.keys() & static.keys() - {t.CNAME}):
        yield f"has {_text(rtype)} records in {file} as well", "either static or steered"
    others = sorted(static.keys() - _BESIDE_CNAME - {t.CNAME})
    if t.CNAME in steered and others:
        words = ", ".join(_text(rtype) for rtype in others)
        yield f"is answered as a CNAME, and {file} has {words} there", "a CNAME has no other data beside it (RFC 1034)"


def _text(rtype: int) -> str:
    return dns.rdatatype.to_text(dns.rdatatype.RdataType.make(rtype))
