"""A region: a place that serves."""

from __future__ import annotations

from dataclasses import dataclass

from gtm.model.place import Coordinates

THRESHOLD_DEFAULT = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """One region: its name, where it is, and how much it can take.

    `share` is the expected share of all traffic (0 to 1) and `capacity` its size in requests per second; both may be
    unknown. `threshold` (0 to 1) is the least share of healthy instances with which a pool's part here counts as up.
    """

    name: str
    coordinates: Coordinates
    share: float | None = None
    capacity: float | None = None
    threshold: float = THRESHOLD_DEFAULT
