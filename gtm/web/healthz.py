"""Whether a node serves: what /healthz says to load balancers, supervisors and people.

A node is fine while at least one worker is alive and serves a published table that a controller vouched for less than
TABLE_AGE_MAX_S ago. A dead controller alone is not a fault for that long, because the workers go on from the last good
table; after it, the answers may rest on health that nobody has looked at since.
"""

from __future__ import annotations

from dataclasses import dataclass

from gtm.web.status import Status

TABLE_AGE_MAX_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthz:
    """The verdict, what it rests on, and in `reasons` everything that speaks against it."""

    ok: bool
    reasons: tuple[str, ...]
    table_revision: int | None = None
    table_age_s: float | None = None
    table_age_max_s: float = TABLE_AGE_MAX_S
    workers_alive: int = 0
    workers_total: int = 0
    controller_alive: bool = False


def healthz(status: Status) -> Healthz:
    """The verdict on a status."""
    table = status.table
    serving = [worker for worker in status.workers if worker.alive and worker.revision > 0]
    reasons = []
    if table is None:
        reasons.append("no answers have been published yet")
    elif table.age_s is None:
        reasons.append("no controller has vouched for the answers since the machine started")
    elif table.age_s > TABLE_AGE_MAX_S:
        reasons.append(f"no controller has vouched for the answers for {table.age_s:.0f} s")
    if not serving:
        reasons.append("no worker is alive and serving")
    return Healthz(
        ok=not reasons,
        reasons=tuple(reasons),
        table_revision=None if table is None else table.revision,
        table_age_s=None if table is None else table.age_s,
        workers_alive=sum(worker.alive for worker in status.workers),
        workers_total=len(status.workers),
        controller_alive=status.controller.alive,
    )
