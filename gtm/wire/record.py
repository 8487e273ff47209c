"""Questions and resource records as they stand in a message (RFC 1035 sections 4.1.2 and 4.1.3)."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

from gtm.wire import name
from gtm.wire.error import WireError

_QUESTION = Struct("!HH")
_RECORD = Struct("!HHIH")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked: the name as written (case kept), type and class."""

    qname: bytes
    qtype: int
    qclass: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One RR: the owner uncompressed, and the rdata as it stands in the message (names in it may be compressed).

    `offset` is where the rdata starts, for whoever has to follow such names.
    """

    owner: bytes
    rtype: int
    rclass: int
    ttl: int
    rdata: bytes
    offset: int


def parse_question(message: bytes, offset: int) -> tuple[Question, int]:
    """(question, offset after it). Raises WireError."""
    qname, offset = name.read(message, offset)
    if offset + 4 > len(message):
        raise WireError("question runs over the end of the message")
    qtype, qclass = _QUESTION.unpack_from(message, offset)
    return Question(qname=qname, qtype=qtype, qclass=qclass), offset + 4


def render_question(question: Question) -> bytes:
    """The question in wire form, its name uncompressed."""
    return question.qname + _QUESTION.pack(question.qtype, question.qclass)


def parse_record(message: bytes, offset: int) -> tuple[Record, int]:
    """(record, offset after it). Raises WireError."""
    owner, offset = name.read(message, offset)
    if offset + 10 > len(message):
        raise WireError("record runs over the end of the message")
    rtype, rclass, ttl, size = _RECORD.unpack_from(message, offset)
    offset += 10
    if offset + size > len(message):
        raise WireError("rdata runs over the end of the message")
    record = Record(
        owner=owner, rtype=rtype, rclass=rclass, ttl=ttl, rdata=message[offset : offset + size], offset=offset
    )
    return record, offset + size


def skip(message: bytes, offset: int) -> tuple[int, int]:
    """(type, offset after it) of the record at `offset`, without following its names. Raises WireError."""
    try:
        while (length := message[offset]) and length < 0xC0:
            if length > name.LABEL_MAX_BYTES:
                raise WireError("unknown label type")
            offset += 1 + length
    except IndexError:
        raise WireError("name runs over the end of the message") from None
    offset += 2 if length else 1
    if offset + 10 > len(message):
        raise WireError("record runs over the end of the message")
    rtype, _, _, size = _RECORD.unpack_from(message, offset)
    offset += 10 + size
    if offset > len(message):
        raise WireError("rdata runs over the end of the message")
    return rtype, offset
