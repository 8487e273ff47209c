"""Whatever comes in: no exception, and no reply longer than allowed or of a form that another decoder refuses."""

from __future__ import annotations

import random
from pathlib import Path

import dns.message
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtm.answer.full import respond_full
from gtm.answer.table import AnswerTable
from gtm.model.node import Identity
from tests.authority.cases import load
from tests.authority.tables import table_of, zones_in
from tests.authority.test_full import CASES

HERE = Path(__file__).parent
MUTANTS = 6000


def small_table() -> AnswerTable:
    wanted = {b"\3odd\4test\0", b"\5cname\4test\0", b"\5dname\4test\0", b"\4glue\4test\0", b"\5names\4test\0"}
    zones = [zone for zone in zones_in(HERE / "zones" / "hard") if zone.origin in wanted]
    return table_of(zones, identity=Identity(nsid="n" * 300, id_server="node-1", version="v" * 300))


TABLE = small_table()


def check(query: bytes, *, tcp: bool) -> None:
    reply = respond_full(TABLE, query, b"\x7f\0\0\1", 0, tcp=tcp)
    if reply is None:
        assert len(query) < 12 or query[2] & 0x80
        return
    assert reply[:2] == query[:2]
    assert reply[2] & 0x80
    assert len(reply) <= (65535 if tcp else 1232 if b"\0\0\x29" in query else 512)
    dns.message.from_wire(reply, keyring=False)  # TSIG is read, not verified


def mutate(rng: random.Random, packet: bytes) -> bytes:
    data = bytearray(packet)
    for _ in range(rng.randrange(1, 5)):
        place = rng.randrange(len(data) + 1)
        kind = rng.randrange(5)
        if kind == 0 and place < len(data):
            data[place] ^= 1 << rng.randrange(8)
        elif kind == 1 and place < len(data):
            data[place] = rng.choice((0, 1, 0x3F, 0x40, 0x7F, 0x80, 0xC0, 0xFF))
        elif kind == 2:
            del data[place : place + rng.randrange(1, 8)]
        elif kind == 3:
            data[place:place] = rng.randbytes(rng.randrange(1, 8))
        else:
            data[place:place] = data[rng.randrange(len(data) + 1) :][:40]
    return bytes(data)


@pytest.mark.parametrize("tcp", [False, True])
def test_mutated_queries(tcp: bool) -> None:
    rng = random.Random(1)
    seeds = [query for query, _, _ in CASES.values()]
    seeds += [case.ask.wire() for case in load(HERE / "hard.corpus") if rng.random() < 0.02]
    for _ in range(MUTANTS // 2):
        check(mutate(rng, rng.choice(seeds)), tcp=tcp)


@given(st.binary(max_size=100))
@settings(deadline=None)
def test_random_octets(data: bytes) -> None:
    check(data, tcp=False)


@given(st.binary(max_size=80), st.integers(0, 65535), st.integers(0, 65535))
@settings(deadline=None)
def test_random_octets_after_a_header(data: bytes, answers: int, additionals: int) -> None:
    counts = b"\0\1" + answers.to_bytes(2, "big") + b"\0\0" + additionals.to_bytes(2, "big")
    check(b"\x12\x34\0\0" + counts + data, tcp=False)


@given(
    st.lists(
        st.sampled_from(
            [b"\1a", b"\1*", b"\2c1", b"\1d", b"\4loop", b"\5cname", b"\3odd", b"\1\0", b"\x3f" + b"x" * 63]
        ),
        max_size=9,
    ),
    st.integers(0, 300),
    st.booleans(),
)
@settings(deadline=None)
def test_names_made_of_known_labels(labels: list[bytes], qtype: int, edns: bool) -> None:
    qname = b"".join(labels) + b"\5cname\4test\0"
    opt = b"\0\0\x29\xff\xff\0\0\x80\0\0\0" if edns else b""
    counts = b"\0\1\0\0\0\0\0" + (b"\1" if edns else b"\0")
    check(b"\x12\x34\1\0" + counts + qname + qtype.to_bytes(2, "big") + b"\0\1" + opt, tcp=False)
