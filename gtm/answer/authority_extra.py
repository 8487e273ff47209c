"""What goes into the additional section: addresses of the hosts that records name (RFC 1034 section 4.3.2 step 6)."""

from __future__ import annotations

from collections.abc import Iterator

from gtm.wire import rtype as t

# Where the host's name starts in the rdata of each type that has one worth following:
# RFC 1035 3.3.9 and 3.3.11, RFC 1183 1 and 3.3, RFC 2782, RFC 2230, RFC 9460 4.1.
_HOST_AT = {
    t.NS: 0,
    t.MB: 0,
    t.MD: 0,
    t.MF: 0,
    t.MX: 2,
    t.AFSDB: 2,
    t.RT: 2,
    t.KX: 2,
    t.SRV: 6,
    t.SVCB: 2,
    t.HTTPS: 2,
}


def hosts(owner: bytes, rtype: int, rdatas: tuple[bytes, ...]) -> Iterator[bytes]:
    """The host names, in lower case, that an RRset points to, in its order; "." in SVCB stands for the owner."""
    start = _HOST_AT.get(rtype)
    if start is None:
        return
    for rdata in rdatas:
        end = start
        while rdata[end]:
            end += 1 + rdata[end]
        host = rdata[start : end + 1].lower()
        if host != b"\0":
            yield host
        elif rtype in {t.SVCB, t.HTTPS}:
            yield owner.lower()
