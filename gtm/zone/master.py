"""Master files (RFC 1035 section 5, RFC 2308 section 4 for $TTL) -> a zone's records, with every fault by line."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import dns.exception
import dns.rdatatype

from gtm.model.errors import ConfigError
from gtm.wire import name
from gtm.wire import rtype as t
from gtm.wire.error import WireError
from gtm.zone import generate, rdata
from gtm.zone.doubt import Doubt
from gtm.zone.statement import Statement, split

INCLUDE_DEPTH_MAX = 8

_CLASS = re.compile(r"IN|CH|HS|NONE|ANY|CLASS\d+", re.IGNORECASE)
_META = frozenset({0, t.OPT, t.TKEY, t.TSIG, t.IXFR, t.AXFR, t.MAILB, t.MAILA, t.ANY})
_DIRECTIVES = "$ORIGIN $TTL $INCLUDE $GENERATE"


@dataclass(slots=True)
class Gathered:
    """An RRset while its records come in: `owner` as first written, the least TTL, and where the first record is."""

    owner: bytes
    ttl_s: int
    rdatas: dict[bytes, bytes]
    file: str
    line: int


@dataclass(slots=True)
class Reading:
    """One zone while its files are read: what was found so far, by lower-case owner and type."""

    origin: bytes
    folder: Path
    nodes: dict[bytes, dict[int, Gathered]] = field(default_factory=dict)
    errors: list[ConfigError] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)
    files: list[tuple[Path, bytes]] = field(default_factory=list)
    default_ttl_s: int | None = None
    last_ttl_s: int | None = None


def read(reading: Reading, path: Path) -> None:
    """Read a zone's master file and what it includes into `reading`, faults among them.

    Files outside `reading.folder` are refused, but for `path` itself.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        reading.errors.append(ConfigError(f"cannot be read: {error.strerror}", file=str(path)))
    else:
        _File(reading, path, reading.origin).read(data)


