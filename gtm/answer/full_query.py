"""From bytes to what is asked: the checks that come before any zone is looked at."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gtm.wire import edns, header, record, tsig
from gtm.wire import rtype as t
from gtm.wire.edns import Edns
from gtm.wire.error import WireError
from gtm.wire.header import Header
from gtm.wire.record import Question, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A query that is worth an answer; `rcode` other than NOERROR if that answer is an error already.

    `tsig` is the record that answers the query's TSIG, if it had one: no keys are known here.
    """

    head: Header
    question: Question | None = None
    edns: Edns | None = None
    rcode: int = header.NOERROR
    tsig: bytes = b""


def parse(query: bytes) -> Query | None:
    """What is asked, or None for what gets no answer: less than a header, or a response.

    Records that have no business in a query must be well-formed, and are passed over; so is what follows the last one,
    as BIND, NSD and PowerDNS have it.
    """
    if len(query) < header.HEADER_BYTES:
        return None
    head = header.parse(query)
    if head.flags & header.QR:
        return None
    if head.opcode != header.QUERY:
        return Query(head=head, rcode=header.NOTIMP)
    if head.questions != 1:
        return Query(head=head, rcode=header.FORMERR)
    try:
        question, offset = record.parse_question(query, header.HEADER_BYTES)
    except WireError:
        return Query(head=head, rcode=header.FORMERR)
    return _with_records(Query(head=head, question=question), query, offset)


def _with_records(asked: Query, query: bytes, offset: int) -> Query:
    """The query with what its records from `offset` on say: OPT and TSIG belong into the additional section, once."""
    early = asked.head.answers + asked.head.authorities
    last = early + asked.head.additionals - 1
    try:
        for index in range(last + 1):
            rtype, after = record.skip(query, offset)
            if rtype == t.OPT:
                if index < early or asked.edns is not None:
                    raise WireError("OPT is out of place")
                asked = _with_edns(asked, record.parse_record(query, offset)[0])
            elif rtype == t.TSIG:
                if index < max(early, last):
                    raise WireError("TSIG is out of place")
                refusal = tsig.refuse(query, record.parse_record(query, offset)[0])
                asked = replace(asked, rcode=header.NOTAUTH, tsig=refusal)
            offset = after
    except WireError:
        return replace(asked, rcode=header.FORMERR)
    return asked


def _with_edns(asked: Query, opt: Record) -> Query:
    """The query with its OPT record; a response to a faulty one still has OPT (RFC 6891 section 6.1.1)."""
    try:
        options = edns.parse(opt)
    except WireError:
        return replace(asked, edns=Edns(payload_bytes=edns.PAYLOAD_MIN_BYTES), rcode=header.FORMERR)
    return replace(asked, edns=options, rcode=header.BADVERS if options.version else asked.rcode)
