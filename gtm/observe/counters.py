"""What the prober has done, as plain numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

from gtm.observe.outcome import Outcome, Reason

LATE_S = 0.1


@dataclass(slots=True, kw_only=True)
class Counters:
    """Totals since the start; only `running` and `stale` also fall.

    `failed` by reason, our own faults (Reason.OURS) among them; `ours_detail` is the last of those in words. A start
    is late when it comes more than LATE_S after it was due; `delay_s` sums all delays and `delay_s_max` is the worst.
    `stale` targets have had no result for too long now, and `stalled` counts how often one came to that.
    """

    started: int = 0
    running: int = 0
    ok: int = 0
    failed: dict[Reason, int] = field(default_factory=dict)
    late: int = 0
    delay_s: float = 0.0
    delay_s_max: float = 0.0
    stale: int = 0
    stalled: int = 0
    ours_detail: str = ""

    def start(self, delay_s: float) -> None:
        """Count a start, `delay_s` after it was due."""
        self.started += 1
        self.running += 1
        self.delay_s += delay_s
        self.delay_s_max = max(self.delay_s_max, delay_s)
        if delay_s > LATE_S:
            self.late += 1

    def end(self, outcome: Outcome) -> None:
        """Count what a probe came to."""
        if outcome.ok:
            self.ok += 1
            return
        self.failed[outcome.reason] = self.failed.get(outcome.reason, 0) + 1
        if outcome.reason is Reason.OURS:
            self.ours_detail = outcome.detail
