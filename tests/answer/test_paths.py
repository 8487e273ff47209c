"""The fast path and the full path give the same bytes, whatever is asked; and the fast path does take the usual."""

from __future__ import annotations

from collections import Counter
from struct import pack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtm.answer.fast import responder
from gtm.answer.pick import seed_at
from gtm.answer.respond import answer, respond
from gtm.answer.table import AnswerTable
from gtm.wire import name as wire_name
from tests.answer.table import ASKED, classes, table

TABLES: dict[tuple[str, ...], AnswerTable] = {
    gone: table(*gone) for gone in ((), ("us-east",), ("us-east", "eu-west", "ap-southeast", "us-west"))
}
SEED = seed_at(1, 0)


def query(owner: str, rtype: int = 1, *, flags: int = 0x0100, edns: bytes | None = None, rclass: int = 1) -> bytes:
    """A query; `edns` is a whole OPT record."""
    counts = pack(">HHHH", 1, 0, 0, 0 if edns is None else 1)
    return (
        b"\xab\xcd" + pack(">H", flags) + counts + wire_name.parse(owner) + pack(">HH", rtype, rclass) + (edns or b"")
    )


def opt(options: bytes = b"", *, size: int = 1232, flags: int = 0, version: int = 0) -> bytes:
    return b"\0" + pack(">HHBBHH", 41, size, 0, version, flags, len(options)) + options


def ecs(address: bytes, source: int, *, family: int = 1, scope: int = 0) -> bytes:
    data = pack(">HBB", family, source, scope) + address
    return pack(">HH", 8, len(data)) + data


def masked(address: bytes, source: int) -> bytes:
    size = len(address) * 8
    value = int.from_bytes(address, "big") >> size - source << size - source
    return value.to_bytes(len(address), "big")[: (source + 7) // 8]


COOKIE = b"\x00\x0a\x00\x08cookies!"
NSID = b"\x00\x03\x00\x00"
SUBNETS = st.one_of(
    st.tuples(st.binary(min_size=4, max_size=4), st.integers(0, 32)).map(lambda t: ecs(masked(*t), t[1])),
    st.tuples(st.binary(min_size=16, max_size=16), st.integers(0, 128)).map(lambda t: ecs(masked(*t), t[1], family=2)),
    st.tuples(st.binary(max_size=17), st.integers(0, 255), st.integers(0, 3), st.integers(0, 33)).map(
        lambda t: ecs(t[0], t[1], family=t[2], scope=t[3])
    ),
    st.sampled_from([ecs(b"\x08\x08\x08", 24), ecs(b"\x0a\x00\x00", 24), ecs(b"\x08\x08\x08\x88", 32)]),
)
OPTS = st.builds(
    opt,
    st.one_of(
        st.just(b""),
        SUBNETS,
        st.lists(st.sampled_from([COOKIE, NSID, b"\xff\xff\x00\x01x"]), max_size=3).map(b"".join),
        st.lists(st.one_of(SUBNETS, st.sampled_from([COOKIE, NSID])), max_size=3).map(b"".join),
        st.binary(max_size=8),
    ),
    size=st.sampled_from([0, 511, 512, 600, 1232, 4096]),
    flags=st.sampled_from([0, 0x8000, 1]),
    version=st.sampled_from([0, 0, 0, 1]),
)
QUERIES = st.builds(
    query,
    st.sampled_from(ASKED),
    st.sampled_from([1, 28, 5, 16, 6, 255, 65, 97]),
    flags=st.sampled_from([0, 0x0100, 0x0120, 0x0010, 0x0140, 0x0200, 0x8000, 0x2800]),
    edns=st.one_of(st.none(), OPTS),
    rclass=st.sampled_from([1, 1, 1, 3, 255]),
)
SOURCES = st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16))


@settings(max_examples=600)
@given(QUERIES, SOURCES, st.sampled_from(list(TABLES)), st.integers(0, 2**64 - 1), st.integers(0, 60))
def test_both_paths_give_the_same_bytes(
    asked: bytes, source: bytes, gone: tuple[str, ...], seed: int, garbage: int
) -> None:
    served = TABLES[gone]
    for one in (asked, asked[: len(asked) - garbage] if garbage else asked + b"\0"):
        full = respond(served, one, source, seed)  # fills the memo, so that the fast path is asked twice
        for _ in range(2):
            respond_fast = responder(served, seed)
            for _ in range(2):  # worked out, then remembered
                fast = respond_fast(one, source)
                assert fast is None or fast == full
            other = bytes(byte ^ 1 for byte in source)  # what is remembered of one client is not another's
            fast = respond_fast(one, other)
            assert fast is None or fast == respond(served, one, other, seed)


