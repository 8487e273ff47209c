"""The controller: observes, decides, publishes. No query passes through it, and its death changes no answer."""

from __future__ import annotations

import asyncio
import gc
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from gtm.app import asked
from gtm.app.bundle import Bundle, build, relocate
from gtm.app.chronicle import Chronicle
from gtm.app.clock import SteadyClock
from gtm.app.cluster import Cluster
from gtm.app.digest import deployment_digest
from gtm.app.folders import shared_file
from gtm.app.intake import Intake
from gtm.app.load import LoadKeeper
from gtm.app.observer import Observer
from gtm.app.orders import Orders
from gtm.app.pacer import Pacer
from gtm.app.panel import Change
from gtm.app.publication import Publication
from gtm.app.recorder import News, Recorder
from gtm.app.rtt_follow import POSTING, RttFollow
from gtm.app.within import within
from gtm.config.watch import watch_signature
from gtm.decide.pace import Pace
from gtm.decide.prefer import Preferences
from gtm.model.check import Check, Target
from gtm.model.errors import GtmError, StoreError
from gtm.model.health import Judgement
from gtm.model.node import Node
from gtm.publish.dns.tables import Base
from gtm.store.store import Store

if TYPE_CHECKING:
    from gtm.store.shared import Shared

log = structlog.get_logger()

