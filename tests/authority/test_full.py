"""Headers, EDNS, classes and sizes, octet by octet; expected is what most of the four servers do, or the RFC."""

from __future__ import annotations

from pathlib import Path
from struct import pack, unpack

import dns.message
import pytest

from gtm.answer.full import respond_full
from gtm.answer.table import AnswerTable
from gtm.model.node import Identity
from tests.authority.tables import table_of, zones_in

WWW = b"\3www\5cname\4test\0"
QUESTION = WWW + b"\0\1\0\1"
RECORD = WWW + pack("!HHIH", 1, 1, 60, 4) + b"\1\2\3\4"
ALGORITHM = b"\x0bhmac-sha256\0"
TSIG = (
    b"\3key\0"
    + pack("!HHIH", 250, 255, 0, len(ALGORITHM) + 16)
    + ALGORITHM
    + bytes(6)
    + pack("!HHHHH", 300, 0, 7, 0, 0)
)


@pytest.fixture(scope="module")
def table() -> AnswerTable:
    zones = zones_in(Path(__file__).parent / "zones" / "hard")
    return table_of(zones, identity=Identity(nsid="node-1", id_server="node-1", version="gtm"))


def head(flags: int = 0, questions: int = 1, answers: int = 0, authorities: int = 0, additionals: int = 0) -> bytes:
    return pack("!6H", 0x1234, flags, questions, answers, authorities, additionals)


def ask(name: bytes, qtype: int, qclass: int = 1) -> bytes:
    return name + pack("!HH", qtype, qclass)


def opt(
    *, version: int = 0, size: int = 1232, flags: int = 0, data: bytes = b"", owner: bytes = b"\0", rcode: int = 0
) -> bytes:
    return owner + pack("!HHBBHH", 41, size, rcode, version, flags, len(data)) + data


def option(code: int, data: bytes) -> bytes:
    return pack("!HH", code, len(data)) + data


def ecs(family: int, source: int, scope: int, address: bytes) -> bytes:
    return option(8, pack("!HBB", family, source, scope) + address)


def respond(table: AnswerTable, query: bytes, *, tcp: bool = False) -> bytes | None:
    return respond_full(table, query, b"\x7f\0\0\1", 0, tcp=tcp)


