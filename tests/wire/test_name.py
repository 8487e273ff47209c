"""Names: presentation and wire form, order, and reading from messages, against dnspython."""

from __future__ import annotations

import itertools

import dns.name
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm.wire import name
from gtm.wire.error import WireError


def _fits(labels: list[bytes]) -> bool:
    return sum(len(label) + 1 for label in labels) < 255


names = (
    st.lists(st.binary(min_size=1, max_size=63), max_size=8)
    .filter(_fits)
    .map(lambda labels: b"".join(bytes((len(label),)) + label for label in labels) + b"\0")
)


@given(names)
def test_render_then_parse(wire: bytes) -> None:
    assert name.parse(name.render(wire)) == wire


@given(names)
def test_render_as_dnspython(wire: bytes) -> None:
    theirs = dns.name.from_wire(wire, 0)[0]
    assert dns.name.from_text(name.render(wire)) == theirs
    assert name.parse(theirs.to_text()) == wire


@given(names, names)
def test_canonical_order_is_dnspython_s(one: bytes, other: bytes) -> None:
    one, other = one.lower(), other.lower()
    theirs = dns.name.from_wire(one, 0)[0] < dns.name.from_wire(other, 0)[0]
    assert (name.canonical_key(one) < name.canonical_key(other)) == theirs


@given(names, names)
def test_within_is_dnspython_s(one: bytes, other: bytes) -> None:
    theirs = dns.name.from_wire(one, 0)[0].is_subdomain(dns.name.from_wire(other, 0)[0])
    assert name.within(one.lower(), other.lower()) == theirs
    assert name.within(one.lower(), b"\0")
    assert name.within(one.lower(), one.lower())


@given(names)
def test_labels_suffixes_parent(wire: bytes) -> None:
    labels = name.labels(wire)
    assert b"".join(bytes((len(label),)) + label for label in labels) + b"\0" == wire
    suffixes = list(name.suffixes(wire))
    assert suffixes[0] == wire
    assert suffixes[-1] == b"\0"
    assert len(suffixes) == len(labels) + 1
    assert all(name.parent(upper) == lower for upper, lower in itertools.pairwise(suffixes))


@given(names, st.binary(max_size=20))
def test_read_back(wire: bytes, before: bytes) -> None:
    assert name.read(before + wire + b"rest", len(before)) == (wire, len(before) + len(wire))


@given(st.binary(max_size=60), st.integers(0, 60))
def test_read_anything(message: bytes, offset: int) -> None:
    try:
        wire, after = name.read(message, offset)
    except WireError:
        return
    assert name.parse(name.render(wire)) == wire
    assert offset < after <= len(message)


def test_read_follows_pointers_back() -> None:
    message = b"\3com\0" + b"\7example\xc0\x00" + b"\3www\xc0\x05"
    assert name.read(message, 15) == (b"\3www\7example\3com\0", 21)


@pytest.mark.parametrize(
    ("text", "origin", "wire"),
    [
        ("@", b"\3org\0", b"\3org\0"),
        (".", b"\3org\0", b"\0"),
        ("a", b"\3org\0", b"\1a\3org\0"),
        ("a.", b"\3org\0", b"\1a\0"),
        ("A.b", b"\0", b"\1A\1b\0"),
        (r"a\.b.c", b"\0", b"\3a.b\1c\0"),
        (r"a\065\@.", b"\3org\0", b"\3aA@\0"),
        ("*._x", b"\0", b"\1*\2_x\0"),
        (r"\*", b"\0", b"\1*\0"),
    ],
)
def test_parse(text: str, origin: bytes, wire: bytes) -> None:
    assert name.parse(text, origin) == wire


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a..b",
        ".a",
        "a" * 64,
        "a\\",
        "\\25",
        "\\256",
        "\\1x2",
        "ä",
        ".".join(["a" * 63] * 4),
        "a\\\n" * 70,
        "..",
        "é.",
    ],
)
def test_parse_refuses(text: str) -> None:
    with pytest.raises(WireError):
        name.parse(text)


def test_longest_name() -> None:
    wire = name.parse(".".join(["a" * 63] * 3 + ["b" * 61]))
    assert len(wire) == 255
    with pytest.raises(WireError):
        name.parse(".".join(["a" * 63] * 3 + ["b" * 62]))
