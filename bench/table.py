"""Figures as text: median with spread, and tables whose columns line up."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def median(values: Sequence[float]) -> float:
    """The median; NaN of nothing."""
    return statistics.median(values) if values else float("nan")


def thousands(values: Sequence[float]) -> str:
    """Median and range of rates in thousands: "93.1 (90.2-94.0)"."""
    if not values:
        return "-"
    if len(values) == 1:
        return f"{values[0] / 1000:.1f}"
    return f"{median(values) / 1000:.1f} ({min(values) / 1000:.1f}-{max(values) / 1000:.1f})"


def spread(values: Sequence[float], unit: str = "", digits: int = 2) -> str:
    """Minimum, median and maximum: "1.20 / 1.31 / 1.90 s"."""
    if not values:
        return "-"
    parts = " / ".join(f"{value:.{digits}f}" for value in (min(values), median(values), max(values)))
    return f"{parts} {unit}".rstrip()


def lay_out(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The table as text; the first column is aligned left, the others right."""
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]

    def line(cells: Sequence[str]) -> str:
        first, *rest = (
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join((first, *rest)).rstrip()

    return "\n".join((line(heads), line(["-" * width for width in widths]), *map(line, rows)))
