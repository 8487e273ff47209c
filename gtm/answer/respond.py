"""respond: the whole of answering, as a pure function of a table, a query and a client.

The fast path is tried first. Answers of the full path that depend on nothing but the question are kept in the table's
`static` memo, so that the next equal question is answered by the fast path: as a rule static data is worked out once.
"""

from __future__ import annotations

from gtm.answer.fast import PLAIN_MAX, responder
from gtm.answer.full import respond_full
from gtm.answer.table import AnswerTable

MEMO_MAX = 100_000  # answers, some 300 octets each; only questions for names that exist are kept
_ECS_ROOM = 4 + 4 + 16  # the largest client subnet option that the fast path may add
_OPT_BYTES = 11


def respond(table: AnswerTable, query: bytes, source: bytes, seed: int, *, tcp: bool = False) -> bytes | None:
    """The answer to a query, or None where silence is right. Any bytes are a query; raises nothing.

    `source` is the packed address it came from (4 or 16 octets), `seed` that of the time step (see pick.seed_at).
    """
    reply = respond_full(table, query, source, seed, tcp=tcp)
    if reply is not None and len(reply) <= PLAIN_MAX - _ECS_ROOM:
        _learn(table, query, reply)
    return reply


def answer(table: AnswerTable, query: bytes, source: bytes, seed: int, *, tcp: bool = False) -> bytes | None:
    """As `respond`, by whichever path takes the query first: what a server's client sees."""
    return responder(table)(query, source, seed) or respond(table, query, source, seed, tcp=tcp)


def _learn(table: AnswerTable, query: bytes, reply: bytes) -> None:
    """Keep an answer for the fast path, if the query was plain and the answer is the same for every client."""
    end = query.find(0, 12) + 5
    bare = query[4:12] == b"\x00\x01\x00\x00\x00\x00\x00\x00" and len(query) == end
    edns = query[4:12] == b"\x00\x01\x00\x00\x00\x00\x00\x01" and len(query) == end + _OPT_BYTES
    if not (bare or edns) or len(table.static) >= MEMO_MAX or reply[2] & 0x02:
        return
    owner = query[12 : end - 4].lower()
    if not table.authority.memoable(owner, int.from_bytes(query[end - 4 : end - 2], "big")):
        return
    body = reply[end : len(reply) - (_OPT_BYTES if edns else 0)]
    flags = tuple(bytes((reply[2] & 0xFE | rd, reply[3])) for rd in (0, 1))
    do = query[end + 7 : end + 9] if edns else b""
    table.static[owner + query[end - 4 : end] + do] = flags, reply[4:12], body