class _File:
    """One file of a zone: the origin and the owner that hold at the present statement."""

    __slots__ = ("_depth", "_file", "_line", "_names", "_origin", "_owner", "_path", "_reading")

    def __init__(self, reading: Reading, path: Path, origin: bytes, owner: bytes | None = None, depth: int = 0) -> None:
        self._reading = reading
        self._path = path
        self._file = str(path)
        self._origin = origin
        self._owner = owner
        self._depth = depth
        self._line: int = 0
        self._names: dict[str, bytes] = {}

    def read(self, data: bytes) -> None:
        self._reading.files.append((self._path, data))
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            self._line = data.count(b"\n", 0, error.start) + 1
            self._fault("is not UTF-8")
            return
        for statement in split(text):
            self._line = statement.line
            if isinstance(statement, Statement):
                self._obey(statement)
            else:
                self._fault(statement.reason)

    def _fault(self, message: str, *, allowed: str | None = None) -> None:
        self._reading.errors.append(ConfigError(message, file=self._file, line=self._line, allowed=allowed))

    def _obey(self, statement: Statement) -> None:
        tokens = statement.tokens
        try:
            if tokens[0][0] == "$" and not statement.blank_owner:
                self._direct(tokens[0].upper(), tokens[1:])
            elif statement.blank_owner:
                self._record(tokens)
            else:
                self._owner = self._name(tokens[0])
                self._record(tokens[1:])
        except WireError as error:
            self._fault(str(error))

    def _name(self, text: str) -> bytes:
        known = self._names.get(text)
        if known is None:
            if text[0] == '"':
                raise WireError(f"name {text} is quoted")
            known = self._names[text] = name.parse(text, self._origin)
        return known

    def _direct(self, word: str, arguments: list[str]) -> None:
        if word == "$ORIGIN" and len(arguments) == 1:
            self._origin = name.parse(arguments[0], self._origin)
            self._names.clear()
        elif word == "$TTL" and len(arguments) == 1:
            ttl_s = rdata.parse_ttl(arguments[0])
            if ttl_s is None:
                raise WireError(f"{arguments[0]!r} is not a TTL")
            self._reading.default_ttl_s = ttl_s
        elif word == "$INCLUDE" and len(arguments) in {1, 2}:
            self._include(*arguments)
        elif word == "$GENERATE":
            for tokens in generate.expand(arguments):
                self._owner = self._name(tokens[0])
                self._record(tokens[1:])
        else:
            known = word in _DIRECTIVES.split()
            self._fault(
                f"wrong number of words after {word}" if known else f"unknown directive {word}", allowed=_DIRECTIVES
            )

    def _include(self, file: str, origin: str | None = None) -> None:
        """Read another file; the origin and the owner are afterwards what they were before (RFC 1035 section 5.1)."""
        if "\0" in file:
            raise WireError("$INCLUDE names no file")
        path = self._path.parent / file.strip('"')
        if not path.resolve().is_relative_to(self._reading.folder.resolve()):
            self._fault(f"$INCLUDE {file} leads out of the zones folder", allowed=f"a file in {self._reading.folder}")
        elif self._depth >= INCLUDE_DEPTH_MAX:
            self._fault(f"$INCLUDE is nested deeper than {INCLUDE_DEPTH_MAX} files")
        else:
            inner = self._origin if origin is None else name.parse(origin, self._origin)
            try:
                data = path.read_bytes()
            except OSError as error:
                raise WireError(f"$INCLUDE {file} cannot be read: {error.strerror}") from error
            _File(self._reading, path, inner, self._owner, self._depth + 1).read(data)

    def _record(self, tokens: list[str]) -> None:
        if self._owner is None:
            raise WireError("the first record has no owner name")
        position, ttl_s = self._ttl_and_class(tokens)
        if position >= len(tokens):
            raise WireError("record type is missing")
        rtype = self._type(tokens[position])
        wire = rdata.parse(rtype, tokens[position + 1 :], self._origin)
        self._gather(self._owner, rtype, self._ttl(ttl_s, rtype, wire), wire)

    def _ttl_and_class(self, tokens: list[str]) -> tuple[int, int | None]:
        """(position of the type, TTL if one is given); TTL and class come in either order."""
        ttl_s: int | None = None
        class_seen = False
        for position, token in enumerate(tokens[:3]):
            if token == "IN" and not class_seen:  # noqa: S105 - a class, not a password
                class_seen = True
            elif ttl_s is None and token[0].isdigit() and (value := rdata.parse_ttl(token)) is not None:
                ttl_s = value
            elif not class_seen and _CLASS.fullmatch(token):
                if token.upper() not in {"IN", "CLASS1"}:
                    raise WireError(f"class {token} is not served; only IN is")
                class_seen = True
            else:
                return position, ttl_s
        return min(3, len(tokens)), ttl_s

    @staticmethod
    def _type(text: str) -> int:
        rtype = _TYPES.get(text)
        if rtype is None:
            try:
                rtype = int(dns.rdatatype.from_text(text))
            except (dns.exception.DNSException, ValueError) as error:
                raise WireError(f"unknown record type {text!r}") from error
            if rtype in _META:
                raise WireError(f"type {text} is for messages, not for zones")
        return rtype

    def _ttl(self, given_s: int | None, rtype: int, wire: bytes) -> int:
        """The record's TTL: its own, else $TTL, else the one before; for a SOA at the top its MINIMUM."""
        reading = self._reading
        if given_s is not None:
            reading.last_ttl_s = given_s
            return given_s
        if reading.default_ttl_s is not None:
            return reading.default_ttl_s
        if reading.last_ttl_s is None:
            if rtype != t.SOA:
                raise WireError("record has no TTL, and there is no $TTL before it")
            reading.last_ttl_s = min(int.from_bytes(wire[-4:], "big"), rdata.TTL_MAX_S)
        return reading.last_ttl_s

    def _gather(self, owner: bytes, rtype: int, ttl_s: int, wire: bytes) -> None:
        key = owner.lower()
        reading = self._reading
        rrsets = reading.nodes.get(key)
        if rrsets is None:
            if not name.within(key, reading.origin):
                self._fault(f"{name.render(owner)} is outside of the zone {name.render(reading.origin)}")
                return
            rrsets = reading.nodes[key] = {}
        known = rrsets.get(rtype)
        if known is None:
            rrsets[rtype] = Gathered(owner, ttl_s, {_identity(rtype, wire): wire}, self._file, self._line)
            return
        if known.ttl_s != ttl_s:
            if rtype != t.RRSIG:  # RFC 4034 section 3: each has the TTL of the RRset that it covers
                what = f"TTLs of {name.render(owner)} {dns.rdatatype.to_text(dns.rdatatype.RdataType.make(rtype))}"
                reading.doubts.append(
                    Doubt(message=f"{what} differ: the least one is used", file=self._file, line=self._line)
                )
            known.ttl_s = min(known.ttl_s, ttl_s)
        known.rdatas.setdefault(_identity(rtype, wire), wire)


_TYPES = {
    text: int(dns.rdatatype.from_text(text))
    for text in ("A", "AAAA", "NS", "CNAME", "PTR", "MX", "TXT", "SRV", "SOA", "CAA", "DS", "DNAME")
}


def _identity(rtype: int, wire: bytes) -> bytes:
    """What makes two rdatas of an RRset the same: names in them are compared without case (RFC 4034 section 6.2)."""
    if rtype in {t.NS, t.CNAME, t.PTR, t.DNAME}:
        return wire.lower()
    if rtype in {t.MX, t.KX, t.RT, t.AFSDB}:
        return wire[:2] + wire[2:].lower()
    return wire[:6] + wire[6:].lower() if rtype == t.SRV else wire
