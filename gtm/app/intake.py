"""The intake: what was pushed to this node is taken from its store and handed to those who wait for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from gtm.model.check import Check, Target
from gtm.model.health import Judgement, Result
from gtm.model.load import LoadSample
from gtm.model.push import Inbox
from gtm.model.rtt import RttSample
from gtm.observe.pushed import Pushed
from gtm.store.store import Store


class Intake:
    """Looks into the store for what was pushed, cheaply enough to be asked forty times a second.

    Results of push checks go to `results`, one by one and in order; load and round-trip times to `loads` and `rtts`, a
    portion at a time. Times: `now_s` is monotonic, `wall_s` the time of day at the same moment.
    """

    def __init__(
        self,
        store: Store,
        checks: Mapping[Target, Check],
        *,
        results: Callable[[Target, Result], None],
        loads: Callable[[Sequence[LoadSample]], None],
        rtts: Callable[[Sequence[RttSample]], None],
    ) -> None:
        """Nothing is taken yet."""
        self._store = store
        self._pushed = Pushed(checks)
        self._results = results
        self._loads = loads
        self._rtts = rtts
        self._seen: int | None = None

    def configure(self, checks: Mapping[Target, Check]) -> None:
        """Wait for the push checks among these from now on."""
        self._pushed.update(checks)

    def restore(self, judgements: Mapping[Target, Judgement], *, now_s: float, wall_s: float) -> None:
        """Carry on from an earlier run's judgements."""
        self._pushed.restore(judgements, now_s=now_s, wall_s=wall_s)

    def look(self, *, now_s: float, wall_s: float) -> bool:
        """Take one portion of what is there and hand it on; whether there is more of it. Raises StoreError."""
        changes = self._store.changes()
        if changes == self._seen:
            return False
        inbox = self._store.collect(now_s=wall_s)
        # Only when all has been taken: otherwise the next look goes on, though nobody has written since.
        self._seen = None if inbox.more else changes
        self._hand_on(inbox, now_s, wall_s)
        return inbox.more

    def expired(self, now_s: float) -> frozenset[Target]:
        """The targets of push checks of which nothing has been heard in time: their judgements are stale."""
        return self._pushed.expired(now_s)

    def _hand_on(self, inbox: Inbox, now_s: float, wall_s: float) -> None:
        for one in inbox.healths:
            result = self._pushed.push(one, now_s=now_s, wall_s=wall_s)
            if result is not None:  # else its target is gone, or its time is over
                self._results(one.target, result)
        if inbox.loads:
            self._loads(inbox.loads)
        if inbox.rtts:
            self._rtts(inbox.rtts)
