"""What the controller writes down beside the tables: facts for those who look, memory for a successor."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from gtm.decide.plan import Decision
from gtm.model.check import Target
from gtm.model.chronicle import NO_ENTRIES, Entries
from gtm.model.cluster import ClusterState
from gtm.model.errors import StoreError
from gtm.model.health import Judgement
from gtm.model.load import LoadSummary
from gtm.model.override import Override
from gtm.model.rtt import RttState
from gtm.model.snapshot import Snapshot
from gtm.observe.counters import Counters
from gtm.publish.dns.facts import Facts
from gtm.store.store import Store

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What there is to write down: the decision in force and what has become known since; `own`: by this node alone."""

    decision: Decision
    judgements: Mapping[Target, Judgement]
    own: Mapping[Target, Judgement]
    overrides: tuple[Override, ...]
    problem: str | None
    probes: Counters
    faults: Mapping[Target, str] = field(default_factory=dict)
    cluster: ClusterState | None = None
    load: LoadSummary | None = None
    rtt: RttState | None = None
    entries: Entries = NO_ENTRIES


class Recorder:
    """Writes the facts file, the journal of revisions and the judgements that changed. Failures are logged, no more."""

    def __init__(self, folder: Path, state: Path, store: Store) -> None:
        """For a deployment folder and its state."""
        self._folder = folder
        self._state = state
        self._store = store
        self._started_s = time.time()
        self._revision = 0
        self._journaled: Snapshot | None = None
        self._saved: dict[Target, Judgement] = {}

    def write(self, news: News) -> None:
        """Write it all down. May take some milliseconds per thousand targets: call it from a thread."""
        try:
            self._facts(news).save(self._state)
            self._remember(news)
            self._store.write_chronicle(news.entries, time.time())
        except StoreError as error:
            log.error("not_written_down", reason=str(error))

    def _facts(self, news: News) -> Facts:
        pools = news.decision.plan.pools
        return Facts(
            revision=news.decision.plan.revision,
            now_s=time.time(),
            started_s=self._started_s,
            folder=str(self._folder),
            judgements=news.judgements,
            overrides=news.overrides,
            last_good={name: pool for name, pool in pools.items() if pool.last_good is not None},
            problem=news.problem,
            probes=probe_counts(news.probes),
            faults=news.faults,
            cluster=news.cluster,
            loads=news.load,
            rtt=news.rtt,
        )

    def _remember(self, news: News) -> None:
        snapshot = news.decision.snapshot
        if snapshot.revision != self._revision and not alike(self._journaled, snapshot):
            self._store.record(
                snapshot.revision,
                at_s=snapshot.now_s,
                summary=f"{len(news.decision.touched)} pools planned anew",
                judgements=snapshot.judgements,
                overrides=snapshot.overrides,
            )
            self._journaled = snapshot
        self._revision = snapshot.revision
        changed = {target: one for target, one in news.own.items() if self._saved.get(target) is not one}
        self._store.save_judgements(changed, now_s=time.time())
        self._saved = dict(news.own)


def alike(before: Snapshot | None, after: Snapshot) -> bool:
    """Whether two snapshots have the same deployment, orders and healths, so that at most TTLs or places differ."""
    if before is None or before.deployment is not after.deployment or before.overrides != after.overrides:
        return False
    known, now = before.judgements, after.judgements
    return known.keys() == now.keys() and all(one.health is known[target].health for target, one in now.items())


def probe_counts(counters: Counters) -> dict[str, float]:
    """The prober's counters as plain numbers by name; failures by reason as `failed_REASON`."""
    counts = {
        "started": counters.started,
        "running": counters.running,
        "ok": counters.ok,
        "late": counters.late,
        "delay_seconds": counters.delay_s,
        "delay_max_seconds": counters.delay_s_max,
    }
    return counts | {f"failed_{reason.value}": count for reason, count in counters.failed.items()}
