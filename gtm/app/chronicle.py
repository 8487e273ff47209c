"""The chronicle as it is kept while the node runs: results become runs, changes of verdicts become transitions."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from math import inf, nextafter

from gtm.model.check import Target
from gtm.model.chronicle import TOGETHER, Entries, Outcome, Run, Transition
from gtm.model.health import Health, Judgement, Result

SAVED_EVERY_S = 60.0  # of a run that goes on: what a crash may lose
PENDING_MAX = 100_000  # entries of each kind that nobody has taken yet; then the oldest go
PACE_FACTOR = 4.0  # a run whose results come this much faster or slower is another one: the pace has changed
BITS_MAX = 20


class Chronicle:
    """What one node saw since somebody last took it, to be written down. Nothing here waits or reads a file.

    A result costs some 1.2 microseconds, one in which a run ends 5 (bench/chronicle.py). Results of one target come in
    the order of their time; where the clock was set back, another run begins there.
    """

    def __init__(self, node: str, *, clock: Callable[[], float] = time.time) -> None:
        """For the vantage point `node`."""
        self._node = node
        self._clock = clock
        self._open: dict[Target, _Open] = {}
        self._grown: dict[_Open, None] = {}
        self._ended: deque[Run] = deque(maxlen=PENDING_MAX)
        self._transitions: deque[Transition] = deque(maxlen=PENDING_MAX)

    def result(self, target: Target, result: Result) -> None:
        """Take in a result of this node's own."""
        one = self._open.get(target)
        at_s = result.at_s
        # A flag is compared with a flag: a result that is bad is never called poor.
        if one is None or result.ok is not one.ok or (result.poor and result.ok) is not one.poor:
            self._begin(target, result)
            return
        step_s = at_s - one.last_at_s
        count = one.count
        if step_s < 0 or (count > 1 and one.differs(step_s)):
            self._begin(target, result)
            return
        one.count = count + 1
        one.last_at_s = at_s
        took_s = result.took_s
        one.took_s += took_s
        if took_s > one.took_max_s:
            one.took_max_s = took_s
        elif took_s < one.took_min_s:
            one.took_min_s = took_s
        if at_s >= one.due_s:
            one.due_s = at_s + SAVED_EVERY_S
            self._grown[one] = None

    def change(self, target: Target, vantage: str, before: Judgement, after: Judgement) -> None:
        """Take in a change of a verdict: of this node (`vantage`), or of all vantage points together ("")."""
        alone = vantage != TOGETHER or not after.votes
        # What all agree on may change without a result, when a vote comes or goes: then it is so from now on.
        at_s = after.since_s if vantage != TOGETHER and after.since_s else self._clock()
        known = before.since_s > 0 and before.health is not Health.UNKNOWN
        self._transitions.append(
            Transition(
                target=target,
                vantage=vantage,
                at_s=at_s,
                was=before.health,
                now=after.health,
                lasted_s=max(0.0, at_s - before.since_s) if known else None,
                failures=after.failures,
                streak=before.streak + 1 if alone and after.last is not None else 0,
                history=bits(after.history),
                last=after.last,
                votes=after.votes,
            )
        )

    def keep(self, targets: AbstractSet[Target]) -> None:
        """End the runs of all targets but these: nothing more is heard of the others here."""
        for target in [target for target in self._open if target not in targets]:
            self._end(self._open.pop(target))

    def take(self, *, final: bool = False) -> Entries:
        """What is to be written down now, once; with `final` all that is known of runs that go on, too."""
        grown = self._open.values() if final else self._grown
        entries = Entries(
            transitions=tuple(self._transitions),
            runs=(*self._ended, *(one.run(self._node) for one in grown)),
        )
        self._transitions.clear()
        self._ended.clear()
        self._grown.clear()
        return entries

    def _begin(self, target: Target, result: Result) -> None:
        before = self._open.get(target)
        one = self._open[target] = _Open(target, result)
        if before is not None:
            self._end(before)
            if before.begun_s == result.at_s:  # its beginning is what a run is known by
                one.first_at_s = one.last_at_s = nextafter(before.first_at_s, inf)

    def _end(self, one: _Open) -> None:
        self._grown.pop(one, None)
        self._ended.append(one.run(self._node))


class _Open:
    """A run that goes on."""

    __slots__ = (
        "begun_s", "count", "detail", "due_s", "first_at_s", "last_at_s", "ok", "poor", "target", "took_max_s",
        "took_min_s", "took_s",
    )  # fmt: skip

    def __init__(self, target: Target, result: Result) -> None:
        self.target = target
        self.ok = result.ok
        self.poor = result.poor and result.ok
        self.begun_s = self.first_at_s = self.last_at_s = result.at_s
        self.due_s = result.at_s + SAVED_EVERY_S
        self.count = 1
        self.took_s = self.took_min_s = self.took_max_s = result.took_s
        self.detail = result.detail

    def differs(self, step_s: float) -> bool:
        """Whether a result that comes `step_s` after the last one comes at another pace than those before."""
        steps_s = self.last_at_s - self.first_at_s
        pace = step_s * (self.count - 1)
        return steps_s > 0 and not steps_s < pace * PACE_FACTOR < steps_s * PACE_FACTOR * PACE_FACTOR

    def run(self, vantage: str) -> Run:
        outcome = Outcome.POOR if self.poor else Outcome.GOOD if self.ok else Outcome.BAD
        return Run(
            target=self.target,
            vantage=vantage,
            outcome=outcome,
            first_at_s=self.first_at_s,
            last_at_s=self.last_at_s,
            count=self.count,
            took_min_s=self.took_min_s,
            took_mean_s=self.took_s / self.count,
            took_max_s=self.took_max_s,
            detail=self.detail,
        )


def bits(history: int) -> str:
    """The latest of a judgement's history as 0 (not bad) and 1 (bad), the newest last."""
    return f"{history:b}"[1:][-BITS_MAX:]
