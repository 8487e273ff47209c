"""EDNS(0): the OPT record and its options (RFC 6891), NSID (RFC 5001)."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from gtm.wire import ecs
from gtm.wire import rtype as t
from gtm.wire.ecs import Subnet
from gtm.wire.error import WireError
from gtm.wire.name import ROOT
from gtm.wire.record import Record

OPTION_NSID: Final = 3
DO: Final = 0x8000
PAYLOAD_MIN_BYTES: Final = 512
PAYLOAD_MAX_BYTES: Final = 1232  # never fragmented on any usual path: the value of the 2020 DNS flag day
OPT_BYTES: Final = 11

_OPT = Struct("!BHHBBHH")
_OPTION = Struct("!HH")


@dataclass(frozen=True, slots=True, kw_only=True)
class Edns:
    """What a query's OPT record says: the sender's UDP payload size in octets, version, DO, and known options."""

    payload_bytes: int
    version: int = 0
    dnssec_ok: bool = False
    nsid: bool = False
    subnet: Subnet | None = None


def parse(record: Record) -> Edns:
    """The OPT record of a query; options that are not known are passed over.

    Raises WireError for an owner that is not the root, options that do not fill the rdata exactly, and a malformed or
    repeated client subnet. Options of another version than 0 are not looked at.
    """
    if record.owner != ROOT:
        raise WireError("OPT owner is not the root")
    version = record.ttl >> 16 & 0xFF
    payload_bytes = max(record.rclass, PAYLOAD_MIN_BYTES)
    dnssec_ok = bool(record.ttl & DO)
    if version:
        return Edns(payload_bytes=payload_bytes, version=version, dnssec_ok=dnssec_ok)
    nsid = False
    subnet: Subnet | None = None
    for code, data in options(record.rdata):
        if code == OPTION_NSID:
            nsid = True
        elif code == ecs.OPTION_ECS:
            if subnet is not None:
                raise WireError("client subnet is given twice")
            subnet = ecs.parse(data)
    return Edns(payload_bytes=payload_bytes, dnssec_ok=dnssec_ok, nsid=nsid, subnet=subnet)


def options(rdata: bytes) -> list[tuple[int, bytes]]:
    """(code, data) of each option in an OPT record's rdata. Raises WireError if they do not fill it exactly."""
    found = []
    position = 0
    while position < len(rdata):
        if position + 4 > len(rdata):
            raise WireError("EDNS option runs over the end of OPT")
        code, size = _OPTION.unpack_from(rdata, position)
        position += 4
        if position + size > len(rdata):
            raise WireError("EDNS option runs over the end of OPT")
        found.append((code, rdata[position : position + size]))
        position += size
    return found


def render(*, rcode: int = 0, dnssec_ok: bool = False, options: tuple[tuple[int, bytes], ...] = ()) -> bytes:
    """An OPT record for a response: our payload size, version 0, the upper bits of `rcode`, and the options."""
    rdata = b"".join(_OPTION.pack(code, len(data)) + data for code, data in options)
    return _OPT.pack(0, t.OPT, PAYLOAD_MAX_BYTES, rcode >> 4, 0, DO if dnssec_ok else 0, len(rdata)) + rdata
