"""Building a message within a size, with name compression (RFC 1035 section 4.1.4).

Owners are always compressed; names in rdata only for the types of RFC 1035, as RFC 3597 section 4 wants.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

from gtm.wire import rtype as t
from gtm.wire.header import HEADER_BYTES, Header, render
from gtm.wire.record import Question, render_question

_FIXED = Struct("!HHIH")
_POINTER_MAX = 0x3FFF

# Where the names of a compressible rdata start, and how many follow one another there.
_COMPRESSIBLE = {
    t.NS: (0, 1),
    t.MD: (0, 1),
    t.MF: (0, 1),
    t.CNAME: (0, 1),
    t.SOA: (0, 2),
    t.MB: (0, 1),
    t.MG: (0, 1),
    t.MR: (0, 1),
    t.PTR: (0, 1),
    t.MINFO: (0, 2),
    t.MX: (2, 1),
}


class Composer:
    """A message in the making: RRsets go in whole or not at all, so that it never grows over `limit_bytes`."""

    __slots__ = ("_buffer", "_counts", "_limit_bytes", "_offsets")

    def __init__(self, question: Question | None, limit_bytes: int) -> None:
        self._buffer = bytearray(HEADER_BYTES)
        self._offsets: dict[bytes, int] = {}
        self._limit_bytes = limit_bytes
        self._counts = [0, 0, 0, 0]
        if question is not None:
            self._counts[0] = 1
            lowered = question.qname.lower()
            self._remember(lowered, len(lowered) - 1, HEADER_BYTES)
            self._buffer += render_question(question)

    @property
    def size_bytes(self) -> int:
        """How long the message is so far."""
        return len(self._buffer)

    def add(
        self,
        section: int,
        owner: bytes,
        rtype: int,
        ttl_s: int,
        rdatas: Sequence[bytes],
        rclass: int = t.CLASS_IN,
    ) -> bool:
        """Whether the RRset fitted and is now in the section: 1 answer, 2 authority, 3 additional.

        Sections must be filled in order. `owner` and names in rdata are uncompressed; their case is kept.
        """
        buffer = self._buffer
        start = len(buffer)
        layout = _COMPRESSIBLE.get(rtype)
        for rdata in rdatas:
            self._name(owner)
            if layout is None:
                buffer += _FIXED.pack(rtype, rclass, ttl_s, len(rdata))
                buffer += rdata
                if rtype == t.DNAME:  # not compressed itself (RFC 6672 2.5), but the CNAME made of it may point here
                    self._remember(rdata.lower(), len(rdata) - 1, len(buffer) - len(rdata))
            else:
                buffer += _FIXED.pack(rtype, rclass, ttl_s, 0)
                size_at = len(buffer) - 2
                self._rdata(rdata, *layout)
                buffer[size_at : size_at + 2] = (len(buffer) - size_at - 2).to_bytes(2, "big")
            if len(buffer) > self._limit_bytes:
                self._undo(start)
                return False
        self._counts[section] += len(rdatas)
        return True

    def add_raw(self, record: bytes) -> None:
        """Put one ready record, such as OPT, at the end of the additional section; room was left by `limit_bytes`."""
        self._buffer += record
        self._counts[3] += 1

    def finish(self, ident: int, flags: int) -> bytes:
        """The whole message with its header."""
        counts = self._counts
        self._buffer[:HEADER_BYTES] = render(
            Header(
                ident=ident,
                flags=flags,
                questions=counts[0],
                answers=counts[1],
                authorities=counts[2],
                additionals=counts[3],
            )
        )
        return bytes(self._buffer)

    def _name(self, wire: bytes) -> None:
        lowered = wire.lower()
        position = 0
        pointer: int | None = None
        while length := lowered[position]:
            pointer = self._offsets.get(lowered[position:])
            if pointer is not None:
                break
            position += 1 + length
        start = len(self._buffer)
        if pointer is None:
            self._buffer += wire
        else:
            self._buffer += wire[:position]
            self._buffer += (0xC000 | pointer).to_bytes(2, "big")
        if position:
            self._remember(lowered, position, start)

    def _remember(self, lowered: bytes, end: int, start: int) -> None:
        position = 0
        while position < end and start + position <= _POINTER_MAX:
            self._offsets[lowered[position:]] = start + position
            position += 1 + lowered[position]

    def _rdata(self, rdata: bytes, at: int, count: int) -> None:
        self._buffer += rdata[:at]
        for _ in range(count):
            end = at
            while rdata[end]:
                end += 1 + rdata[end]
            end += 1
            self._name(rdata[at:end])
            at = end
        self._buffer += rdata[at:]

    def _undo(self, size: int) -> None:
        del self._buffer[size:]
        self._offsets = {suffix: offset for suffix, offset in self._offsets.items() if offset < size}
