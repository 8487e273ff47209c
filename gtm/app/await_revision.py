"""Waiting, for a bounded time, until a node's controller has taken something up."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gtm.app.crew import holder
from gtm.model.errors import StoreError
from gtm.publish.dns.facts import Facts

POLL_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What became of a change: the revision that includes it, or None where no such revision was seen.

    `controller` says whether a controller runs; `problem` is why it did not take the change, if it said so.
    """

    revision: int | None = None
    controller: bool = True
    problem: str | None = None

    def text(self) -> str:
        """In a sentence."""
        if self.problem is not None:
            return f"the node did not take it up: {self.problem}"
        if self.revision is not None:
            return f"in force since revision {self.revision}"
        if not self.controller:
            return "no controller runs: it applies when one starts"
        return "the controller has not published it yet; see `gtm status`"


def facts_now(state: Path) -> Facts | None:
    """What the controller last wrote down, None where it has not."""
    try:
        return Facts.load(state)
    except StoreError:
        return None


def await_revision(
    state: Path,
    before: Facts | None,
    wait_s: float,
    includes: Callable[[Facts], bool] = lambda _: True,
    *,
    heed_problem: bool = False,
) -> Applied:
    """Wait until a later revision than `before`'s that `includes` the change is in force, for at most `wait_s`.

    With `heed_problem` a new reload problem ends the waiting, and one that stays is the outcome at the end.
    """
    deadline = time.monotonic() + wait_s
    earlier = (0, None) if before is None else (before.revision, before.problem)
    while holder(state, "controller") is not None:
        facts = facts_now(state)
        if facts is not None and facts.revision > earlier[0] and includes(facts):
            return Applied(revision=facts.revision)
        problem = facts.problem if facts is not None and heed_problem else None
        over = time.monotonic() > deadline
        if problem is not None and (over or problem != earlier[1]):
            return Applied(problem=problem)
        if over:
            return Applied()
        time.sleep(POLL_S)
    return Applied(controller=False)
