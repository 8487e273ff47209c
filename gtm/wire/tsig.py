"""Transaction signatures (RFC 8945), as far as a server that shares no key has to know them."""

from __future__ import annotations

from struct import pack
from typing import Final

from gtm.wire import name
from gtm.wire import rtype as t
from gtm.wire.error import WireError
from gtm.wire.record import Record

BADKEY: Final = 17


def refuse(message: bytes, record: Record) -> bytes:
    """The unsigned TSIG record that answers `record` of a query, saying that its key is not known (section 5.2.1).

    Raises WireError for a malformed TSIG.
    """
    algorithm, offset = name.read(message, record.offset)
    fields = message[offset : record.offset + len(record.rdata)]
    size = int.from_bytes(fields[8:10], "big")
    if record.rclass != t.CLASS_ANY or len(fields) < 16 + size:
        raise WireError("TSIG is malformed")
    times, ident = fields[:8], fields[10 + size : 12 + size]
    rdata = algorithm + times + pack("!H", 0) + ident + pack("!HH", BADKEY, 0)
    return record.owner + pack("!HHIH", t.TSIG, t.CLASS_ANY, 0, len(rdata)) + rdata