PULSE_S = 0.5
STORE_POLL_S = 0.025  # one look takes some ten microseconds
EXPIRE_LOOKS = 20  # of the store for one at what was pushed and has had its time
FILES_POLL_S = 1.0
RECORD_S = 2.0
RECORD_SHARE = 0.05  # the most of a core that writing down may take where nothing is new
IDLE_LOOK_S = 60.0
CONTACT_S = 3.0  # to hear of the orders that stand in the shared store, before the first answer
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
        self._clock = SteadyClock()
        now_s = self._clock()
        node, checks = bundle.deployment.node, bundle.deployment.targets()
        self.folder = folder
        self.state = state
        self.bundle = bundle
        self._store = store
        self._served = signature
        self._admit = admit
        self._problem: str | None = None
        self._changed = asyncio.Event()
        self._news = asyncio.Event()
        self._told_to_reload = asyncio.Event()
        self._preferring = asyncio.Event()
        self._publication = Publication(state, store, self._clock)
        self._orders = Orders(store, now_s)
        self._recorder = Recorder(folder, state, store)
        self._chronicle = Chronicle(node.name, clock=self._clock)
        self._observer = Observer(
            node.name, checks, remembered(store, checks, now_s), self._moved, self._clock, self._chronicle
        )
        self._load = LoadKeeper(bundle.deployment)
        self._building = asyncio.Lock()
        self._rtt = RttFollow(bundle, folder, state, on_preferences=self._prefer, post=self._post)
        self._intake = Intake(store, checks, results=self._observer.push, loads=self._load.push, rtts=self._rtt.report)
        self._intake.restore(self._observer.own, now_s=time.monotonic(), wall_s=now_s)
        self._apart: list[asyncio.Task[None]] = []  # what runs from before the first answer to the last
        self._pacer = Pacer(self._pace, self._published, self._observer.judgements, self._changed)
        self._contact = asyncio.Event()
        self._shared: Shared | None = None
        self._cluster: Cluster | None = None
        if node.cluster is not None:
            from gtm.store.shared import Shared  # it takes the extra `http`, which a node alone need not have

            self._shared = Shared(node.cluster, node, folder=folder, cache=shared_file(state), on_change=self._heard)
            self._cluster = Cluster(self._shared, self._observer, node.name)

    async def settle(self) -> None:
        """Probe every target once, then decide and publish: nothing is served on no evidence. Raises StoreError."""
        self._apart.append(asyncio.create_task(self._observer.run(), name="prober"))
        if self._shared is not None:
            self._apart.append(asyncio.create_task(self._shared.run(), name="shared store"))
        await self._observer.first_round()
        if self._shared is not None:
            await within(self._contact, CONTACT_S)
        self._changed.clear()
        self.bundle = await asyncio.to_thread(self._located, self.bundle)
        base = self._publication.lay(self.bundle)
        self._publication.adopt(self.bundle, base)
        self._publish()
        self._introduce(base)
        self._write_down()
        gc.collect()
        gc.freeze()  # the deployment lives until the next one: no collection needs to walk it

    async def run(self) -> None:
        """Follow the world until cancelled. Raises an ExceptionGroup if a part of it fails."""
        async with asyncio.TaskGroup() as tasks:
            for task in self._apart:
                tasks.create_task(self._follow(task), name=f"{task.get_name()}'s end")
            tasks.create_task(self._follow_changes(), name="changes")
            tasks.create_task(self._follow_store(), name="store")
            tasks.create_task(self._follow_files(), name="files")
            tasks.create_task(self._beat(), name="pulse")
            tasks.create_task(self._record(), name="record")
            tasks.create_task(self._pacer.run(), name="pacer")
            tasks.create_task(self._load.run(), name="load")
            tasks.create_task(self._rtt.run(), name="round-trip times")
            tasks.create_task(self._follow_preferences(), name="preferences")
            tasks.create_task(self._follow_askers(), name="askers")
            if self._cluster is not None:
                tasks.create_task(self._cluster.run(), name="cluster")

    async def close(self) -> None:
        """Stop probing, and write down what is known for the next run."""
        for task in self._apart:
            task.cancel()
        await asyncio.gather(*self._apart, return_exceptions=True)
        self._write_down(final=True)
        self._rtt.save()
        self._publication.leave()

    def reload(self) -> None:
        """Look at the deployment folder again now (SIGHUP)."""
        self._told_to_reload.set()

    # Observing.

    def _moved(self, changes: Sequence[Change]) -> None:
        """Verdicts have changed: those that hold are published, those of this node alone told to the others."""
        if any(not change.vantage for change in changes):
            self._changed.set()
        if self._cluster is not None and any(change.vantage for change in changes):
            self._cluster.moved()

    def _heard(self) -> None:
        """Something has changed in the shared store."""
        if self._shared is None or self._cluster is None:
            return
        self._cluster.heard()
        self._rtt.hear(self._cluster.told(POSTING))
        view = self._shared.seen()
        if view.connected:
            self._contact.set()
        if self._orders.hear(view.overrides, self._clock()):
            self._changed.set()

    def _introduce(self, base: Base) -> None:
        if self._cluster is not None:
            digest = deployment_digest(self.bundle.deployment, base.authority)
            self._cluster.introduce(digest, self._publication.revision)

    def _pace(self) -> Pace:
        return self.bundle.dependents.pace

    def _published(self) -> Mapping[Target, Judgement]:
        decision = self._publication.decision
        return {} if decision is None else decision.snapshot.judgements

    async def _follow(self, task: asyncio.Task[None]) -> None:
        """Fail with a task, should it end by itself: a controller that sees nothing must not go on deciding."""
        await asyncio.shield(task)

    async def _follow_store(self) -> None:
        """Notice what people order and what is pushed, from any process, and what expires."""
        for look in itertools.count():
            try:
                if self._orders.look(self._clock()):
                    self._changed.set()
                self._intake.look(now_s=time.monotonic(), wall_s=self._clock())
                if look % EXPIRE_LOOKS == 0:
                    self._observer.expire(self._intake.expired(time.monotonic()))
            except StoreError as error:
                log.error("store", reason=str(error))
            await asyncio.sleep(STORE_POLL_S)

    async def _follow_askers(self) -> None:
        """Let targets rest that no client asks about."""
        while True:
            await asyncio.sleep(IDLE_LOOK_S)
            if (laid := self._publication.laid) is not None:
                bundle, base = laid
                args = (self.state, base, bundle.layout, bundle.deployment)
                self._observer.rest(await asyncio.to_thread(asked.idle, *args))

    # Deciding and publishing.

    async def _follow_changes(self) -> None:
        """Publish as soon as something changed; what changes in the same turn is published together."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            self._publish()

    def _publish(self) -> None:
        if self._publication.publish(self._observer.judgements(), self._orders.standing):
            self._news.set()
        elif self._publication.behind:
            asyncio.get_running_loop().call_later(RETRY_S, self._changed.set)

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
        async with self._building:
            await self._take_up()

    async def _take_up(self) -> None:
        preferences = self._rtt.preferences
        try:
            cache = self.state / "cache"
            bundle = await asyncio.to_thread(build, self.folder, cache, self.bundle, preferences=preferences)
            self._admit(self.bundle.deployment.node, bundle.deployment.node)
            base = self._publication.lay(bundle)
        except GtmError as error:
            self._problem = str(error)
            self._news.set()
            log.error("reload_refused", reason=str(error))
            return
        checks = bundle.deployment.targets()
        self._observer.configure({**self.bundle.deployment.targets(), **checks})  # both: the old ones still decide
        await self._observer.first_round()
        self._observer.configure(checks)
        self._intake.configure(checks)
        # From here to the publishing there is no turn for others: what is decided fits what is laid out.
        self.bundle, self._problem = bundle, None
        self._load.configure(bundle.deployment)
        self._rtt.configure(bundle)
        self._publication.adopt(bundle, base)
        self._publish()
        self._introduce(base)
        gc.collect()  # what is frozen is never looked at again: nothing that is garbage may be among it
        gc.freeze()
        log.info("reloaded", warnings=len(bundle.warnings))

    def _prefer(self, _preferences: Preferences) -> None:
        """Measured round-trip times make some clients prefer other regions."""
        self._preferring.set()

    async def _follow_preferences(self) -> None:
        """Compile geography anew when clients prefer otherwise; what is decided stays as it is."""
        while True:
            await self._preferring.wait()
            self._preferring.clear()
            async with self._building:
                await self._relocate()

    async def _relocate(self) -> None:
        bundle = await asyncio.to_thread(self._located, self.bundle)
        try:
            base = self._publication.lay(bundle)
        except StoreError as error:
            log.error("not_relocated", reason=str(error))
            return
        self.bundle = bundle
        self._publication.adopt(bundle, base)
        self._publish()
        log.info("relocated", classes=len(bundle.classes.loci))
        for note in bundle.notes:
            log.warning("preferences_left_out", note=note)

    def _located(self, bundle: Bundle) -> Bundle:
        """The bundle with what clients prefer now; as it is where that cannot be worked out. Call it from a thread."""
        try:
            return relocate(bundle, self._rtt.preferences, self.state / "cache")
        except GtmError as error:
            log.error("not_relocated", reason=str(error))
            return bundle

    def _post(self, kind: str, payload: bytes) -> None:
        if self._shared is not None:
            try:
                self._shared.post(kind, payload)
            except StoreError as error:
                log.error("not_posted", kind=kind, reason=str(error))

    # Being seen.

    async def _beat(self) -> None:
        while True:
            self._publication.pulse()
            await asyncio.sleep(PULSE_S)

    async def _record(self) -> None:
        """Write down news at once, and what probes find every now and then: the less often the longer that takes."""
        took_s = 0.0
        while True:
            await within(self._news, max(RECORD_S, took_s / RECORD_SHARE))
            began_s = time.monotonic()
            if (news := self._latest()) is not None:
                await asyncio.to_thread(self._recorder.write, news)
            took_s = time.monotonic() - began_s

    def _write_down(self, *, final: bool = False) -> None:
        if (news := self._latest(final=final)) is not None:
            self._recorder.write(news)

    def _latest(self, *, final: bool = False) -> News | None:
        decision = self._publication.decision
        return (
            None
            if decision is None
            else News(
                decision=decision,
                entries=self._chronicle.take(final=final),
                judgements=self._observer.judgements(),
                own=dict(self._observer.own),
                overrides=self._orders.standing,
                problem=self._problem,
                probes=self._observer.counters,
                faults=dict(self._observer.faults),
                cluster=None if self._cluster is None else self._cluster.state(),
                rtt=self._rtt.state(),
                load=None if self.bundle.deployment.load is None else self._load.summary(),
            )
        )


def remembered(store: Store, targets: Mapping[Target, Check], now_s: float) -> dict[Target, Judgement]:
    """The verdicts of an earlier run that are fresh enough to go on from, so that a restart does not flap."""
    return {target: judged for target, judged in store.load_judgements(now_s=now_s).items() if target in targets}
