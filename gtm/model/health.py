"""Health: what checks say, what people say, and one probe's result."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Health(StrEnum):
    """The state of an instance. The first four come from checks, the last three from people."""

    UNKNOWN = "UNKNOWN"
    UP = "UP"
    DEGRADED = "DEGRADED"
    DOWN = "DOWN"
    DRAINING = "DRAINING"
    FORCED_UP = "FORCED_UP"
    FORCED_DOWN = "FORCED_DOWN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one probe saw: when it ended (`at_s`, seconds since the epoch), whether it was good, how long, and why."""

    at_s: float
    ok: bool
    took_s: float
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A target's folded health: the verdict, since when, the run of equal results behind it, and the last result.

    `streak` counts the latest results that contradict the verdict (0 when the last result agreed with it).
    """

    health: Health = Health.UNKNOWN
    since_s: float = 0.0
    streak: int = 0
    last: Result | None = None
