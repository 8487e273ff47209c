"""Results that something outside pushes: which targets wait for them, and whose last one has had its time."""

from __future__ import annotations

from collections.abc import Mapping

from gtm.model.check import Check, PushProbe, Target
from gtm.model.health import Health, Judgement, Result
from gtm.model.push import PushedHealth


class Pushed:
    """The targets of push checks and until when, on the monotonic clock, the last word on each counts."""

    def __init__(self, targets: Mapping[Target, Check]) -> None:
        """Wait for these; those of other kinds of checks are left out."""
        self._ttl_s: dict[Target, float] = {}
        self._until_s: dict[Target, float] = {}
        self.update(targets)

    @property
    def targets(self) -> frozenset[Target]:
        """The targets that are waited for."""
        return frozenset(self._ttl_s)

    def update(self, targets: Mapping[Target, Check]) -> None:
        """Wait for these from now on; what is known of those that stay, stays."""
        self._ttl_s = {
            target: check.probe.ttl_s for target, check in targets.items() if isinstance(check.probe, PushProbe)
        }
        self._until_s = {target: until_s for target, until_s in self._until_s.items() if target in self._ttl_s}

    def restore(self, judgements: Mapping[Target, Judgement], *, now_s: float, wall_s: float) -> None:
        """Carry on from an earlier run's judgements: their last results count for what is left of their check's ttl."""
        for target, judgement in judgements.items():
            ttl_s = self._ttl_s.get(target)
            if ttl_s is not None and judgement.last is not None and not judgement.stale:
                self._extend(target, now_s + ttl_s - max(0.0, wall_s - judgement.last.at_s))

    def push(self, pushed: PushedHealth, *, now_s: float, wall_s: float) -> Result | None:
        """The result of a word from outside; None if its target is not waited for, or its time is over already.

        `now_s` is monotonic and `wall_s` the time of day at the same moment: it waited for the difference between that
        and its own `at_s`. It counts for its own ttl, at most its check's. Fold it with fall and rise 1.
        """
        ttl_s = self._ttl_s.get(pushed.target)
        waited_s = max(0.0, wall_s - pushed.at_s)
        if ttl_s is None or waited_s >= min(pushed.ttl_s, ttl_s):
            return None
        # The newest word decides how long it counts, even if an earlier one would have counted for longer.
        self._until_s[pushed.target] = now_s + min(pushed.ttl_s, ttl_s) - waited_s
        return Result(
            at_s=min(pushed.at_s, wall_s),
            ok=pushed.health is not Health.DOWN,
            took_s=0.0,
            detail=pushed.detail or f"pushed: {pushed.health}",
            poor=pushed.health is Health.DEGRADED,
        )

    def expired(self, now_s: float) -> frozenset[Target]:
        """The targets without a word that still counts, those never heard of among them: their judgements are stale."""
        return frozenset(target for target in self._ttl_s if self._until_s.get(target, now_s) <= now_s)

    def deadline(self, now_s: float) -> float | None:
        """When the next target expires, on the monotonic clock; None if none is going to."""
        return min((until_s for until_s in self._until_s.values() if until_s > now_s), default=None)

    def _extend(self, target: Target, until_s: float) -> None:
        self._until_s[target] = max(until_s, self._until_s.get(target, until_s))
