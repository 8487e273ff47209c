"""Rdata in presentation form -> uncompressed wire form; case kept.

Dnspython knows every type. The few types that make up most zones have a short way of their own, 10 to 20 times as fast,
which takes only what is plainly right and leaves everything else, faults included, to dnspython.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from socket import AF_INET, AF_INET6, inet_pton
from struct import pack

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tokenizer

from gtm.wire import name
from gtm.wire import rtype as t
from gtm.wire.error import WireError

TTL_MAX_S = 2**31 - 1  # RFC 2181 section 8

_SAYS_NOTHING = "Text input is malformed"  # what dnspython has to say of most faults
_SHOWN_MAX = 60

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_TTL = re.compile(r"(?:\d{1,10}[smhdw]){1,5}", re.IGNORECASE | re.ASCII)
_TTL_PART = re.compile(r"(\d+)([smhdw])", re.IGNORECASE)


def parse_ttl(text: str) -> int | None:
    """Seconds of a TTL such as "300" or "1h30m"; None if the text is not one. Raises WireError above 2**31-1."""
    if text.isdecimal() and text.isascii():
        value = int(text[:20])  # any number that long is too large
    elif _TTL.fullmatch(text):
        value = sum(int(count) * _UNITS_S[unit.lower()] for count, unit in _TTL_PART.findall(text))
    else:
        return None
    if value > TTL_MAX_S:
        raise WireError(f"TTL {text} is larger than {TTL_MAX_S}")
    return value


def parse(rtype: int, tokens: Sequence[str], origin: bytes) -> bytes:
    """The rdata's wire form; names without a final dot are relative to `origin`. Raises WireError."""
    short = _SHORT.get(rtype)
    if short is not None:
        try:
            wire = short(tokens, origin)
        except (WireError, OSError, ValueError):
            wire = None
        if wire is not None:
            return wire
    return _parse_any(rtype, tokens, origin)


def _parse_any(rtype: int, tokens: Sequence[str], origin: bytes) -> bytes:
    type_ = dns.rdatatype.RdataType.make(rtype)
    try:
        base = dns.name.from_wire(origin, 0)[0]
        rdata = dns.rdata.from_text(dns.rdataclass.IN, type_, " ".join(tokens), base, relativize=False)
        wire = rdata.to_wire()
    except (dns.exception.DNSException, ValueError) as error:
        written = " ".join(tokens)
        reason = str(error).rstrip(".")
        because = f": {reason}" if reason and reason != _SAYS_NOTHING else ""
        raise WireError(f"bad {dns.rdatatype.to_text(type_)} data {written[:_SHOWN_MAX]!r}{because}") from error
    if wire is None or len(wire) > 0xFFFF:
        raise WireError("rdata is longer than 65535 octets")
    return wire


def _a(tokens: Sequence[str], _origin: bytes) -> bytes | None:
    return inet_pton(AF_INET, tokens[0]) if len(tokens) == 1 else None


def _aaaa(tokens: Sequence[str], _origin: bytes) -> bytes | None:
    return inet_pton(AF_INET6, tokens[0]) if len(tokens) == 1 and "%" not in tokens[0] else None


def _name(tokens: Sequence[str], origin: bytes) -> bytes | None:
    return name.parse(tokens[0], origin) if len(tokens) == 1 else None


def _uint16(text: str) -> bytes:
    if not (text.isdecimal() and text.isascii()):
        raise WireError("not a number")
    value = int(text)
    if value > 0xFFFF:
        raise WireError("number is larger than 65535")
    return pack("!H", value)


def _mx(tokens: Sequence[str], origin: bytes) -> bytes | None:
    return _uint16(tokens[0]) + name.parse(tokens[1], origin) if len(tokens) == 2 else None


def _srv(tokens: Sequence[str], origin: bytes) -> bytes | None:
    if len(tokens) != 4:
        return None
    return b"".join(map(_uint16, tokens[:3])) + name.parse(tokens[3], origin)


def _soa(tokens: Sequence[str], origin: bytes) -> bytes | None:
    if len(tokens) != 7 or not (tokens[2].isdecimal() and tokens[2].isascii() and int(tokens[2]) < 2**32):
        return None
    times = [parse_ttl(token) for token in tokens[3:]]
    known = [time for time in times if time is not None]
    if len(known) != 4:
        return None
    return name.parse(tokens[0], origin) + name.parse(tokens[1], origin) + pack("!5I", int(tokens[2]), *known)


def _txt(tokens: Sequence[str], _origin: bytes) -> bytes | None:
    wire = b""
    for token in tokens:
        if "\\" in token:
            return None
        string = (token[1:-1] if token[0] == '"' else token).encode()
        if len(string) > 255:
            return None
        wire += bytes((len(string),)) + string
    return wire or None


_SHORT: dict[int, Callable[[Sequence[str], bytes], bytes | None]] = {
    t.A: _a,
    t.AAAA: _aaaa,
    t.NS: _name,
    t.CNAME: _name,
    t.PTR: _name,
    t.DNAME: _name,
    t.MX: _mx,
    t.SRV: _srv,
    t.SOA: _soa,
    t.TXT: _txt,
}
