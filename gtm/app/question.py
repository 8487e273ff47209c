"""What people ask, as they write it -> typed names, types, clients, regions. Raises AskedError: what is allowed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from difflib import get_close_matches

import dns.rdatatype

from gtm.config.clients import client
from gtm.config.scalars import Unfit
from gtm.model.address import IPAddress, IPNetwork
from gtm.model.errors import AskedError
from gtm.web.source import Question
from gtm.wire import name as wire_name
from gtm.wire.error import WireError

__all__ = ["Question", "client_of", "moment_of", "name_of", "near", "regions_of", "rtype_of"]

_META = frozenset({"OPT", "TSIG", "TKEY", "IXFR", "AXFR", "MAILA", "MAILB", "ANY", "NONE", "TYPE0"})
_TYPE = re.compile(r"[A-Z][A-Z0-9-]{0,15}")


def near(word: str, known: Iterable[str]) -> tuple[str, ...]:
    """Up to three of the known words that `word` may have been meant to be, the likeliest first."""
    by_fold = {one.casefold(): one for one in known}
    return tuple(by_fold[one] for one in get_close_matches(word.casefold()[:300], by_fold, n=3, cutoff=0.6))


def name_of(text: str) -> bytes:
    """The wire form, case kept, of a name; a final dot may be left out."""
    try:
        return wire_name.parse(text if text != "@" else "\\@")
    except WireError as error:
        raise AskedError(f"not a domain name: {error}", argument="name") from error


def rtype_of(text: str) -> int:
    """The number of a record type given by its mnemonic or as TYPE12345 (RFC 3597)."""
    word = text.upper()
    if _TYPE.fullmatch(word) is None or word in _META:
        raise AskedError(f"{text[:40]!r} is not a type of data that names can have", argument="type")
    try:
        return int(dns.rdatatype.from_text(word))
    except (dns.rdatatype.UnknownRdatatype, ValueError, KeyError):
        known = near(word, ("A", "AAAA", "CNAME", "TXT", "NS", "SOA", "MX", "SRV", "CAA", "PTR", "HTTPS"))
        raise AskedError(f"{text[:40]!r} is not a record type", argument="type", known=known) from None


def client_of(text: str) -> IPAddress | IPNetwork | str:
    """The client: an address, a network, or a country or subdivision code."""
    try:
        return client(text)
    except Unfit as error:
        raise AskedError(str(error), argument="from") from error


def moment_of(text: str) -> float:
    """Seconds since the epoch of a moment as RFC 3339 has it, with its zone."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise AskedError(f"{text[:40]!r} is not a moment (allowed: such as 2026-01-31T14:05:00Z)", argument="--at")
    return found.timestamp()


def regions_of(down: Iterable[str], regions: Iterable[str]) -> tuple[str, ...]:
    """The regions to take as down, each once."""
    known = tuple(regions)
    for region in down:
        if region not in known:
            raise AskedError(
                f"there is no region {region[:64]!r}", argument="down", known=near(region, known) or known[:12]
            )
    return tuple(dict.fromkeys(down))
