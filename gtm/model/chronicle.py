"""The chronicle: what was seen of each target and how its verdict changed, for those who look back."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gtm.model.check import Target
from gtm.model.health import Health, Result, Vote

TOGETHER = ""  # the vantage of what all vantage points agreed on


class Outcome(StrEnum):
    """What one result came to: good, good yet poorer than it should be, or bad."""

    GOOD = "good"
    POOR = "poor"
    BAD = "bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """`count` results of one outcome on end, as one vantage point had them; `detail` is what the first one said."""

    target: Target
    vantage: str
    outcome: Outcome
    first_at_s: float
    last_at_s: float
    count: int
    took_min_s: float
    took_mean_s: float
    took_max_s: float
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A change of a target's verdict, of one vantage point or of all (TOGETHER), with its evidence.

    `lasted_s`: how long it had been as it `was`, None where that is not known. `failures` and `streak` are the bad
    results, and the results against the old verdict, that there had been on end; `history` the latest results as 0
    (not bad) and 1 (bad), the newest last. `last` is the result that decided; None where something else did.
    """

    target: Target
    vantage: str
    at_s: float
    was: Health
    now: Health
    lasted_s: float | None
    failures: int
    streak: int
    history: str
    last: Result | None
    votes: tuple[Vote, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """What is to be written down: changes in the order in which they came, and runs that ended or grew."""

    transitions: tuple[Transition, ...] = ()
    runs: tuple[Run, ...] = ()


NO_ENTRIES = Entries()
