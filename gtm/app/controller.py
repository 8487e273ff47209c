"""The controller: observes, decides, publishes. No query passes through it, and its death changes no answer."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from gtm.answer.compile import compile_sets
from gtm.answer.table import SteeredSet
from gtm.app.bundle import Bundle, build
from gtm.app.recorder import News, Recorder
from gtm.app.secret import secret
from gtm.app.view import decision_of
from gtm.app.within import within
from gtm.config.watch import watch_signature
from gtm.decide.health import fold
from gtm.decide.plan import Decision, decide
from gtm.model.check import Check, Target
from gtm.model.errors import GtmError, StoreError
from gtm.model.health import Judgement, Result
from gtm.model.node import Node
from gtm.model.snapshot import Snapshot
from gtm.observe.prober import Prober
from gtm.publish.dns.control import Control
from gtm.publish.dns.facts import Facts
from gtm.publish.dns.manifest import FOLDER as TABLES
from gtm.publish.dns.manifest import Manifest
from gtm.publish.dns.tables import Base, Publisher, load_deployment
from gtm.store.store import Store

log = structlog.get_logger()

PULSE_S = 0.5
STORE_POLL_S = 0.025  # one look takes some ten microseconds
FILES_POLL_S = 1.0
RECORD_S = 2.0
RETRY_S = 1.0  # after a revision that could not be published

Admit = Callable[[Node, Node], None]  # of the node that is served and the one that is wanted


class Controller:
    """One node's controller over a deployment folder and its state folder."""

    def __init__(
        self, folder: Path, state: Path, bundle: Bundle, store: Store, *, signature: str, admit: Admit
    ) -> None:
        """Take over what an earlier run left; nothing is published before `settle`.

        `signature` is the folder's from before the bundle was built. `admit` is asked before another deployment is
        taken up, and raises GtmError where this machine cannot serve it. Raises StoreError.
        """
        now_s = time.time()
        self.folder = folder
        self.state = state
        self.bundle = bundle
        self._checks = dict(bundle.deployment.targets())
        self._store = store
        self._recorder = Recorder(folder, state, store)
        self._control = Control(state, writable=True)
        self._publisher = Publisher(state, self._control, key=secret(state))
        self._revision = store.next_revision(at_least=self._control.revision + 1) - 1
        self._served = signature
        self._admit = admit
        self._base: Base | None = None
        self._earlier = last_decision(state)
        self._decision: Decision | None = None
        self._sets: tuple[SteeredSet, ...] = ()
        self._judgements = remembered(store, self._checks, now_s)
        self._overrides = store.active(now_s)
        self._problem: str | None = None
        self._behind = False
        self._prober = Prober(self._checks, self._observe)
        self._probing: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._news = asyncio.Event()
        self._told_to_reload = asyncio.Event()

    async def settle(self) -> None:
        """Probe every target once, then decide and publish: nothing is served on no evidence. Raises StoreError."""
        self._probing = asyncio.create_task(self._prober.run(), name="prober")
        await self._prober.first_round()
        self._changed.clear()
        self._base = self._lay(self.bundle)
        self.publish()
        self._write_down()
        gc.collect()
        gc.freeze()  # the deployment lives until the next one: no collection needs to walk it

    async def run(self) -> None:
        """Follow the world until cancelled. Raises an ExceptionGroup if a part of it fails."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_prober(), name="prober's end")
            tasks.create_task(self._follow_changes(), name="changes")
            tasks.create_task(self._follow_store(), name="store")
            tasks.create_task(self._follow_files(), name="files")
            tasks.create_task(self._beat(), name="pulse")
            tasks.create_task(self._record(), name="record")

    async def close(self) -> None:
        """Stop probing, and write down what is known for the next run."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)
        self._write_down()
        self._control.leave()

    def reload(self) -> None:
        """Look at the deployment folder again now (SIGHUP)."""
        self._told_to_reload.set()

    # Observing.

    def _observe(self, target: Target, result: Result) -> None:
        check = self._checks.get(target)
        if check is None:  # of a target that a reload has just removed
            return
        before = self._judgements.get(target, Judgement())
        after = fold(before, result, check.cadence)
        self._judgements[target] = after
        if after.health is not before.health:
            log.info("health", target=str(target), was=str(before.health), now=str(after.health), why=result.detail)
            self._changed.set()

    async def _follow_prober(self) -> None:
        """Fail with the prober, should it end by itself: a controller that sees nothing must not go on deciding."""
        if self._probing is not None:
            await asyncio.shield(self._probing)

    async def _follow_store(self) -> None:
        """Notice what people order, from any process, and what expires."""
        seen = None
        while True:
            try:
                now_s, changes = time.time(), self._store.changes()
                if changes != seen or any(not override.active(now_s) for override in self._overrides):
                    self._take_overrides(now_s)
                    seen = changes
            except StoreError as error:
                log.error("store", reason=str(error))
            await asyncio.sleep(STORE_POLL_S)

    def _take_overrides(self, now_s: float) -> None:
        self._store.expire(now_s)
        overrides = self._store.active(now_s)
        if overrides != self._overrides:
            self._overrides = overrides
            log.info("overrides", standing=[f"{one.action} {one.subject}" for one in overrides])
            self._changed.set()

    # Deciding and publishing.

    async def _follow_changes(self) -> None:
        """Publish as soon as something changed; what changes in the same turn is published together."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            self.publish()

    def publish(self) -> None:
        """Decide on what is known now and make it current. Where that fails, the tables in force stay in force."""
        if self._base is None:
            return
        bundle, in_force = self.bundle, self._decision
        snapshot = Snapshot(
            revision=self._revision + 1,
            now_s=time.time(),
            deployment=bundle.deployment,
            judgements=dict(self._judgements),
            overrides=self._overrides,
        )
        same = in_force is not None and in_force.snapshot.deployment is bundle.deployment
        gc.disable()  # plans are many objects, none of them garbage: without this the worst of 20 changes took 136 ms
        try:
            decision = decide(snapshot, in_force or self._earlier, bundle.dependents)
            sets = compile_sets(decision.plan, bundle.layout, self._sets if same else None, decision.touched)
            self._publisher.publish(self._base, bundle.deployment, snapshot.revision, sets, snapshot.now_s)
        except StoreError as error:
            log.error("not_published", revision=snapshot.revision, reason=str(error))
            self._behind = True
            asyncio.get_running_loop().call_later(RETRY_S, self._changed.set)
            return
        finally:
            gc.enable()
        self._revision, self._decision, self._sets, self._behind = snapshot.revision, decision, sets, False
        self._news.set()
        log.info("published", revision=snapshot.revision, pools=len(decision.touched))

    def _lay(self, bundle: Bundle) -> Base:
        return self._publisher.lay(bundle.deployment, bundle.authority, bundle.layout.index, bundle.classes_file)

    # Reloading.

    async def _follow_files(self) -> None:
        """Reload when the folder has changed and then been still for one look, or when told to."""
        pending = self._served
        while True:
            told = await within(self._told_to_reload, FILES_POLL_S)
            now = await asyncio.to_thread(watch_signature, self.folder, self.bundle.elsewhere)
            if told or (now != self._served and now == pending):
                self._served = now
                await self._reload()
            pending = now

    async def _reload(self) -> None:
        """All or nothing: either the whole new deployment is served, or nothing changes and the reason is shown."""
        try:
            bundle = await asyncio.to_thread(build, self.folder, self.state / "cache", self.bundle)
            self._admit(self.bundle.deployment.node, bundle.deployment.node)
            base = self._lay(bundle)
        except GtmError as error:
            self._problem = str(error)
            self._news.set()
            log.error("reload_refused", reason=str(error))
            return
        self._checks = dict(bundle.deployment.targets())
        self._prober.update(self._checks)
        await self._prober.first_round()
        # From here to the publishing there is no turn for others: what is decided fits what is laid out.
        self._judgements = {target: one for target, one in self._judgements.items() if target in self._checks}
        self.bundle, self._base, self._problem = bundle, base, None
        self.publish()
        gc.collect()  # what is frozen is never looked at again: nothing that is garbage may be among it
        gc.freeze()
        log.info("reloaded", warnings=len(bundle.warnings))

    # Being seen.

    async def _beat(self) -> None:
        while True:
            if not self._behind:  # else the age of the tables in force must show
                self._control.pulse()
            await asyncio.sleep(PULSE_S)

    async def _record(self) -> None:
        """Write down news at once, and what probes find every now and then."""
        while True:
            await within(self._news, RECORD_S)
            await asyncio.to_thread(self._write_down)

    def _write_down(self) -> None:
        if self._decision is not None:
            news = News(
                decision=self._decision,
                judgements=dict(self._judgements),
                overrides=self._overrides,
                problem=self._problem,
                probes=self._prober.counters,
            )
            self._recorder.write(news)


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
