"""The fast path: plain questions for known names, answered by slicing and a few look-ups.

It takes what resolvers send most (one question; no EDNS, bare EDNS, or EDNS with one client subnet) and leaves all
else to the full path by returning None. Both must give the same bytes; a differential test sees to it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from struct import Struct

from gtm.answer.client import informative, locate
from gtm.answer.pick import MASK, MUL_A, MUL_B
from gtm.answer.table import AnswerTable
from gtm.model.classes import PAGE

Fast = Callable[[bytes, bytes, int], bytes | None]

PLAIN_MAX = 512  # RFC 1035 4.2.1, the largest UDP answer without EDNS
EDNS_SIZE = 1232  # our UDP payload size: passes any sane path unfragmented (RFC 9715)

_HEADER = Struct(">2s2s8s").unpack_from
_BARE = b"\x00\x01\x00\x00\x00\x00\x00\x00"
_WITH_OPT = b"\x00\x01\x00\x00\x00\x00\x00\x01"

# Request flags -> answer flags: QR and AA set, RD kept, AD and CD cleared (RFC 4035 3.1.6). Others: full path.
_FLAGS = {bytes((rd, low)): bytes((0x84 | rd, 0)) for rd in (0, 1) for low in (0x00, 0x10, 0x20, 0x30)}

# OPT up to its options, for any payload size: (the largest answer, our own OPT). Only EDNS version 0, no unknown flags.
_OPTS = {
    bytes((0x80 if do else 0, 0)): b"\x00\x00\x29\x04\xd0\x00\x00" + bytes((0x80 if do else 0, 0)) for do in (0, 1)
}

OPT_BYTES = 11  # an OPT record without options

# RDLENGTH, OPTION-CODE 8, OPTION-LENGTH, FAMILY -> octets of address, where ECS is the only option (RFC 7871 6).
_ECS = {
    bytes((0, size + 8, 0, 8, 0, size + 4, 0, family)): size
    for family, most in ((1, 4), (2, 16))
    for size in range(1, most + 1)
}
_SCOPES = [bytes((scope,)) for scope in range(129)]
_NONE = b"\x00\x00"
_AN_ONLY = [bytes((0, 1, 0, count, 0, 0, 0, 0)) for count in range(17)]
_AN_OPT = [bytes((0, 1, 0, count, 0, 0, 0, 1)) for count in range(17)]
# First octets that can hold an IPv4 network which says nothing of its place (client.informative looks closer), and
# the IPv6 heads that can hold an IPv4 address.
_VAGUE4 = frozenset((0, 10, 100, 127, 169, 172, 192, *range(224, 256)))
_VAGUE6 = frozenset((0x20010000, *range(0x20020000, 0x20030000)))
_RR_SIZE = {1: 16, 28: 28}


def responder(table: AnswerTable) -> Fast:
    """A function (query, source address, seed) -> answer or None, bound to one table.

    All it reads are the closure's own variables. Raises nothing for any input.
    """
    names, sets, classes, static = table.names, table.sets, table.classes, table.static
    leaves24, pages, leaves = classes.leaves24, classes.pages, classes.leaves
    starts6, leaves6 = classes.starts6, classes.leaves6

    def respond(query: bytes, source: bytes, seed: int) -> bytes | None:
        end = query.find(0, 12) + 5
        if end < 17:
            return None
        ident, flags, counts = _HEADER(query)
        reply_flags = _FLAGS.get(flags)
        if reply_flags is None:
            return None
        question = query[12:end]
        limit = PLAIN_MAX
        options = opt = do = b""
        if counts == _WITH_OPT:
            do = query[end + 7 : end + 9]
            reply_opt = _OPTS.get(do)
            if reply_opt is None or query[end : end + 3] != b"\x00\x00\x29" or query[end + 5 : end + 7] != _NONE:
                return None
            opt = reply_opt
            limit = query[end + 3] << 8 | query[end + 4]
            limit = EDNS_SIZE if limit > EDNS_SIZE else max(limit, PLAIN_MAX)
            options = query[end + 9 :]
        elif counts != _BARE or len(query) != end:
            return None

        version = 0  # 4 or 6 where a client subnet decides
        value = 0
        if opt and options != _NONE:
            size = _ECS.get(options[:8])
            if size is None or len(options) != size + 10 or options[9]:
                return None
            length = options[8]
            if not size * 8 - 8 < length <= size * 8:
                return None
            value = int.from_bytes(options[10:], "big")
            if value & (1 << size * 8 - length) - 1:
                return None
            if options[7] == 1:
                version = 4
                value <<= 32 - size * 8
                if value >> 24 in _VAGUE4 and not informative(value.to_bytes(4, "big")):
                    return None
            else:
                version = 6
                value <<= 128 - size * 8
                if value >> 125 != 1 or value >> 96 in _VAGUE6:
                    return None

        key = question[:-4].lower() + question[-4:]
        number = names.get(key)
        if number is None:
            found = static.get(key + do)
            if found is None:
                return None
            both, reply_counts, body = found
            if version:
                options = options[:9] + b"\x00" + options[10:]
            return b"".join((ident, both[flags[0]], reply_counts, question, body, opt, options))

        rtype, rings, orders, located = sets[number]
        if version == 4:
            leaf = leaves24[value >> 8]
            if leaf >= PAGE:
                leaf = pages[(leaf - PAGE) << 8 | value & 0xFF]
            class_, scope = leaves[leaf]
            net = value >> 8
        elif version == 6:
            class_, scope = leaves[leaves6[bisect_right(starts6, value >> 64) - 1]]
            net = value >> 80
        elif len(source) == 4:
            value = int.from_bytes(source, "big")
            leaf = leaves24[value >> 8]
            if leaf >= PAGE:
                leaf = pages[(leaf - PAGE) << 8 | value & 0xFF]
            class_, scope = leaves[leaf]
            net = value >> 8
        else:
            class_, scope, net = locate(classes, source, None)
        if not located:
            scope = 0
        ring = rings[orders[class_]]
        if len(ring) == 1:
            records = ring[0]
        else:  # pick.slot, inline
            mixed = (net ^ seed) * MUL_A & MASK
            mixed = (mixed ^ mixed >> 32) * MUL_B & MASK
            records = ring[(mixed >> 32) * len(ring) >> 32]
        if not records:
            return None
        if version:
            options = options[:9] + _SCOPES[scope] + options[10:]
        count = len(records) // _RR_SIZE[rtype] if rtype != 5 else 0
        if not count or 12 + len(question) + len(records) + len(opt) + len(options) > limit:
            return None
        if opt:
            return b"".join((ident, reply_flags, _AN_OPT[count], question, records, opt, options))
        return b"".join((ident, reply_flags, _AN_ONLY[count], question, records))

    return respond


def plain_question(query: bytes) -> tuple[bytes, bytes] | None:
    """(question, flags octets of OPT or b"") of a query that the fast path takes and that has no options; else None."""
    end = query.find(0, 12) + 5
    if end < 17 or query[2:4] not in _FLAGS:
        return None
    if query[4:12] == _BARE and len(query) == end:
        return query[12:end], b""
    do = query[end + 7 : end + 9]
    expected = b"\x00\x00\x29" + query[end + 3 : end + 5] + _NONE + do + _NONE
    if query[4:12] == _WITH_OPT and do in _OPTS and query[end:] == expected:
        return query[12:end], do
    return None
