"""Text for people: aligned columns, durations, and colour where it goes to a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from gtm.model.health import Health

_GREEN, _YELLOW, _RED, _BOLD, _END = "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[1m", "\x1b[0m"
_COLOUR = {
    Health.UP: _GREEN,
    Health.FORCED_UP: _GREEN,
    Health.DEGRADED: _YELLOW,
    Health.DRAINING: _YELLOW,
    Health.DOWN: _RED,
    Health.FORCED_DOWN: _RED,
}


# How words are marked: `plain` leaves them, `colour` uses the terminal's colours. No health asks for a heading.
Paint = Callable[[str, Health | None], str]


def plain(text: str, _: Health | None) -> str:
    """The text as it is."""
    return text


def colour(text: str, health: Health | None) -> str:
    """The text in the colour of a health, headings bold (ECMA-48 SGR)."""
    start = _BOLD if health is None else _COLOUR.get(health, "")
    return f"{start}{text}{_END}" if start else text


def clean(text: str) -> str:
    """Foreign text on one line without control characters, so that a reason cannot steer the terminal."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in " ".join(text.split()))


def columns(rows: Iterable[Sequence[str]], *, indent: int = 2, heads: Sequence[str] | None = None) -> list[str]:
    """Rows of equal length as lines with aligned columns; the last column is as long as it is."""
    table = [*([tuple(heads)] if heads else []), *(tuple(row) for row in rows)]
    if not table:
        return []
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]) - 1)]
    lines = (
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in table
    )
    return [" " * indent + line.rstrip() for line in lines]


def duration(seconds: float) -> str:
    """A length of time in the unit that fits it."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds < 172800:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86400:.0f} days"


def moment(at_s: float) -> str:
    """A moment in UTC, as RFC 3339 has it."""
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%dT%H:%M:%SZ}"


def percent(share: float) -> str:
    """A share of 0 to 1 in percent, with one decimal where it has one."""
    return f"{share * 100:.1f}".removesuffix(".0") + " %"
