"""The fast path: plain questions for known names, answered by slicing and a few look-ups.

It takes what resolvers send most (one question; no EDNS, bare EDNS, or EDNS with one client subnet) and leaves all
else to the full path by returning None. Both must give the same bytes; a differential test sees to it.

What is checked octet by octet elsewhere is one dictionary look-up here: the header after its ID, and the OPT record up
to the client subnet's family, each take few forms, and each form's consequences are worked out once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence

from gtm.answer.client import informative, locate
from gtm.answer.marks import Marks, unread
from gtm.answer.pick import MASK, MUL_A, MUL_B, slot
from gtm.answer.table import AnswerTable
from gtm.model.classes import PAGE

Fast = Callable[[bytes, bytes], bytes | None]

PLAIN_MAX = 512  # RFC 1035 4.2.1, the largest UDP answer without EDNS
EDNS_SIZE = 1232  # our UDP payload size: passes any sane path unfragmented (RFC 9715)
OPT_BYTES = 11  # an OPT record without options
ANSWERS_MAX = 16
REMEMBER = 65_536  # queries whose outcome is kept until the next table or time step, some 350 octets each

_FORMS_MAX = 8192  # forms of OPT that are remembered: those with usual sizes, and then some


# Both are plain tuples, which unpack in a quarter of the time that named ones take.
# Head: the answer's header after its ID by number of answers; RD; whether an OPT record follows.
_Head = tuple[tuple[bytes, ...], int, bool]
# Form: octets from the question's end to the query's; the largest answer; the answer's OPT up to what is echoed; the
# flags of OPT; octets of a client subnet's address (0: there is none); the shift that completes it to 32 or 128 bits;
# whether that is 128.
_Form = tuple[int, int, bytes, bytes, int, int, bool]
# Prepared: what an answer is made of once the class is known: the headers by number of answers, question, OPT, the
# largest answer, octets of one record, and the set's rings and orders. Outcome: that, or all of the answer but its ID.
_Prepared = tuple[tuple[bytes, ...], bytes, bytes, int, int, tuple[tuple[bytes, ...], ...], Sequence[int]]
_Outcome = _Prepared | bytes
_Set = tuple[int, tuple[tuple[bytes, ...], ...], Sequence[int], bool]  # table.SteeredSet


def _head(rd: int, *, with_opt: bool) -> _Head:
    """QR and AA set, RD kept, AD and CD cleared (RFC 4035 3.1.6)."""
    replies = tuple(bytes((0x84 | rd, 0, 0, 1, 0, count, 0, 0, 0, with_opt)) for count in range(ANSWERS_MAX + 1))
    return replies, rd, with_opt


# Flags (RD, AD and CD may be set, nothing else) and counts of a query -> what to make of it.
_HEADS = {
    bytes((rd, low, 0, 1, 0, 0, 0, 0, 0, with_opt)): _head(rd, with_opt=bool(with_opt))
    for rd in (0, 1)
    for low in (0x00, 0x10, 0x20, 0x30)
    for with_opt in (0, 1)
}
_FORMS: dict[bytes, _Form] = {}  # a memo of a pure function, shared by all tables
_SIZES = bytes((length + 7) // 8 for length in range(129)) + bytes([255] * 127)
_HOSTS4 = [(1 << 32 - length) - 1 for length in range(33)]
_HOSTS6 = [(1 << 128 - length) - 1 for length in range(129)]
_NSID, _ECS = b"\x00\x03", b"\x00\x08"
_SCOPES = [bytes((scope,)) for scope in range(129)]
# First octets that can hold an IPv4 network which says nothing of its place (client.informative looks closer), and
# the IPv6 heads that can hold an IPv4 address.
_VAGUE4 = frozenset((0, 10, 100, 127, 169, 172, 192, *range(224, 256)))
_VAGUE6 = frozenset((0x20010000, *range(0x20020000, 0x20030000)))
_RR_BYTES = {1: 16, 28: 28, 5: 1 << 16}  # of one record; a CNAME is for the full path, which compresses its target


def responder(table: AnswerTable, seed: int, *, remember: int = REMEMBER, marks: Marks | None = None) -> Fast:
    """A function (query, source address) -> answer or None, bound to one table and one time step's seed.

    What a query comes to is kept under the query without its ID: the answer's octets where they do not depend on who
    sent it, else where to look for them. Resolvers ask the same again whenever a TTL is over, so most queries are
    found there; the first `remember` different ones are, which a flood of new ones cannot push out. All that is read
    are the closure's own variables. Which sets are asked is noted in `marks`, at the first query only of those that are
    remembered. Raises nothing for any input.
    """
    classes = table.classes
    leaves24, pages, leaves = classes.leaves24, classes.pages, classes.leaves
    known: dict[bytes, _Outcome] = {}
    study = _student(table, seed, known, remember, marks or unread(len(table.sets)))

    def respond(query: bytes, source: bytes) -> bytes | None:
        found = known.get(query[2:])
        if found is None:
            found = study(query)
            if found is None:
                return None
        if isinstance(found, bytes):
            return query[:2] + found
        replies, question, opt, limit, rr_bytes, rings, orders = found
        if len(source) == 4:
            value = int.from_bytes(source, "big")
            net = value >> 8
            leaf = leaves24[net]
            if leaf >= PAGE:
                leaf = pages[(leaf - PAGE) << 8 | value & 0xFF]
            ring = rings[orders[leaves[leaf][0]]]
        else:
            class_, _, net = locate(classes, source, None)
            ring = rings[orders[class_]]
        if len(ring) == 1:
            records = ring[0]
        else:  # pick.slot, inline
            mixed = (net ^ seed) * MUL_A & MASK
            mixed = (mixed ^ mixed >> 32) * MUL_B & MASK
            records = ring[(mixed >> 32) * len(ring) >> 32]
        count = len(records) // rr_bytes
        if not count:
            return None
        reply = b"".join((query[:2], replies[count], question, records, opt))
        return reply if len(reply) <= limit else None

    return respond


def _student(
    table: AnswerTable, seed: int, known: dict[bytes, _Outcome], remember: int, marks: Marks
) -> Callable[[bytes], _Outcome | None]:
    """A function query -> its outcome, for queries that are not in `known` yet; None where the full path must look."""
    names, classes, static = table.names, table.classes, table.static
    leaves24, pages, leaves = classes.leaves24, classes.pages, classes.leaves
    starts6, leaves6 = classes.starts6, classes.leaves6
    sets: list[_Set] = [(*steered,) for steered in table.sets]
    asked, now = marks

    def study(query: bytes) -> _Outcome | None:
        end = query.find(0, 12) + 5
        head = _HEADS.get(query[2:12])
        if head is None or end < 17:
            return None
        replies, rd, with_opt = head
        question = query[12:end]
        limit = PLAIN_MAX
        opt = do = address = b""
        size = value = 0
        six = False
        if with_opt:
            octets = query[end : end + 17]
            form = _FORMS.get(octets) or form_of(octets)
            if form is None:  # cookies, say, which many resolvers send with each query
                plainer = stripped(query, end)
                return None if plainer is None else known.get(plainer[2:]) or study(plainer)
            span, limit, opt, do, size, shift, six = form
            if len(query) - end != span:
                return None
            if size:
                length = query[end + 17]
                address = query[end + 19 :]
                value = int.from_bytes(address, "big") << shift
                if query[end + 18] or _SIZES[length] != size or value & (_HOSTS6 if six else _HOSTS4)[length]:
                    return None
                if six:
                    if value >> 125 != 1 or value >> 96 in _VAGUE6:
                        return None
                elif address[0] in _VAGUE4 and not informative(value.to_bytes(4, "big")):
                    return None
        elif len(query) != end:
            return None

        number = names.get(question)
        lasting = True
        if number is None:
            key = question[:-4].lower() + question[-4:]
            lasting = key == question  # what is asked in random case (0x20) is not asked again in the same
            number = names.get(key)
            if number is None:
                found = static.get(key + do)
                if found is None:
                    return None
                both, body = found
                echoed = query[end + 9 : end + 18] + b"\0" + address if size else b""
                rest = b"".join((both[rd], question, body, opt, echoed))
                if lasting and len(known) < remember:
                    known[query[2:]] = rest
                return rest

        asked[number] = now
        rtype, rings, orders, located = sets[number]
        if not size:
            prepared = (replies, question, opt, limit, _RR_BYTES[rtype], rings, orders)
            if lasting and len(known) < remember:
                known[query[2:]] = prepared
            return prepared
        if six:
            class_, scope = leaves[leaves6[bisect_right(starts6, value >> 64) - 1]]
            net = value >> 80
        else:
            net = value >> 8
            leaf = leaves24[net]
            if leaf >= PAGE:
                leaf = pages[(leaf - PAGE) << 8 | value & 0xFF]
            class_, scope = leaves[leaf]
        ring = rings[orders[class_]]
        records = ring[0] if len(ring) == 1 else ring[slot(net, seed, len(ring))]
        count = len(records) // _RR_BYTES[rtype]
        if not count:
            return None
        echo = query[end + 9 : end + 18]
        rest = b"".join((replies[count], question, records, opt, echo, _SCOPES[scope if located else 0], address))
        if len(rest) + 2 > limit:
            return None
        if lasting and len(known) < remember:
            known[query[2:]] = rest
        return rest

    return study


def form_of(octets: bytes) -> _Form | None:
    """The form of an OPT record given its first 17 octets (or all 11 where it has no options), if it is a usual one.

    Usual is EDNS version 0 without unknown flags, and no options or one client subnet of 1 to 32 or 128 bits.
    """
    do = octets[7:9]
    if octets[:3] != b"\x00\x00\x29" or octets[5:7] != b"\x00\x00" or do not in (b"\x00\x00", b"\x80\x00"):
        return None
    limit = max(PLAIN_MAX, min(EDNS_SIZE, octets[3] << 8 | octets[4]))
    opt = b"\x00\x00\x29" + EDNS_SIZE.to_bytes(2, "big") + b"\x00\x00" + do
    if octets[9:] == b"\x00\x00":
        form: _Form = (OPT_BYTES, limit, opt + b"\x00\x00", do, 0, 0, False)
    elif len(octets) < 17:
        return None
    else:
        family, size = octets[-1], octets[10] - 8
        most = {1: 4, 2: 16}.get(family, 0)
        subnet = bytes((0, size + 8, 0, 8, 0, size + 4, 0, family)) if 0 < size <= most else b""
        if octets[9:] != subnet:
            return None
        form = (19 + size, limit, opt, do, size, 8 * (most - size), family == 2)
    if len(_FORMS) < _FORMS_MAX:
        _FORMS[octets] = form
    return form


def stripped(query: bytes, end: int) -> bytes | None:
    """The query without the EDNS options that mean nothing to us, whose answer is the same (RFC 6891 section 6.1.2).

    `end` is where its question ends. None where OPT is not sound, asks for NSID (which the full path answers), or has
    nothing to be left out.
    """
    opt = query[end:]
    size = len(opt) - OPT_BYTES
    if size <= 0 or opt[:3] != b"\x00\x00\x29" or opt[9] << 8 | opt[10] != size:
        return None
    kept = b""
    at = OPT_BYTES
    while at < len(opt):
        head = opt[at : at + 4]
        if len(head) < 4:
            return None
        stop = at + 4 + (head[2] << 8 | head[3])
        if stop > len(opt) or head[:2] == _NSID or (head[:2] == _ECS and kept):
            return None
        if head[:2] == _ECS:
            kept = opt[at:stop]
        at = stop
    return None if len(kept) == size else query[: end + 9] + len(kept).to_bytes(2, "big") + kept


def plain_question(query: bytes) -> tuple[bytes, bytes] | None:
    """(question, flags octets of OPT or b"") of a query for the fast path without options, but for ignored ones."""
    end = query.find(0, 12) + 5
    head = _HEADS.get(query[2:12])
    if end < 17 or head is None:
        return None
    _, _, with_opt = head
    if not with_opt:
        return (query[12:end], b"") if len(query) == end else None
    opt = query[end:] if len(query) == end + OPT_BYTES else (stripped(query, end) or b"")[end:]
    form = form_of(opt) if len(opt) == OPT_BYTES else None
    return None if form is None else (query[12:end], form[3])
