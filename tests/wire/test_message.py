"""Headers, questions, records and composition, read back by ourselves and by dnspython."""

from __future__ import annotations

import dns.message
import dns.rdata
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm.wire import header, name, record
from gtm.wire import rtype as t
from gtm.wire.compose import Composer
from gtm.wire.error import WireError
from gtm.wire.header import Header
from gtm.wire.record import Question
from tests.wire.test_name import names

uint16 = st.integers(0, 65535)
# Few labels, so that names share suffixes.
close_names = st.lists(st.sampled_from([b"\1a", b"\1A", b"\2bc", b"\3\0x."]), max_size=5).map(
    lambda p: b"".join(p) + b"\0"
)


@given(
    st.builds(
        Header, ident=uint16, flags=uint16, questions=uint16, answers=uint16, authorities=uint16, additionals=uint16
    )
)
def test_header_round_trip(head: Header) -> None:
    assert header.parse(header.render(head)) == head
    assert head.opcode == head.flags >> 11 & 15
    assert head.rcode == head.flags & 15


@pytest.mark.parametrize("size", range(12))
def test_short_header(size: int) -> None:
    with pytest.raises(WireError):
        header.parse(bytes(size))


@given(names, uint16, uint16)
def test_question_round_trip(qname: bytes, qtype: int, qclass: int) -> None:
    question = Question(qname=qname, qtype=qtype, qclass=qclass)
    wire = record.render_question(question)
    assert record.parse_question(b"xx" + wire, 2) == (question, 2 + len(wire))
    for size in range(len(wire)):
        with pytest.raises(WireError):
            record.parse_question(wire[:size], 0)


RRS = st.one_of(
    st.tuples(close_names, st.sampled_from([t.NS, t.CNAME, t.PTR, t.DNAME]), close_names),
    st.tuples(close_names, st.just(t.MX), close_names.map(lambda n: b"\0\5" + n)),
    st.tuples(close_names, st.just(t.SRV), close_names.map(lambda n: b"\0\1\0\2\0\3" + n)),
    st.tuples(close_names, st.just(t.SOA), st.tuples(close_names, close_names).map(lambda p: p[0] + p[1] + bytes(20))),
    st.tuples(close_names, st.just(t.A), st.binary(min_size=4, max_size=4)),
    st.tuples(close_names, st.just(t.TXT), st.binary(max_size=50).map(lambda b: bytes((len(b),)) + b)),
)


@given(close_names, st.lists(RRS, max_size=12))
def test_composed_messages_decode(qname: bytes, rrs: list[tuple[bytes, int, bytes]]) -> None:
    composer = Composer(Question(qname=qname, qtype=1, qclass=1), 65535)
    for owner, rtype, rdata in rrs:
        assert composer.add(1, owner, rtype, 60, (rdata,))
    wire = composer.finish(7, 0x8400)
    message = dns.message.from_wire(wire, one_rr_per_rrset=True)
    assert message.id == 7
    got = [(name.parse(r.name.to_text()).lower(), int(r.rdtype), r[0].to_wire()) for r in message.answer]
    assert [(o, y, (d or b"").lower()) for o, y, d in got] == [(o.lower(), y, d.lower()) for o, y, d in rrs]
    offset = 12 + len(qname) + 4
    for owner, rtype, _ in rrs:
        parsed, after = record.parse_record(wire, offset)
        assert (parsed.owner.lower(), parsed.rtype, parsed.ttl) == (owner.lower(), rtype, 60)
        assert record.skip(wire, offset) == (rtype, after)
        offset = after
    assert offset == len(wire)


def test_only_types_of_rfc_1035_are_compressed() -> None:
    owner = b"\3www\4test\0"
    sizes = {}
    for rtype, rdata in ((t.NS, owner), (t.MX, b"\0\1" + owner), (t.SRV, bytes(6) + owner), (t.DNAME, owner)):
        composer = Composer(Question(qname=owner, qtype=1, qclass=1), 512)
        before = composer.size_bytes
        composer.add(1, owner, rtype, 60, (rdata,))
        sizes[rtype] = composer.size_bytes - before - 12  # a pointer and the fixed fields
    assert sizes == {t.NS: 2, t.MX: 4, t.SRV: 16, t.DNAME: 10}


@given(st.lists(RRS, min_size=1, max_size=12), st.integers(40, 400))
def test_limit_is_kept_and_nothing_half_is_left(rrs: list[tuple[bytes, int, bytes]], limit_bytes: int) -> None:
    composer = Composer(Question(qname=b"\1a\0", qtype=1, qclass=1), limit_bytes)
    fitted = [rr for rr in rrs if composer.add(1, rr[0], rr[1], 60, (rr[2], rr[2]))]
    wire = composer.finish(1, 0x8400)
    assert len(wire) <= limit_bytes
    message = dns.message.from_wire(wire, one_rr_per_rrset=True)
    assert len(message.answer) == 2 * len(fitted)


def test_no_pointer_beyond_14_bits() -> None:
    composer = Composer(Question(qname=b"\1q\0", qtype=16, qclass=1), 65535)
    composer.add(1, b"\1q\0", t.TXT, 1, (b"\xff" + bytes(255),) * 70)
    composer.add(1, b"\4late\4name\0", t.A, 1, (bytes(4), b"\1\1\1\1"))
    message = dns.message.from_wire(composer.finish(1, 0x8400))
    assert message.answer[1].name.to_text() == "late.name."
    assert len(message.answer[1]) == 2


@given(st.binary(max_size=60), st.integers(0, 60))
def test_parse_and_skip_anything(message: bytes, offset: int) -> None:
    try:
        parsed, after = record.parse_record(message, offset)
    except WireError:
        return
    assert record.skip(message, offset) == (parsed.rtype, after)
    assert after <= len(message)
