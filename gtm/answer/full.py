"""The complete path from a query to its answer: header, EDNS, classes, zones, steering, truncation.

Whatever the bytes are, the outcome is a response no longer than allowed, or silence where an answer would be wrong
(a response, or nothing that could be answered).
"""

from __future__ import annotations

from gtm.answer.authority_lookup import Answer
from gtm.answer.client import Located, locate
from gtm.answer.full_query import Query, parse
from gtm.answer.marks import Marks
from gtm.answer.pick import slot
from gtm.answer.table import AnswerTable
from gtm.wire import ecs, edns, header
from gtm.wire import rtype as t
from gtm.wire.compose import Composer
from gtm.wire.record import Question

UDP_MAX_BYTES = 512  # without EDNS, RFC 1035 section 4.2.1
TCP_MAX_BYTES = 65535
NSID_MAX_BYTES = 128  # so that question, OPT and all options always fit into 512 octets
_CHAOS_TTL_S = 0


class Steering:
    """How one client's steered sets are chosen, and what of that the ECS scope has to tell."""

    __slots__ = ("_client", "_marks", "_query", "_seed", "_source", "_table", "located")

    def __init__(self, table: AnswerTable, query: Query, source: bytes, seed: int, marks: Marks | None) -> None:
        self._table = table
        self._marks = marks
        self._query = query
        self._source = source
        self._seed = seed
        self._client: Located | None = None
        self.located = False

    @property
    def client(self) -> Located:
        """Who asks, looked up once."""
        if self._client is None:
            subnet = None if self._query.edns is None else self._query.edns.subnet
            self._client = locate(self._table.classes, self._source, subnet)
        return self._client

    def choose(self, number: int) -> bytes:
        """The ready records of a steered set for this client."""
        if self._marks is not None:
            self._marks.of_set[number] = self._marks.now
        steered = self._table.sets[number]
        client = self.client
        self.located = self.located or steered.located
        ring = steered.rings[steered.orders[client.class_]]
        return ring[slot(client.net, self._seed, len(ring))]


def respond_full(
    table: AnswerTable, query: bytes, source: bytes, seed: int, *, tcp: bool, marks: Marks | None = None
) -> bytes | None:
    """The response to `query` from the packed address `source` (4 or 16 octets), or None to stay silent.

    `seed` is that of the time step (see pick.seed_at); `marks` take which sets were asked. Raises nothing for any
    query. Over UDP the response is at most the client's payload size, at least 512 and at most 1232 octets.
    """
    asked = parse(query)
    if asked is None:
        return None
    limit_bytes = TCP_MAX_BYTES if tcp else _udp_limit_bytes(asked)
    question = asked.question
    if question is None or asked.rcode:
        return _plain(table, asked, asked.rcode or header.FORMERR, limit_bytes)
    if question.qclass == t.CLASS_CH:
        return _chaos(table, asked, question, limit_bytes)
    if question.qclass != t.CLASS_IN or question.qtype in {t.AXFR, t.IXFR}:
        return _plain(table, asked, header.REFUSED, limit_bytes)
    steering = Steering(table, asked, source, seed, marks)
    dnssec = asked.edns is not None and asked.edns.dnssec_ok
    found = table.authority.lookup(question.qname, question.qtype, steering.choose, dnssec=dnssec)
    if found is None:
        return _plain(table, asked, header.REFUSED, limit_bytes)
    scope = steering.client.scope if steering.located and not found.negative else 0
    return _render(table, asked, found, scope, limit_bytes)


def _udp_limit_bytes(asked: Query) -> int:
    if asked.edns is None:
        return UDP_MAX_BYTES
    return max(UDP_MAX_BYTES, min(asked.edns.payload_bytes, edns.PAYLOAD_MAX_BYTES))


def _flags(asked: Query, rcode: int) -> int:
    """QR, the query's opcode and RD, and the code; AD and CD are clear in what is not a resolver's (RFC 4035 3.1.6)."""
    return header.QR | asked.head.flags & (header.OPCODE_MASK | header.RD) | rcode & 0xF


def _opt(table: AnswerTable, asked: Query, rcode: int, scope: int) -> bytes:
    """Our OPT record, if the query had one: DO as asked, NSID and the client subnet where they were sent."""
    options = asked.edns
    if options is None:
        return b""
    extra: list[tuple[int, bytes]] = []
    if options.nsid and table.identity.nsid is not None:
        extra.append((edns.OPTION_NSID, table.identity.nsid.encode()[:NSID_MAX_BYTES]))
    if options.subnet is not None:
        extra.append((ecs.OPTION_ECS, ecs.render(options.subnet, scope)))
    return edns.render(rcode=rcode, dnssec_ok=options.dnssec_ok, options=tuple(extra))


def _plain(table: AnswerTable, asked: Query, rcode: int, limit_bytes: int) -> bytes:
    """A response with no records but OPT and, where it fits, TSIG."""
    composer = Composer(asked.question, limit_bytes)
    opt = _opt(table, asked, rcode, 0)
    if opt:
        composer.add_raw(opt)
    if asked.tsig and composer.size_bytes + len(asked.tsig) <= limit_bytes:
        composer.add_raw(asked.tsig)
    return composer.finish(asked.head.ident, _flags(asked, rcode))


def _chaos(table: AnswerTable, asked: Query, question: Question, limit_bytes: int) -> bytes:
    """What the server says of itself (RFC 4892), if it was told to; else REFUSED."""
    texts = {
        b"\7version\4bind\0": table.identity.version,
        b"\7version\6server\0": table.identity.version,
        b"\2id\6server\0": table.identity.id_server,
        b"\x08hostname\4bind\0": table.identity.id_server,
    }
    text = texts.get(question.qname.lower())
    if text is None or question.qtype not in {t.TXT, t.ANY}:
        return _plain(table, asked, header.REFUSED, limit_bytes)
    data = text.encode()[:255]
    opt = _opt(table, asked, header.NOERROR, 0)
    composer = Composer(question, limit_bytes - len(opt))
    rdata = bytes((len(data),)) + data
    composer.add(1, question.qname, t.TXT, _CHAOS_TTL_S, (rdata,), rclass=t.CLASS_CH)
    if opt:
        composer.add_raw(opt)
    return composer.finish(asked.head.ident, _flags(asked, header.NOERROR) | header.AA)


def _render(table: AnswerTable, asked: Query, found: Answer, scope: int, limit_bytes: int) -> bytes:
    """The response, with as many whole RRsets as fit.

    TC is set if any of the answer or authority is left out, or glue that a referral needs (RFC 9471).
    """
    opt = _opt(table, asked, found.rcode, scope)
    composer = Composer(asked.question, limit_bytes - len(opt))
    flags = _flags(asked, found.rcode)
    if found.authoritative:
        flags |= header.AA
    needed = ((1, found.answer), (2, found.authority), (3, found.additional[: found.glue]))
    if all(composer.add(section, *rrs) for section, rrsets in needed for rrs in rrsets):
        for rrs in found.additional[found.glue :]:
            composer.add(3, *rrs)
    else:
        flags |= header.TC
    if opt:
        composer.add_raw(opt)
    return composer.finish(asked.head.ident, flags)
