"""What a codec raises for bytes or text that are not what they should be."""

from __future__ import annotations


class WireError(ValueError):
    """Malformed wire or presentation form; the text says what is wrong with it."""
