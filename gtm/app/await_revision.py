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


def revision_now(state: Path) -> int:
    """The revision in force, 0 where nothing has been published."""
    try:
        return Facts.load(state).revision
    except StoreError:
        return 0


def await_revision(
    state: Path, after: int, wait_s: float, includes: Callable[[Facts], bool] = lambda _: True
) -> Applied:
    """Wait until a revision later than `after` that `includes` the change is in force, for at most `wait_s`."""
    deadline = time.monotonic() + wait_s
    while holder(state, "controller") is not None:
        try:
            facts = Facts.load(state)
        except StoreError:  # it starts just now
            facts = None
        if facts is not None and facts.revision > after and includes(facts):
            return Applied(revision=facts.revision)
        if facts is not None and facts.problem is not None and facts.revision == after:
            return Applied(problem=facts.problem)
        if time.monotonic() > deadline:
            return Applied()
        time.sleep(POLL_S)
    return Applied(controller=False)