CASES = {
    # query: (flags, counts of the four sections)
    "plain": (head() + QUESTION, 0x8400, (1, 1, 0, 0)),
    "RD is copied": (head(0x100) + QUESTION, 0x8500, (1, 1, 0, 0)),
    "AD, CD, Z, RA are not": (head(0x00F0) + QUESTION, 0x8400, (1, 1, 0, 0)),
    "AA, TC in a query": (head(0x0600) + QUESTION, 0x8400, (1, 1, 0, 0)),
    "rcode in a query": (head(5) + QUESTION, 0x8400, (1, 1, 0, 0)),
    "IQUERY": (head(0x0800) + QUESTION, 0x8804, (0, 0, 0, 0)),
    "STATUS": (head(0x1000) + QUESTION, 0x9004, (0, 0, 0, 0)),
    "NOTIFY": (head(0x2000) + QUESTION, 0xA004, (0, 0, 0, 0)),
    "UPDATE": (head(0x2800) + QUESTION, 0xA804, (0, 0, 0, 0)),
    "opcode 15, RD": (head(0x7900, 0), 0xF904, (0, 0, 0, 0)),
    "no question": (head(0, 0), 0x8001, (0, 0, 0, 0)),
    "two questions": (head(0, 2) + QUESTION + QUESTION, 0x8001, (0, 0, 0, 0)),
    "question missing": (head(), 0x8001, (0, 0, 0, 0)),
    "trailing octets": (head() + QUESTION + b"xyz", 0x8400, (1, 1, 0, 0)),
    "record in answer": (head(0, 1, 1) + QUESTION + RECORD, 0x8400, (1, 1, 0, 0)),
    "record in authority": (head(0, 1, 0, 1) + QUESTION + RECORD, 0x8400, (1, 1, 0, 0)),
    "record in additional": (head(0, 1, 0, 0, 1) + QUESTION + RECORD, 0x8400, (1, 1, 0, 0)),
    "record missing": (head(0, 1, 1) + QUESTION, 0x8001, (1, 0, 0, 0)),
    "name points to itself": (head() + b"\xc0\x0c\0\1\0\1", 0x8001, (0, 0, 0, 0)),
    "name points forward": (head() + b"\xc0\x20\0\1\0\1", 0x8001, (0, 0, 0, 0)),
    "label type 01": (head() + b"\x40" + b"a" * 64 + b"\0\0\1\0\1", 0x8001, (0, 0, 0, 0)),
    "label type 10": (head() + b"\x80a\0\0\1\0\1", 0x8001, (0, 0, 0, 0)),
    "name cut off": (head() + b"\3ww", 0x8001, (0, 0, 0, 0)),
    "class missing": (head() + WWW + b"\0\1", 0x8001, (0, 0, 0, 0)),
    "name of 257 octets": (head() + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1", 0x8001, (0, 0, 0, 0)),
    "class HS": (head() + ask(WWW, 1, 4), 0x8005, (1, 0, 0, 0)),
    "class ANY": (head() + ask(WWW, 1, 255), 0x8005, (1, 0, 0, 0)),
    "class CH, some name": (head() + ask(WWW, 16, 3), 0x8005, (1, 0, 0, 0)),
    "version.bind": (head() + ask(b"\7VERSION\4bind\0", 16, 3), 0x8400, (1, 1, 0, 0)),
    "id.server": (head() + ask(b"\2id\6server\0", 16, 3), 0x8400, (1, 1, 0, 0)),
    "id.server A": (head() + ask(b"\2id\6server\0", 1, 3), 0x8005, (1, 0, 0, 0)),
    "AXFR": (head() + ask(b"\5cname\4test\0", 252), 0x8005, (1, 0, 0, 0)),
    "IXFR": (head() + ask(b"\5cname\4test\0", 251), 0x8005, (1, 0, 0, 0)),
    "MAILB is no data": (head() + ask(WWW, 253), 0x8400, (1, 0, 1, 0)),
    "type OPT is no data": (head() + ask(WWW, 41), 0x8400, (1, 0, 1, 0)),
    "type 0 is no data": (head() + ask(WWW, 0), 0x8400, (1, 0, 1, 0)),
    "ANY is one RRset": (head() + ask(WWW, 255), 0x8400, (1, 1, 0, 0)),
    "ANY at an alias": (head() + ask(b"\2c1\5cname\4test\0", 255), 0x8400, (1, 1, 0, 0)),
    "ANY, no such name": (head() + ask(b"\3xxx\5cname\4test\0", 255), 0x8403, (1, 0, 1, 0)),
    "outside of all zones": (head() + ask(b"\3foo\3bar\0", 1), 0x8005, (1, 0, 0, 0)),
    "the root": (head() + ask(b"\0", 2), 0x8005, (1, 0, 0, 0)),
    "EDNS": (head(0, 1, 0, 0, 1) + QUESTION + opt(), 0x8400, (1, 1, 0, 1)),
    "EDNS, outside": (head(0, 1, 0, 0, 1) + ask(b"\3bar\0", 1) + opt(), 0x8005, (1, 0, 0, 1)),
    "EDNS with an rcode": (head(0, 1, 0, 0, 1) + QUESTION + opt(rcode=3), 0x8400, (1, 1, 0, 1)),
    "EDNS version 1": (head(0, 1, 0, 0, 1) + QUESTION + opt(version=1), 0x8000, (1, 0, 0, 1)),
    "two OPTs": (head(0, 1, 0, 0, 2) + QUESTION + opt() + opt(), 0x8001, (1, 0, 0, 1)),
    "OPT owner": (head(0, 1, 0, 0, 1) + QUESTION + opt(owner=WWW), 0x8001, (1, 0, 0, 1)),
    "OPT in answer": (head(0, 1, 1) + QUESTION + opt(), 0x8001, (1, 0, 0, 0)),
    "OPT before a record": (head(0, 1, 0, 0, 2) + QUESTION + opt() + RECORD, 0x8400, (1, 1, 0, 1)),
    "unknown option": (head(0, 1, 0, 0, 1) + QUESTION + opt(data=option(65001, b"ab")), 0x8400, (1, 1, 0, 1)),
    "option header cut off": (head(0, 1, 0, 0, 1) + QUESTION + opt(data=b"\0\3"), 0x8001, (1, 0, 0, 1)),
    "option cut off": (head(0, 1, 0, 0, 1) + QUESTION + opt(data=b"\0\3\0\7ab"), 0x8001, (1, 0, 0, 1)),
    "ECS": (head(0, 1, 0, 0, 1) + QUESTION + opt(data=ecs(1, 24, 0, b"\1\2\3")), 0x8400, (1, 1, 0, 1)),
    "ECS source 0": (head(0, 1, 0, 0, 1) + QUESTION + opt(data=ecs(2, 0, 0, b"")), 0x8400, (1, 1, 0, 1)),
    "ECS family 0": (head(0, 1, 0, 0, 1) + QUESTION + opt(data=ecs(0, 0, 0, b"")), 0x8400, (1, 1, 0, 1)),
    "ECS too short": (head(0, 1, 0, 0, 1) + QUESTION + opt(data=option(8, b"\0\1\x18")), 0x8001, (1, 0, 0, 1)),
    "ECS bits beyond": (head(0, 1, 0, 0, 1) + QUESTION + opt(data=ecs(1, 23, 0, b"\1\2\3")), 0x8001, (1, 0, 0, 1)),
    "ECS scope": (head(0, 1, 0, 0, 1) + QUESTION + opt(data=ecs(1, 24, 24, b"\1\2\3")), 0x8001, (1, 0, 0, 1)),
    "ECS family 3": (head(0, 1, 0, 0, 1) + QUESTION + opt(data=ecs(3, 24, 0, b"\1\2\3")), 0x8001, (1, 0, 0, 1)),
    "ECS address long": (head(0, 1, 0, 0, 1) + QUESTION + opt(data=ecs(1, 24, 0, b"\1\2\3\0")), 0x8001, (1, 0, 0, 1)),
    "ECS address short": (head(0, 1, 0, 0, 1) + QUESTION + opt(data=ecs(1, 24, 0, b"\1\2")), 0x8001, (1, 0, 0, 1)),
    "ECS source 33": (head(0, 1, 0, 0, 1) + QUESTION + opt(data=ecs(1, 33, 0, bytes(5))), 0x8001, (1, 0, 0, 1)),
    "ECS source 129": (head(0, 1, 0, 0, 1) + QUESTION + opt(data=ecs(2, 129, 0, bytes(17))), 0x8001, (1, 0, 0, 1)),
    "ECS family 0, source 8": (head(0, 1, 0, 0, 1) + QUESTION + opt(data=ecs(0, 8, 0, b"\1")), 0x8001, (1, 0, 0, 1)),
    "TSIG": (head(0, 1, 0, 0, 1) + QUESTION + TSIG, 0x8009, (1, 0, 0, 1)),
    "TSIG after OPT": (head(0, 1, 0, 0, 2) + QUESTION + opt() + TSIG, 0x8009, (1, 0, 0, 2)),
    "TSIG before OPT": (head(0, 1, 0, 0, 2) + QUESTION + TSIG + opt(), 0x8001, (1, 0, 0, 0)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("tcp", [False, True])
def test_header(table: AnswerTable, case: str, tcp: bool) -> None:
    query, flags, counts = CASES[case]
    reply = respond(table, query, tcp=tcp)
    assert reply is not None
    assert reply[:2] == query[:2]
    assert f"{unpack('!H', reply[2:4])[0]:04x}" == f"{flags:04x}"
    assert unpack("!4H", reply[4:12]) == counts
    if counts[0]:
        end = query.index(0, 12) + 5
        assert reply[12:end] == query[12:end]


@pytest.mark.parametrize("query", [b"", head()[:11], head(0x8000) + QUESTION, head(0x8000, 0)])
def test_silence(table: AnswerTable, query: bytes) -> None:
    assert respond(table, query) is None


def reply_opt(reply: bytes) -> tuple[int, int, int, int, bytes]:
    """(payload size, upper rcode, version, flags, options) of a reply that ends in OPT."""
    start = reply.rindex(b"\0\0\x29")
    size, rcode, version, flags, length = unpack("!HBBHH", reply[start + 3 : start + 11])
    assert len(reply) == start + 11 + length
    return size, rcode, version, flags, reply[start + 11 :]


@pytest.mark.parametrize(
    ("sent", "got"),
    [
        (opt(), (1232, 0, 0, 0, b"")),
        (opt(flags=0x8000), (1232, 0, 0, 0x8000, b"")),
        (opt(flags=0x4001), (1232, 0, 0, 0, b"")),
        (opt(version=1, flags=0x8000), (1232, 1, 0, 0x8000, b"")),
        (opt(data=option(3, b"")), (1232, 0, 0, 0, option(3, b"node-1"))),
        (opt(data=option(10, b"12345678")), (1232, 0, 0, 0, b"")),
        (opt(data=ecs(1, 24, 0, b"\1\2\3")), (1232, 0, 0, 0, ecs(1, 24, 0, b"\1\2\3"))),
        (opt(data=ecs(2, 33, 0, b"\x20\1\0\0\x80")), (1232, 0, 0, 0, ecs(2, 33, 0, b"\x20\1\0\0\x80"))),
        (opt(data=ecs(0, 0, 0, b"")), (1232, 0, 0, 0, ecs(0, 0, 0, b""))),
    ],
)
def test_opt(table: AnswerTable, sent: bytes, got: tuple[int, int, int, int, bytes]) -> None:
    reply = respond(table, head(0, 1, 0, 0, 1) + QUESTION + sent)
    assert reply is not None
    assert reply_opt(reply) == got


def test_tsig_says_badkey(table: AnswerTable) -> None:
    reply = respond(table, head(0, 1, 0, 0, 1) + QUESTION + TSIG)
    assert reply is not None
    rdata = ALGORITHM + bytes(6) + pack("!HHHHH", 300, 0, 7, 17, 0)
    assert reply.endswith(b"\3key\0" + pack("!HHIH", 250, 255, 0, len(rdata)) + rdata)


def test_chaos_text(table: AnswerTable) -> None:
    reply = respond(table, head() + ask(b"\7version\4bind\0", 16, 3))
    assert reply is not None
    assert dns.message.from_wire(reply).answer[0].to_text() == 'version.bind. 0 CH TXT "gtm"'


def test_chaos_is_refused_unless_configured() -> None:
    reply = respond(table_of(()), head() + ask(b"\7version\4bind\0", 16, 3))
    assert reply is not None
    assert reply[3] == 5


@pytest.mark.parametrize(
    ("name", "qtype", "sent", "limit"),
    [
        (b"\3a90\3big\4test\0", 1, b"", 512),
        (b"\3a90\3big\4test\0", 1, opt(size=100), 512),
        (b"\3a90\3big\4test\0", 1, opt(size=700), 700),
        (b"\3a90\3big\4test\0", 1, opt(size=4096), 1232),
        (b"\3txt\3big\4test\0", 16, opt(size=512), 512),
        (b"\1x\5deleg\3big\4test\0", 1, opt(size=600), 600),
        (b"\1x\3out\3big\4test\0", 1, b"", 512),
    ],
)
def test_truncation(table: AnswerTable, name: bytes, qtype: int, sent: bytes, limit: int) -> None:
    query = head(0, 1, 0, 0, 1 if sent else 0) + ask(name, qtype) + sent
    cut = respond(table, query)
    whole = respond(table, query, tcp=True)
    assert cut is not None
    assert whole is not None
    assert len(cut) <= limit < len(whole)
    assert cut[2] & 2
    assert not whole[2] & 2
    dns.message.from_wire(cut)
    if sent:
        assert reply_opt(cut)[0] == 1232


def test_optional_additional_is_dropped_silently(table: AnswerTable) -> None:
    query = head(0, 1, 0, 0, 1) + ask(b"\2mx\3big\4test\0", 15) + opt(size=700)
    some, whole = respond(table, query), respond(table, query, tcp=True)
    assert some is not None
    assert whole is not None
    assert len(some) <= 700
    assert not some[2] & 2
    assert unpack("!4H", whole[4:12]) == (1, 30, 0, 61)
    assert unpack("!3H", some[4:10]) == (1, 30, 0)
    assert 1 < unpack("!H", some[10:12])[0] < 61


def test_additional_addresses_come_from_wildcards_too(table: AnswerTable) -> None:
    """BIND, NSD and Knot do so; PowerDNS does not."""
    reply = respond(table, head() + ask(b"\2mx\5cname\4test\0", 15))
    assert reply is not None
    added = [rrset.to_text() for rrset in dns.message.from_wire(reply).additional]
    assert added == ["www.cname.test. 3600 IN A 192.0.2.41", "a.wild.cname.test. 3600 IN A 192.0.2.42"]


def test_case_of_the_question_is_kept(table: AnswerTable) -> None:
    reply = respond(table, head() + ask(b"\3wWw\5CNAME\4tEsT\0", 1))
    assert reply is not None
    assert reply[12:].startswith(b"\3wWw\5CNAME\4tEsT\0")
    assert reply[3] == 0
