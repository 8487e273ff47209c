"""respond: the whole of answering, as a pure function of a table, a query and a client.

The fast path is tried first. Answers of the full path that depend on nothing but the question are kept in the table's
`static` memo, so that the next equal question is answered by the fast path: as a rule static data is worked out once.
"""

from __future__ import annotations

from gtm.answer.fast import OPT_BYTES, PLAIN_MAX, plain_question, responder
from gtm.answer.full import respond_full
from gtm.answer.marks import Marks
from gtm.answer.table import AnswerTable

MEMO_MAX = 200_000  # answers, some 500 octets each with their key
_ECS_ROOM_BYTES = 4 + 4 + 16  # the largest client subnet option that the fast path may add
_TC = 0x02
_IN = b"\x00\x01"
# What resolvers ask for: NODATA and referrals are kept for these only, so that asking for 65,536 types fills nothing.
_USUAL = frozenset({1, 2, 5, 6, 12, 15, 16, 28, 33, 43, 48, 64, 65, 257})


def respond(
    table: AnswerTable, query: bytes, source: bytes, seed: int, *, tcp: bool = False, marks: Marks | None = None
) -> bytes | None:
    """The answer to a query, or None where silence is right. Any bytes are a query; raises nothing.

    `source` is the packed address it came from (4 or 16 octets), `seed` that of the time step (see pick.seed_at);
    `marks` take which steered sets were asked.
    """
    reply = respond_full(table, query, source, seed, tcp=tcp, marks=marks)
    if reply is not None and len(reply) <= PLAIN_MAX - _ECS_ROOM_BYTES:
        _learn(table, query, reply)
    return reply


def answer(table: AnswerTable, query: bytes, source: bytes, seed: int, *, tcp: bool = False) -> bytes | None:
    """As `respond`, by whichever path takes the query first: what a server's client sees."""
    return responder(table, seed)(query, source) or respond(table, query, source, seed, tcp=tcp)


def _learn(table: AnswerTable, query: bytes, reply: bytes) -> None:
    """Keep an answer for the fast path, if the query was plain and the answer is the same for every client."""
    plain = plain_question(query)
    if plain is None or len(table.static) >= MEMO_MAX or reply[2] & _TC or reply[3] & 15:
        return
    question, do = plain
    owner = question[:-4].lower()
    qtype = question[-4] << 8 | question[-3]
    bounded = reply[6:8] != b"\0\0" or qtype in _USUAL
    if question[-2:] != _IN or not bounded or not table.authority.memoable(owner, qtype):
        return
    body = reply[12 + len(question) : len(reply) - (OPT_BYTES if do else 0)]
    heads = (bytes((reply[2] & 0xFE,)) + reply[3:12], bytes((reply[2] | 1,)) + reply[3:12])
    table.static[owner + question[-4:] + do] = heads, body
