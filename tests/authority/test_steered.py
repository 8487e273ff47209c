"""Steered names in the tree: at the end of chains, at wildcards, at the apex; and the ECS scope that they give."""

from __future__ import annotations

from struct import pack

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest

from gtm.answer.authority import Authority
from gtm.answer.full import respond_full
from gtm.answer.table import AnswerTable, SteeredSet
from gtm.model.errors import ConfigError
from gtm.model.zone import Zone
from gtm.wire import name
from gtm.zone.load import load_zones
from tests.authority.tables import classes_of_two, table_of

MASTER = """
$ORIGIN s.test.
$TTL 300
@ IN SOA ns hostmaster 1 2 3 4 60
@ NS ns
ns A 192.0.2.1
www TXT "static beside steered"
www A 203.0.113.9
alias CNAME www
chain CNAME alias
static A 192.0.2.2
del NS ns.del
ns.del A 192.0.2.3
dn DNAME @
mx MX 10 www
*.st TXT "static"
"""
OTHER = """
$ORIGIN o.test.
@ 300 IN SOA ns.s.test. hostmaster 1 2 3 4 60
@ 300 NS ns.s.test.
over 300 CNAME www.s.test.
"""


def ready(rtype: int, ttl_s: int, *rdatas: bytes) -> bytes:
    return b"".join(b"\xc0\x0c" + pack("!HHIH", rtype, 1, ttl_s, len(rdata)) + rdata for rdata in rdatas)


def a(last: int) -> bytes:
    return ready(1, 30, bytes((198, 51, 100, last)))


SETS = (
    SteeredSet(1, ((a(1),), (a(2),)), (0, 1), True),  # 0: by class
    SteeredSet(28, ((ready(28, 30, bytes(15) + b"\1", bytes(15) + b"\2"),),), (0, 0), False),  # 1: same for all
    SteeredSet(1, ((b"",), (a(3),)), (0, 1), True),  # 2: nothing for class 0
    SteeredSet(
        5, ((ready(5, 20, name.parse("static.s.test.")),), (ready(5, 20, name.parse("x.del.s.test.")),)), (0, 1), True
    ),
    SteeredSet(5, ((ready(5, 20, name.parse("www.s.test.")),),), (0, 0), False),
)
STEERED = {
    "www.s.test.": {1: 0, 28: 1},
    "s.test.": {1: 0},
    "*.wild.s.test.": {1: 0},
    "*.st.s.test.": {1: 0},
    "maybe.s.test.": {1: 2},
    "cn.s.test.": {5: 3},
    "cn2.s.test.": {5: 4},
    "deep.ent.s.test.": {1: 0},
}
LOW, HIGH = b"\x08\0\0\1", b"\xc8\0\0\1"  # one client of each class


@pytest.fixture(scope="module")
def zones(tmp_path_factory: pytest.TempPathFactory) -> tuple[Zone, ...]:
    folder = tmp_path_factory.mktemp("zones")
    for stem, text in (("s.test", MASTER), ("o.test", OTHER)):
        (folder / f"{stem}.zone").write_text(text)
    return load_zones({f"{stem}.": str(folder / f"{stem}.zone") for stem in ("s.test", "o.test")}).zones


@pytest.fixture(scope="module")
def table(zones: tuple[Zone, ...]) -> AnswerTable:
    steered = {name.parse(owner): dict(sets) for owner, sets in STEERED.items()}
    return table_of(zones, steered=steered, sets=SETS, classes=classes_of_two())


def ask(
    table: AnswerTable, qname: str, qtype: str, source: bytes = LOW, ecs: tuple[str, int] | None = None
) -> dns.message.Message:
    options: list[dns.edns.Option] | None = [dns.edns.ECSOption(*ecs)] if ecs else None
    query = dns.message.make_query(qname, qtype, use_edns=0 if ecs else False, options=options)
    reply = respond_full(table, query.to_wire(), source, 0, tcp=False)
    assert reply is not None
    return dns.message.from_wire(reply)


def texts(message: dns.message.Message) -> list[str]:
    return [line for rrset in message.answer for line in rrset.to_text().splitlines()]


