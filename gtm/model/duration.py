"""Durations as people write them."""

from __future__ import annotations

import re

DURATION_FORMS = "a number with s, m, h, d or w, such as 90s, 30m, 1h, 1h30m or 2d"
DURATION_MAX_S = 3650 * 86400

_UNITS_S = {"w": 604_800, "d": 86_400, "h": 3600, "m": 60, "s": 1}
_DURATION = re.compile("".join(f"(?:([0-9]{{1,9}}){unit})?" for unit in _UNITS_S))


def parse(text: str) -> int:
    """The seconds (1 to DURATION_MAX_S) that "1h", "30m", "2d" or "1h30m" mean, largest unit first.

    Raises ValueError that says what is allowed.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None or not any(found.groups()):
        raise ValueError(f"{text!r} is not a duration (allowed: {DURATION_FORMS})")
    total_s = sum(int(count) * unit_s for count, unit_s in zip(found.groups("0"), _UNITS_S.values(), strict=True))
    if not 0 < total_s <= DURATION_MAX_S:
        raise ValueError(f"{text!r} is out of range (allowed: more than nothing and at most ten years)")
    return total_s