def test_the_memo_never_holds_what_depends_on_the_client() -> None:
    served = table()
    for owner in ASKED:
        for rtype in (1, 28, 5, 16, 255):
            for edns in (None, opt(), opt(flags=0x8000)):
                for source in (b"\x00\0\0\1", b"\x01\0\0\1", b"\x02\0\0\1"):
                    asked = query(owner, rtype, edns=edns)
                    assert answer(served, asked, source, SEED) == respond(served, asked, source, SEED)


@pytest.mark.parametrize("owner", ["www.example.com.", "weighted.example.com.", "WWW.example.COM.", "two.example.com."])
@pytest.mark.parametrize(
    "edns", [None, opt(), opt(flags=0x8000), opt(ecs(b"\xcb\0\x71", 24)), opt(ecs(b"\x20\1\x0d\xb8", 32, family=2))]
)
def test_usual_queries_for_steered_names_take_the_fast_path(owner: str, edns: bytes | None) -> None:
    assert responder(TABLES[()], SEED)(query(owner, edns=edns), b"\x01\2\3\4") is not None


@pytest.mark.parametrize(
    "options", [COOKIE, COOKIE * 2, COOKIE + ecs(b"\xcb\0\x71", 24), ecs(b"\xcb\0\x71", 24) + COOKIE]
)
def test_options_that_mean_nothing_keep_nobody_from_the_fast_path(options: bytes) -> None:
    served = table()
    asked = query("two.example.com.", edns=opt(options))
    assert responder(served, SEED)(asked, b"\x01\2\3\4") == respond(served, asked, b"\x01\2\3\4", SEED)
    static = query("static.example.com.", edns=opt(COOKIE))
    learnt = respond(served, static, b"\x01\2\3\4", SEED)
    assert responder(served, SEED)(static, b"\x01\2\3\4") == learnt is not None


def test_static_answers_take_the_fast_path_from_the_second_time_on() -> None:
    served = table()
    for asked in (query("static.example.com."), query("static.example.com.", 16, edns=opt()), query("example.com.", 6)):
        assert responder(served, SEED)(asked, b"\x01\2\3\4") is None
        first = respond(served, asked, b"\x01\2\3\4", SEED)
        assert first is not None
        assert responder(served, SEED)(asked, b"\x09\2\3\4") == first


def shares(served: AnswerTable, owner: str) -> Counter[bytes]:
    """How often each address comes first, over /24s of one class."""
    fast = responder(served, SEED)
    found: Counter[bytes] = Counter()
    for number in range(20_000):
        net = bytes((4 * (number % 40), number // 40 % 256, number // 10240, 1))
        reply = fast(query(owner), net)
        assert reply is not None
        found[reply[-4:]] += 1
    return found


def test_weights_split_the_networks_of_a_class() -> None:
    found = shares(TABLES[()], "weighted.example.com.")
    assert set(found) == {bytes((192, 0, 2, 11)), bytes((192, 0, 2, 12))}
    assert found[bytes((192, 0, 2, 11))] / 20_000 == pytest.approx(0.70, abs=0.015)


def test_scope_is_the_class_tables_where_the_answer_depends_on_it_and_else_zero() -> None:
    def scope(owner: str, option: bytes, rtype: int = 1) -> int:
        reply = answer(TABLES[()], query(owner, rtype, edns=opt(option)), b"\x01\2\3\4", SEED)
        assert reply is not None
        return reply[reply.rindex(option[:7]) + 7]

    assert scope("www.example.com.", ecs(b"\xcb\0\x71", 24)) == 8
    assert scope("www.example.com.", ecs(b"\x08\x08\x08\x88", 32)) == 25
    assert scope("one.example.com.", ecs(b"\xcb\0\x71", 24)) == 0
    assert scope("static.example.com.", ecs(b"\xcb\0\x71", 24)) == 0
    assert scope("missing.example.com.", ecs(b"\xcb\0\x71", 24)) == 0
    assert scope("www.example.com.", ecs(b"\x0a\0\x71", 24)) == 0
    assert scope("www.example.com.", ecs(b"", 0)) == 0
    assert scope("none.example.com.", ecs(b"\xcb\0\x71", 24)) == 0


def test_a_private_subnet_is_answered_by_the_resolvers_place() -> None:
    private = query("www.example.com.", edns=opt(ecs(b"\x0a\x01\x02", 24)))
    reply = answer(TABLES[()], private, b"\x02\2\3\4", SEED)
    plain = answer(TABLES[()], query("www.example.com."), b"\x02\2\3\4", SEED)
    assert reply is not None
    assert plain is not None
    assert reply[12:].startswith(plain[12:])


def test_the_page_of_a_split_network_is_read() -> None:
    assert classes().find4(0x08080807) == (0, 25)
    assert classes().find4(0x08080887) == (1, 25)
    assert classes().find4(0x08080707) == (0, 8)
