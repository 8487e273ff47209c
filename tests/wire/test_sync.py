"""Sync's datagrams: what is told arrives, and nothing but that, whatever comes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm.model.sync import PAGE_WORDS_MAX, Datagram, Kind, Page, Section
from gtm.wire import sync
from gtm.wire.sync import Refusal

POP, ONE, TWO = sync.digest32("eu-west"), sync.digest32("lb-1"), sync.digest32("lb-2")
SECRET = b"shared by the PoP"
KEY = sync.derive(SECRET, pop=POP, sender=ONE, receiver=TWO)
KEYS = {ONE: KEY}
WORD = st.integers(1, 2**64 - 1)
ANY = st.integers(0, 2**64 - 1)
PAGES = st.builds(
    Page,
    section=st.sampled_from([section for section in Section if section]),
    words=st.integers(0, PAGE_WORDS_MAX).flatmap(lambda count: st.binary(min_size=count * 8, max_size=count * 8)),
)
PLAIN = st.builds(
    Datagram,
    kind=st.sampled_from([Kind.HELLO, Kind.ACK]),
    sender=st.just(ONE),
    epoch=WORD,
    toward=ANY,
    number=WORD,
    acknowledged=ANY,
    table=ANY,
    ready=st.booleans(),
)
DATAGRAMS = PLAIN | st.builds(
    lambda plain, page, sequence: replace(plain, kind=Kind.DATA, page=page, sequence=sequence), PLAIN, PAGES, WORD
)
HELLO = Datagram(kind=Kind.HELLO, sender=ONE, epoch=1, toward=0, number=1, acknowledged=0, table=7)


def read(octets: bytes) -> Datagram | Refusal:
    return sync.decode(octets, pop=POP, keys=KEYS)


@given(DATAGRAMS)
def test_what_is_told_arrives(one: Datagram) -> None:
    octets = sync.encode(one, pop=POP, key=KEY)
    assert len(octets) <= 1232
    assert read(octets) == one


@given(DATAGRAMS, st.data())
def test_a_changed_octet_is_noticed(one: Datagram, data: st.DataObject) -> None:
    octets = bytearray(sync.encode(one, pop=POP, key=KEY))
    octets[data.draw(st.integers(0, len(octets) - 1))] ^= data.draw(st.integers(1, 255))
    assert isinstance(read(bytes(octets)), Refusal)


@given(DATAGRAMS, st.data())
def test_a_cut_or_lengthened_one_is_noticed(one: Datagram, data: st.DataObject) -> None:
    octets = sync.encode(one, pop=POP, key=KEY)
    assert isinstance(read(octets[: data.draw(st.integers(0, len(octets) - 1))]), Refusal)
    assert isinstance(read(octets + data.draw(st.binary(min_size=1, max_size=9))), Refusal)


@given(st.binary(max_size=1300))
def test_rubbish_is_refused(octets: bytes) -> None:
    assert isinstance(read(octets), Refusal)


@given(st.binary(min_size=64, max_size=64), st.binary(max_size=160))
def test_what_another_release_may_send_is_refused_or_read(header: bytes, words: bytes) -> None:
    """A right tag over any header: nothing raises, and what is read can be written again."""
    start = b"gS\x01" + header[3:8] + POP.to_bytes(4, "big") + ONE.to_bytes(4, "big") + header[16:]
    body = start + words
    found = read(body + sync._tag(body, KEY))
    if isinstance(found, Datagram):
        assert read(sync.encode(found, pop=POP, key=KEY)) == found


def test_a_key_is_for_one_direction() -> None:
    octets = sync.encode(HELLO, pop=POP, key=KEY)
    back = sync.derive(SECRET, pop=POP, sender=TWO, receiver=ONE)
    third = sync.derive(SECRET, pop=POP, sender=ONE, receiver=sync.digest32("lb-3"))
    other = sync.derive(SECRET, pop=sync.digest32("us-east"), sender=ONE, receiver=TWO)
    for key in (back, third, other, sync.derive(b"another secret", pop=POP, sender=ONE, receiver=TWO)):
        assert sync.decode(octets, pop=POP, keys={ONE: key}) is Refusal.FORGED


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (sync.encode(HELLO, pop=POP, key=KEY)[:79], Refusal.SHORT),
        (b"gS\x02" + sync.encode(HELLO, pop=POP, key=KEY)[3:], Refusal.VERSION),
        (sync.encode(HELLO, pop=TWO, key=KEY), Refusal.POP),
        (sync.encode(replace(HELLO, sender=TWO), pop=POP, key=KEY), Refusal.SENDER),
        (sync.encode(HELLO, pop=POP, key=bytes(32)), Refusal.FORGED),
        (sync.encode(replace(HELLO, epoch=0), pop=POP, key=KEY), Refusal.MALFORMED),
        (sync.encode(replace(HELLO, kind=Kind.DATA), pop=POP, key=KEY), Refusal.MALFORMED),
        (sync.encode(replace(HELLO, sequence=1), pop=POP, key=KEY), Refusal.MALFORMED),
    ],
)
def test_why_it_is_refused(octets: bytes, why: Refusal) -> None:
    assert read(octets) is why


def test_the_layout() -> None:
    """Octet by octet, since another release must read it."""
    page = Page(section=Section.FLOWS, words=(0x0102030405060708).to_bytes(8, "little"))
    one = Datagram(
        kind=Kind.DATA,
        sender=ONE,
        epoch=0xE,
        toward=0xF,
        number=3,
        acknowledged=5,
        table=7,
        sequence=4,
        ready=True,
        page=page,
    )
    octets = sync.encode(one, pop=POP, key=KEY)
    numbers = "".join(f"{number:016x}" for number in (0xE, 0xF, 3, 4, 5, 7))
    assert octets[:-16].hex() == f"67530102040100{1:02x}{POP:08x}{ONE:08x}{numbers}0807060504030201"
