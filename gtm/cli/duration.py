"""Lengths of time as people write them on a command line."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError

_PARTS = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?")
_UNITS_S = (86400, 3600, 60, 1)
DURATION_MAX_S = 366 * 86400


def parse_duration(text: str) -> int:
    """Seconds of `90s`, `15m`, `1h30m` or `2d`. Raises ArgumentTypeError with what is allowed."""
    found = _PARTS.fullmatch(text)
    seconds = sum(int(part or 0) * unit for part, unit in zip(found.groups(), _UNITS_S, strict=True)) if found else 0
    if not 0 < seconds <= DURATION_MAX_S:
        raise ArgumentTypeError(f"{text!r} is not a duration (allowed: 90s, 15m, 1h30m, 2d; at most 366d)")
    return seconds