@pytest.mark.parametrize(
    ("qname", "qtype", "low", "high"),
    [
        ("www.s.test.", "A", ["www.s.test. 30 IN A 198.51.100.1"], ["www.s.test. 30 IN A 198.51.100.2"]),
        ("www.s.test.", "AAAA", ["www.s.test. 30 IN AAAA ::1", "www.s.test. 30 IN AAAA ::2"], None),
        ("www.s.test.", "TXT", ['www.s.test. 300 IN TXT "static beside steered"'], None),
        ("www.s.test.", "MX", [], None),
        ("www.s.test.", "ANY", ["www.s.test. 30 IN A 198.51.100.1"], ["www.s.test. 30 IN A 198.51.100.2"]),
        ("s.test.", "A", ["s.test. 30 IN A 198.51.100.1"], ["s.test. 30 IN A 198.51.100.2"]),
        ("s.test.", "NS", ["s.test. 300 IN NS ns.s.test."], None),
        ("q.wild.s.test.", "A", ["q.wild.s.test. 30 IN A 198.51.100.1"], ["q.wild.s.test. 30 IN A 198.51.100.2"]),
        ("q.wild.s.test.", "AAAA", [], None),
        ("q.st.s.test.", "TXT", ['q.st.s.test. 300 IN TXT "static"'], None),
        ("q.st.s.test.", "A", ["q.st.s.test. 30 IN A 198.51.100.1"], ["q.st.s.test. 30 IN A 198.51.100.2"]),
        ("maybe.s.test.", "A", [], ["maybe.s.test. 30 IN A 198.51.100.3"]),
        ("ent.s.test.", "A", [], None),
        (
            "chain.s.test.",
            "A",
            [
                "chain.s.test. 300 IN CNAME alias.s.test.",
                "alias.s.test. 300 IN CNAME www.s.test.",
                "www.s.test. 30 IN A 198.51.100.1",
            ],
            None,
        ),
        ("over.o.test.", "A", ["over.o.test. 300 IN CNAME www.s.test.", "www.s.test. 30 IN A 198.51.100.1"], None),
        (
            "www.dn.s.test.",
            "A",
            [
                "dn.s.test. 300 IN DNAME s.test.",
                "www.dn.s.test. 300 IN CNAME www.s.test.",
                "www.s.test. 30 IN A 198.51.100.1",
            ],
            None,
        ),
        (
            "cn.s.test.",
            "A",
            ["cn.s.test. 20 IN CNAME static.s.test.", "static.s.test. 300 IN A 192.0.2.2"],
            ["cn.s.test. 20 IN CNAME x.del.s.test."],
        ),
        ("cn.s.test.", "CNAME", ["cn.s.test. 20 IN CNAME static.s.test."], ["cn.s.test. 20 IN CNAME x.del.s.test."]),
        ("cn2.s.test.", "A", ["cn2.s.test. 20 IN CNAME www.s.test.", "www.s.test. 30 IN A 198.51.100.1"], None),
    ],
)
def test_answers(table: AnswerTable, qname: str, qtype: str, low: list[str], high: list[str] | None) -> None:
    reply = ask(table, qname, qtype)
    assert texts(reply) == low
    assert reply.rcode() == dns.rcode.NOERROR
    assert reply.flags & dns.flags.AA
    assert bool(reply.authority) == (not low)
    if high is not None:
        assert texts(ask(table, qname, qtype, HIGH)) == high


def test_referral_behind_a_steered_alias(table: AnswerTable) -> None:
    reply = ask(table, "cn.s.test.", "A", HIGH)
    assert [rrset.to_text() for rrset in reply.authority] == ["del.s.test. 300 IN NS ns.del.s.test."]
    assert [rrset.to_text() for rrset in reply.additional] == ["ns.del.s.test. 300 IN A 192.0.2.3"]


def test_steered_addresses_are_never_additional(table: AnswerTable) -> None:
    assert ask(table, "mx.s.test.", "MX").additional == []


@pytest.mark.parametrize(
    ("qname", "qtype", "ecs", "scope"),
    [
        ("www.s.test.", "A", ("200.0.0.0", 24), 1),
        ("www.s.test.", "A", ("2001:db8::", 48), 1),
        ("www.s.test.", "AAAA", ("200.0.0.0", 24), 0),  # steered, but alike for all
        ("www.s.test.", "TXT", ("200.0.0.0", 24), 0),
        ("www.s.test.", "A", ("200.0.0.0", 0), 0),
        ("www.s.test.", "A", ("10.0.0.0", 8), 0),  # says nothing of where the client is
        ("www.s.test.", "MX", ("200.0.0.0", 24), 0),
        ("maybe.s.test.", "A", ("8.0.0.0", 24), 0),  # negative
        ("maybe.s.test.", "A", ("200.0.0.0", 24), 1),
        ("chain.s.test.", "A", ("200.0.0.0", 24), 1),
        ("cn2.s.test.", "A", ("200.0.0.0", 24), 1),
        ("cn2.s.test.", "CNAME", ("200.0.0.0", 24), 0),
        ("nothing.s.test.", "A", ("200.0.0.0", 24), 0),
    ],
)
def test_scope(table: AnswerTable, qname: str, qtype: str, ecs: tuple[str, int], scope: int) -> None:
    (option,) = ask(table, qname, qtype, LOW, ecs).options
    assert isinstance(option, dns.edns.ECSOption)
    assert (option.srclen, option.scopelen) == (ecs[1], scope)


def test_client_subnet_beats_the_source(table: AnswerTable) -> None:
    assert texts(ask(table, "www.s.test.", "A", LOW, ("200.0.0.0", 24))) == ["www.s.test. 30 IN A 198.51.100.2"]


def test_memoable(table: AnswerTable) -> None:
    def memoable(qname: str, qtype: int) -> bool:
        return table.authority.memoable(name.parse(qname), qtype)

    same_for_all = [
        ("static", 1),
        ("static", 16),
        ("www", 16),
        ("www", 15),
        ("del", 1),
        ("ent", 1),
        ("mx", 15),
        ("del", 43),
    ]
    assert all(memoable(f"{label}.s.test.", qtype) for label, qtype in same_for_all)
    differing = [("www", 1), ("www", 255), ("chain", 1), ("cn", 1), ("cn", 5), ("cn2", 28), ("cn", 16), ("q.wild", 16)]
    assert not any(memoable(f"{label}.s.test.", qtype) for label, qtype in [*differing, ("www.dn", 16), ("missing", 1)])


def test_steered_names_need_a_zone(zones: tuple[Zone, ...]) -> None:
    with pytest.raises(ConfigError, match=r"www\.elsewhere\. is in no served zone"):
        Authority.build(zones, {name.parse("www.elsewhere."): {1: 0}})
