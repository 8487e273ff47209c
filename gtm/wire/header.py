"""The message header (RFC 1035 section 4.1.1, RFC 4035 section 3.1.6): flags, codes, and the twelve octets."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from gtm.wire.error import WireError

HEADER_BYTES: Final = 12

QR: Final = 0x8000
AA: Final = 0x0400
TC: Final = 0x0200
RD: Final = 0x0100
RA: Final = 0x0080
AD: Final = 0x0020
CD: Final = 0x0010
OPCODE_MASK: Final = 0x7800

QUERY: Final = 0

NOERROR: Final = 0
FORMERR: Final = 1
SERVFAIL: Final = 2
NXDOMAIN: Final = 3
NOTIMP: Final = 4
REFUSED: Final = 5
YXDOMAIN: Final = 6
NOTAUTH: Final = 9
BADVERS: Final = 16

_HEADER = Struct("!HHHHHH")


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The identifier, the 16 flag bits as they stand in the message, and the section counts."""

    ident: int
    flags: int
    questions: int = 0
    answers: int = 0
    authorities: int = 0
    additionals: int = 0

    @property
    def opcode(self) -> int:
        """The kind of query, 0 to 15."""
        return (self.flags & OPCODE_MASK) >> 11

    @property
    def rcode(self) -> int:
        """The low four bits of the response code."""
        return self.flags & 0xF


def parse(message: bytes) -> Header:
    """The header that a message starts with. Raises WireError if it is shorter than one."""
    if len(message) < HEADER_BYTES:
        raise WireError("message is shorter than its header")
    ident, flags, questions, answers, authorities, additionals = _HEADER.unpack_from(message)
    return Header(
        ident=ident,
        flags=flags,
        questions=questions,
        answers=answers,
        authorities=authorities,
        additionals=additionals,
    )


def render(header: Header) -> bytes:
    """The header's twelve octets."""
    return _HEADER.pack(
        header.ident, header.flags, header.questions, header.answers, header.authorities, header.additionals
    )
