"""The controller: observes, decides, publishes. No query passes through it, and its death changes no answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

import structlog

from gtm.answer.compile import compile_sets
from gtm.answer.table import SteeredSet
from gtm.app.bundle import Bundle, build
from gtm.app.secret import secret
from gtm.app.view import decision_of
from gtm.config.watch import watch_signature
from gtm.decide.health import fold
from gtm.decide.plan import Decision, decide
from gtm.model.check import Check, Target
from gtm.model.errors import GtmError, StoreError
from gtm.model.health import Judgement, Result
from gtm.model.snapshot import Snapshot
from gtm.observe.counters import Counters
from gtm.observe.prober import Prober
from gtm.publish.dns.control import Control
from gtm.publish.dns.facts import Facts
from gtm.publish.dns.manifest import FOLDER as TABLES
from gtm.publish.dns.manifest import Manifest
from gtm.publish.dns.tables import Base, Publisher, load_deployment
from gtm.store.store import Store

log = structlog.get_logger()

PULSE_S = 0.5
STORE_POLL_S = 0.1
FILES_POLL_S = 1.0
FACTS_S = 2.0


class Controller:
    """One node's controller over a deployment folder and its state folder."""

    def __init__(self, folder: Path, state: Path, bundle: Bundle, store: Store) -> None:
        """Take over what the store remembers; nothing is published before `settle`."""
        self.folder = folder
        self.state = state
        self.bundle = bundle
        self._store = store
        self._control = Control(state, writable=True)
        self._publisher = Publisher(state, self._control, key=secret(state))
        self._base: Base | None = None
        self._decision = last_decision(state)
        self._sets: tuple[SteeredSet, ...] | None = None
        self._judgements = remembered(store, bundle.deployment.targets(), time.time())
        self._overrides = store.active(time.time())
        self._prober = Prober(bundle.deployment.targets(), self._observe)
        self._problem: str | None = None
        self._started_s = time.time()
        self._recorded = 0
        self._changed = asyncio.Event()
        self._facts_due = False
        self._news = asyncio.Event()
        self._reload_now = asyncio.Event()

    async def settle(self) -> None:
        """Probe every target once, then decide and publish: nothing is served on no evidence."""
        self._prober_task = asyncio.create_task(self._prober.run(), name="prober")
        await self._prober.first_round()
        self._changed.clear()
        self._lay()
        self.publish()
        self.write_facts()

    async def run(self) -> None:
        """Follow the world until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_changes(), name="changes")
            tasks.create_task(self._follow_store(), name="store")
            tasks.create_task(self._follow_files(), name="files")
            tasks.create_task(self._beat(), name="pulse")
            tasks.create_task(self._tell(), name="facts")

    async def close(self) -> None:
        """Stop probing, and remember the verdicts."""
        self._prober_task.cancel()
        await asyncio.gather(self._prober_task, return_exceptions=True)
        self._store.save_judgements(self._judgements, now_s=time.time())
        self.write_facts()
        self._control.leave()

    def reload(self) -> None:
        """Look at the deployment folder again now (SIGHUP)."""
        self._reload_now.set()

    # -- observe

    def _observe(self, target: Target, result: Result) -> None:
        check = self.bundle.deployment.checks.get(target.check)
        if check is None:  # of a check that a reload has just removed
            return
        before = self._judgements.get(target, Judgement())
        after = fold(before, result, check.cadence)
        self._judgements[target] = after
        self._facts_due = True
        if after.health is not before.health:
            log.info("health", target=str(target), was=str(before.health), now=str(after.health), why=result.detail)
            self._changed.set()

    async def _follow_changes(self) -> None:
        """Publish as soon as something changed; what changes in the same turn is published together."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            self.publish()

    async def _follow_store(self) -> None:
        """Notice what people order, from any process, and what expires."""
        seen = self._store.changes()
        while True:
            await asyncio.sleep(STORE_POLL_S)
            try:
                now_s, changes = time.time(), self._store.changes()
                expired = any(not override.active(now_s) for override in self._overrides)
                if changes != seen or expired:
                    seen = changes
                    self._take_overrides(now_s)
            except StoreError as error:
                log.error("store", reason=str(error))

    def _take_overrides(self, now_s: float) -> None:
        self._store.expire(now_s)
        overrides = self._store.active(now_s)
        if overrides != self._overrides:
            self._overrides = overrides
            log.info("overrides", standing=[f"{one.action} {one.subject}" for one in overrides])
            self._changed.set()

    # -- decide and publish

    def publish(self) -> None:
        """Decide on what is known now and make it current. What fails leaves the earlier tables in force."""
        earlier = self._decision
        snapshot = Snapshot(
            revision=self._store.next_revision(),
            now_s=time.time(),
            deployment=self.bundle.deployment,
            judgements=dict(self._judgements),
            overrides=self._overrides,
        )
        decision = decide(snapshot, earlier, self.bundle.dependents)
        same = earlier is not None and earlier.snapshot.deployment is snapshot.deployment and self._sets is not None
        sets = compile_sets(decision.plan, self.bundle.layout, self._sets if same else None, decision.touched)
        if self._base is None:
            raise GtmError("nothing has been laid out to publish")
        try:
            self._publisher.publish(self._base, snapshot.deployment, snapshot.revision, sets, snapshot.now_s)
        except StoreError as error:
            log.error("not_published", revision=snapshot.revision, reason=str(error))
            return
        self._decision, self._sets = decision, sets
        self._news.set()
        log.info("published", revision=snapshot.revision, pools=len(decision.touched))

    def _lay(self) -> None:
        bundle = self.bundle
        self._base = self._publisher.lay(bundle.deployment, bundle.authority, bundle.layout.index, bundle.classes_file)

    # -- reload

    async def _follow_files(self) -> None:
        """Reload when the folder has changed and then been still for one look, or when told to."""
        served = pending = await asyncio.to_thread(watch_signature, self.folder)
        while True:
            told = await _within(self._reload_now, FILES_POLL_S)
            now = await asyncio.to_thread(watch_signature, self.folder)
            if told or (now != served and now == pending):
                served = now
                await self._reload()
            pending = now

    async def _reload(self) -> None:
        """All or nothing: either the whole new deployment is served, or nothing changes and the reason is shown."""
        try:
            bundle = await asyncio.to_thread(build, self.folder, self.state / "cache", self.bundle)
        except GtmError as error:
            self._problem = str(error)
            self._news.set()
            log.error("reload_refused", reason=str(error))
            return
        targets = bundle.deployment.targets()
        self._prober.update(targets)
        self.bundle = bundle
        await self._prober.first_round()
        self._judgements = {target: judged for target, judged in self._judgements.items() if target in targets}
        self._problem = None
        self._lay()
        self.publish()
        log.info("reloaded", warnings=len(bundle.warnings))

    # -- pulse and facts

    async def _beat(self) -> None:
        while True:
            self._control.pulse()
            await asyncio.sleep(PULSE_S)

    async def _tell(self) -> None:
        """Write down what is known: news at once, results of probes every now and then."""
        while True:
            if await _within(self._news, FACTS_S) or self._facts_due:
                self._facts_due = False
                await asyncio.to_thread(self.write_down)

    def write_down(self) -> None:
        """Write the facts file, and into the store what a successor or a later question will want."""
        self.write_facts()
        decision = self._decision
        try:
            self._store.save_judgements(dict(self._judgements), now_s=time.time())
            if decision is not None and self._sets is not None and decision.plan.revision != self._recorded:
                snapshot = decision.snapshot
                self._store.record(
                    snapshot.revision,
                    at_s=snapshot.now_s,
                    summary=f"{len(decision.touched)} pools planned anew",
                    judgements=snapshot.judgements,
                    overrides=snapshot.overrides,
                )
                self._recorded = snapshot.revision
        except StoreError as error:
            log.error("store", reason=str(error))

    def write_facts(self) -> None:
        """Write the facts file for status, explain and metrics."""
        decision = self._decision
        if decision is None or self._sets is None:
            return
        facts = Facts(
            revision=decision.plan.revision,
            now_s=time.time(),
            started_s=self._started_s,
            folder=str(self.folder),
            judgements=dict(self._judgements),
            overrides=self._overrides,
            last_good={name: pool for name, pool in decision.plan.pools.items() if pool.last_good is not None},
            problem=self._problem,
            probes=probe_counts(self._prober.counters),
        )
        try:
            facts.save(self.state)
        except StoreError as error:
            log.error("facts_not_written", reason=str(error))


def last_decision(state: Path) -> Decision | None:
    """What an earlier run decided last, so that `last_good` outlives a restart; None if it left nothing readable."""
    try:
        deployment = load_deployment(state, Manifest.load(state / TABLES))
        return decision_of(deployment, Facts.load(state))
    except StoreError:
        return None


def remembered(store: Store, targets: Mapping[Target, Check], now_s: float) -> dict[Target, Judgement]:
    """The verdicts of an earlier run that are fresh enough to go on from, so that a restart does not flap."""
    return {target: judged for target, judged in store.load_judgements(now_s=now_s).items() if target in targets}


async def _within(event: asyncio.Event, seconds: float) -> bool:
    """Whether the event came within some seconds; it is cleared."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    event.clear()
    return True


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
