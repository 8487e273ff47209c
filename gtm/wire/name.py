r"""Domain names: presentation form (RFC 1035 section 5.1, RFC 4343) and uncompressed wire form.

A name in wire form is its labels, each after a length octet, up to the root's zero octet: `b"\x03www\x00"`.
Lengths are at most 63, below every letter, so that lower-casing and slicing at label starts work on the whole string.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from gtm.wire.error import WireError

ROOT: Final = b"\0"
LABEL_MAX_BYTES: Final = 63
NAME_MAX_BYTES: Final = 255

_PLAIN = re.compile(r"[A-Za-z0-9_*/-]{1,63}(?:\.[A-Za-z0-9_*/-]{1,63})*\.?")
_ESCAPED = frozenset(b'.\\"();@$')


def parse(text: str, origin: bytes = ROOT) -> bytes:
    r"""The wire form of a presentation name; one without a final dot is relative to `origin`, and "@" is the origin.

    Case is kept. `\DDD` and `\X` escapes are understood. Raises WireError for empty or over-long labels and names.
    """
    if _PLAIN.fullmatch(text):
        parts = text.encode("ascii").split(b".")
        absolute = not parts[-1]
        if absolute:
            parts.pop()
        wire = b"".join([bytes((len(part),)) + part for part in parts]) + (ROOT if absolute else origin)
    elif text == "@":
        return origin
    elif text == ".":
        return ROOT
    else:
        wire = _parse_escaped(text, origin)
    if len(wire) > NAME_MAX_BYTES:
        raise WireError(f"name is longer than {NAME_MAX_BYTES} octets")
    return wire


def _parse_escaped(text: str, origin: bytes) -> bytes:
    try:
        raw = text.encode("ascii")
    except UnicodeEncodeError:
        raise WireError(f"name {text!r} is not ASCII") from None
    wire = bytearray()
    label = bytearray()
    position = 0
    while position < len(raw):
        octet = raw[position]
        position += 1
        if octet == 0x2E:
            wire += _label(label, text)
            label.clear()
        elif octet == 0x5C:
            value, position = _escape(raw, position, text)
            label.append(value)
        else:
            label.append(octet)
    if not label:
        if raw[-1:] == b"." and wire:
            return bytes(wire) + ROOT
        raise WireError("name is empty")
    return bytes(wire + _label(label, text)) + origin


def _label(label: bytearray, text: str) -> bytes:
    if not label:
        raise WireError(f"name {text!r} has an empty label")
    if len(label) > LABEL_MAX_BYTES:
        raise WireError(f"a label of name {text!r} is longer than {LABEL_MAX_BYTES} octets")
    return bytes((len(label),)) + label


def _escape(raw: bytes, position: int, text: str) -> tuple[int, int]:
    """(octet, next position) of the escape whose backslash is just before `position`."""
    digits = raw[position : position + 3]
    if digits[:1].isdigit():
        if len(digits) != 3 or not digits.isdigit() or int(digits) > 255:
            raise WireError(f"name {text!r} has a bad escape")
        return int(digits), position + 3
    if not digits:
        raise WireError(f"name {text!r} ends in a backslash")
    return digits[0], position + 1


def render(wire: bytes) -> str:
    """The presentation form, absolute, with RFC 1035 escapes; "." for the root."""
    if wire == ROOT:
        return "."
    return "".join(_render_label(label) + "." for label in labels(wire))


def _render_label(label: bytes) -> str:
    return "".join(
        f"\\{chr(octet)}" if octet in _ESCAPED else chr(octet) if 0x20 < octet < 0x7F else f"\\{octet:03d}"
        for octet in label
    )


def lower(wire: bytes) -> bytes:
    """The name with ASCII letters in lower case, as names are compared (RFC 4343)."""
    return wire.lower()


def labels(wire: bytes) -> tuple[bytes, ...]:
    """The labels without the root's empty one, leftmost first."""
    found = []
    position = 0
    while length := wire[position]:
        found.append(wire[position + 1 : position + 1 + length])
        position += 1 + length
    return tuple(found)


def suffixes(wire: bytes) -> Iterator[bytes]:
    """The name itself, then each of its ancestors, down to the root."""
    position = 0
    while length := wire[position]:
        yield wire[position:]
        position += 1 + length
    yield ROOT


def parent(wire: bytes) -> bytes:
    """The name without its leftmost label; the root's parent is the root."""
    return wire[1 + wire[0] :] or ROOT


def within(wire: bytes, ancestor: bytes) -> bool:
    """Whether `wire` is `ancestor` or below it; both lower case."""
    if not wire.endswith(ancestor):
        return False
    start = len(wire) - len(ancestor)
    position = 0
    while position < start:
        position += 1 + wire[position]
    return position == start


def canonical_key(wire: bytes) -> bytes:
    """A key that sorts lower-case names in DNSSEC's canonical order (RFC 4034 section 6.1).

    Labels from the right, each ended by a zero octet; octets 0 and 1 inside a label are escaped to keep their order.
    """
    return b"".join(label.replace(b"\1", b"\1\2").replace(b"\0", b"\1\1") + b"\0" for label in reversed(labels(wire)))


def read(message: bytes, offset: int) -> tuple[bytes, int]:
    """(uncompressed name, offset after it) of the possibly compressed name at `offset` (RFC 1035 section 4.1.4).

    Pointers must go strictly backwards. Raises WireError for anything malformed.
    """
    parts = []
    size = 1
    after = -1
    lowest = position = offset
    try:
        while length := message[position]:
            if length >= 0xC0:
                target = (length & 0x3F) << 8 | message[position + 1]
                if target >= lowest:
                    raise WireError("compression pointer does not go backwards")
                after = position + 2 if after < 0 else after
                lowest = position = target
                continue
            if length > LABEL_MAX_BYTES:
                raise WireError("unknown label type")
            end = position + 1 + length
            size += 1 + length
            if end > len(message) or size > NAME_MAX_BYTES:
                raise WireError("name runs over its end")
            parts.append(message[position:end])
            position = end
    except IndexError:
        raise WireError("name runs over the end of the message") from None
    return b"".join(parts) + ROOT, after if after >= 0 else position + 1
