"""What others said, as it may be shown: it ends up on terminals, in logs and on a page."""

from __future__ import annotations

WORDS_MAX = 200
OCTETS_MAX = 40


def printable(text: str, limit: int = WORDS_MAX) -> str:
    """The beginning of a text, with a dot for what cannot be printed."""
    shown = "".join(each if each.isprintable() else "." for each in text[:limit])
    return f"{shown}..." if len(text) > limit else shown


def excerpt(data: bytes) -> str:
    """The beginning of some octets, quoted, with a dot for all but printable ASCII."""
    text = "".join(chr(octet) if 0x20 <= octet < 0x7F else "." for octet in data[:OCTETS_MAX])
    return f"'{text}{'...' if len(data) > OCTETS_MAX else ''}'"
