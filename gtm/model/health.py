"""Health: what checks say, what people say, one probe's result, and what vantage points make of them together."""

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
class Phases:
    """How long the parts of a probe took, in seconds, one after the other; None: it had no such part."""

    connect_s: float | None = None
    tls_s: float | None = None
    first_byte_s: float | None = None


NO_PHASES = Phases()


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one probe saw: when it ended (`at_s`, seconds since the epoch), whether it was good, how long, and why.

    `poor`: it was good, and yet the target is worse than it should be, by its latency or by its own account.
    """

    at_s: float
    ok: bool
    took_s: float
    detail: str
    poor: bool = False
    phases: Phases = NO_PHASES


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """What one vantage point makes of a target; `counted` says whether the quorum took it in, and `why` it did not."""

    vantage: str
    health: Health
    counted: bool = True
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A target's folded health: the verdict, since when, the run of results behind it, and the last result.

    `streak` counts the latest results that contradict the verdict (0 when the last result agreed with it), `failures`
    the latest results that were bad, and `history` has the last 64 results as bits, the newest lowest, 1 for a bad
    one, under a leading 1. `stale`: no probe has run for three intervals; the verdict stands as it was. `votes` are
    those of all vantage points, where there are others; then the verdict is what they say together.
    """

    health: Health = Health.UNKNOWN
    since_s: float = 0.0
    streak: int = 0
    failures: int = 0
    history: int = 1
    last: Result | None = None
    stale: bool = False
    votes: tuple[Vote, ...] = ()
