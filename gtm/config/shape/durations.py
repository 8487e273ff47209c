"""Durations in files: their schema, and ranges of them."""

from __future__ import annotations

from collections.abc import Callable

from gtm.config.scalars import Unfit, seconds, shown

DURATION_SCHEMA = {
    "anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)?$"}]
}


def between(low_s: float, high_s: float) -> Callable[[object], float]:
    """A reader of durations from `low_s` to `high_s`, both included; it raises Unfit."""

    def read(value: object) -> float:
        found = seconds(value)
        if low_s <= found <= high_s:
            return found
        raise Unfit(f"{shown(value)} is out of range", f"{low_s:g}s to {high_s:g}s")

    return read
