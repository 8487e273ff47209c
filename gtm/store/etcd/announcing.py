"""A BGP speaker's part in the store that speakers share: what it tells of its services, and permits to leave them.

Every change is compared with what was there, so that one that was given up and arrives late changes nothing.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import structlog

from gtm.model.anycast import Phase
from gtm.model.cluster import Cluster
from gtm.model.errors import StoreError
from gtm.store.announcing_view import AnnouncingView, OtherTelling, Picture
from gtm.store.etcd.client import Client
from gtm.store.etcd.fault import Compacted, LeaseLost
from gtm.store.etcd.layout import Layout
from gtm.store.etcd.pause import Pause
from gtm.store.etcd.permits import Permits
from gtm.wire import etcd
from gtm.wire.announcing import Telling, Told, encode_telling

log = structlog.get_logger()

BEATS = 3  # in the shortest time after which what is known is no longer believed
TICK_S = 0.1
PAUSE_MAX_S = 1.0  # less than elsewhere: while the store is away nobody may leave
LEAVE_S = 0.5
SERVICE_NAME_MAX = 200

Clock = Callable[[], float]


class Announcing:
    """A speaker among others. Only `run` talks to etcd; `tell`, `want` and `seen` never wait and never fail.

    `confirm_s` is how old what is known may be to be relied on, `window_s` how long a permit to leave stands. In the
    loop `on_change` is called whenever `seen` has something new but ages. `folder` is the deployment folder, for the
    cluster's files.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        node: str,
        region: str,
        folder: Path,
        confirm_s: float,
        window_s: float,
        on_change: Callable[[], None],
        clock: Clock = time.monotonic,
        wall: Clock = time.time,
    ) -> None:
        """Nothing is told before `run`."""
        self._cluster = cluster
        self._node = node
        self._region = region
        self._folder = folder
        self._confirm_s = confirm_s
        self._on_change = on_change
        self._clock = clock
        self._wall = wall
        self._layout = Layout(prefix=cluster.prefix)
        self._picture = Picture(self._layout)
        self._services: dict[str, Told] = {}
        self._leaving_beat: dict[str, int] = {}  # the first beat that has what a service's `leaving` is now
        self._run = secrets.token_hex(8)
        self._beat = 0
        self._sent_at_s: dict[int, float] = {}  # of beats that have not come back to us yet
        self._confirmed_at_s: float | None = None
        self._mod_revision = 0  # of our own key, as far as we know; 0: it is not there
        self._wake = asyncio.Event()
        self._whole = False
        self._reading: str | None = None  # what is wrong with either half
        self._telling: str | None = None
        self._state: object = None
        # A PoP that dies without a word is believed to announce until its lease is over: no other may leave meanwhile.
        self._permits = Permits(
            layout=self._layout,
            node=node,
            region=region,
            window_s=max(window_s, 2 * cluster.lease_s),
            confirm_s=confirm_s,
            picture=self._picture,
            clock=clock,
            wall=wall,
        )

    def tell(self, service: str, *, phase: Phase, announcing: bool, leaving: bool) -> None:
        """Let the other speakers know how a service stands here. Raises ValueError for a name that is no service's."""
        if not service or "/" in service or len(service) > SERVICE_NAME_MAX:
            raise ValueError(f"{service!r:.80} is no name of a service")
        before = self._services.get(service)
        since_s = before.since_s if before is not None and before.phase is phase else self._wall()
        now = Told(phase=phase, announcing=announcing, leaving=leaving, since_s=since_s)
        if now == before:
            return
        if before is None or before.leaving != leaving:
            self._leaving_beat[service] = self._beat + 1
        self._services[service] = now
        self._wake.set()

    def want(self, service: str, *, wanted: bool, returns: bool) -> None:
        """Ask for the permit to leave a service, or say that it is wanted no more.

        One that is wanted no more `returns` if nobody has left with it; else it stands for its window.
        """
        self._permits.want(service, wanted=wanted, returns=returns)

    def seen(self) -> AnnouncingView:
        """What is known now."""
        now_s = self._clock()
        connected = self._connected(now_s)
        return AnnouncingView(
            connected=connected,
            age_s=None if self._confirmed_at_s is None else max(0.0, now_s - self._confirmed_at_s),
            speakers={
                node: OtherTelling(telling=heard.telling, fresh=now_s - heard.at_s < self._cluster.lease_s)
                for node, heard in sorted(self._picture.speakers.items())
            },
            permits={service: one.leaving for service, one in sorted(self._picture.permits.items())},
            held=self._permits.held(now_s) if connected else frozenset(),
            told=self._told() if connected else frozenset(),
            problem=self._problem(),
        )

    def _connected(self, now_s: float) -> bool:
        return self._whole and self._confirmed_at_s is not None and now_s - self._confirmed_at_s <= self._confirm_s

    def _told(self) -> frozenset[str]:
        """The services whose present `leaving` is in the store, and of which what we see is not older."""
        heard = self._picture.speakers.get(self._node)
        if heard is None or heard.telling.run != self._run:
            return frozenset()
        return frozenset(service for service, beat in self._leaving_beat.items() if heard.telling.beat >= beat)

    def _problem(self) -> str | None:
        heard = self._picture.speakers.get(self._node)
        twin = None
        if heard is not None and heard.telling.run != self._run and self._beat and self._whole:
            twin = f"another speaker is called {self._node} too"
        problems = (self._reading, self._telling, self._permits.problem, twin, *self._picture.faults.values())
        return "; ".join(dict.fromkeys(filter(None, problems))) or None

    async def run(self) -> None:
        """Take part until cancelled; then leave, so that others need not wait for the lease to end.

        Permits are left to run out: whoever ends may have withdrawn just before.
        """
        client = await self._client()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow(client), name="announcing: follow")
                tasks.create_task(self._hold(client), name="announcing: tell")
                tasks.create_task(self._permits.run(client), name="announcing: permits")
                tasks.create_task(self._tick(), name="announcing: time")
        finally:
            await client.close()

    async def _client(self) -> Client:
        pause = Pause(max_s=PAUSE_MAX_S)
        while True:
            try:
                return Client(self._cluster, self._folder)
            except StoreError as error:
                self._reading = str(error)
                await pause.wait()

    # Reading.

    async def _follow(self, client: Client) -> None:
        """Read everything once, then follow the changes from endpoint to endpoint."""
        pause = Pause(max_s=PAUSE_MAX_S)
        while True:
            try:
                if not self._whole:
                    await self._read(client)
                await self._watch(client, pause)
            except Compacted:
                self._whole = False
                log.info("announcing_store_reread", revision=self._picture.revision)
            except StoreError as error:
                if self._reading is None:
                    log.warning("announcing_store", connected=False, reason=str(error))
                self._reading = str(error)
                await pause.wait()

    async def _read(self, client: Client) -> None:
        key, end = self._layout.announcing
        found = await client.range(etcd.Range(key=key, range_end=end))
        self._picture.replace(found, now_s=self._clock())
        self._whole = True
        self._looked(news=True)

    async def _watch(self, client: Client, pause: Pause) -> None:
        key, end = self._layout.announcing
        request = etcd.Watch(key=key, range_end=end, start_revision=self._picture.revision + 1)
        # Our own beats come back to us: a watch that is silent for that long does not work.
        async with aclosing(client.watch(request, idle_s=self._confirm_s)) as batches:
            async for batch in batches:
                pause.reset()
                if self._reading is not None:
                    self._reading = None
                    log.info("announcing_store", connected=True, revision=self._picture.revision)
                self._looked(news=self._picture.apply(batch, now_s=self._clock()))

    def _looked(self, *, news: bool) -> None:
        """Our own newest beat that came back says as of when the picture is whole: when that beat was sent."""
        heard = self._picture.speakers.get(self._node)
        if heard is not None and heard.telling.run == self._run:
            sent_at_s = self._sent_at_s.get(heard.telling.beat)
            if sent_at_s is not None:
                self._confirmed_at_s = sent_at_s
            for beat in [beat for beat in self._sent_at_s if beat < heard.telling.beat]:
                del self._sent_at_s[beat]
        if news:
            self._permits.look()
        self._changed()

    # Telling.

    async def _hold(self, client: Client) -> None:
        """Keep a lease, and under it our own key, put anew with each change and each beat."""
        pause = Pause(max_s=PAUSE_MAX_S)
        loop = asyncio.get_running_loop()
        lease, beat_s = 0, min(self._confirm_s, self._cluster.lease_s) / BEATS
        try:
            while True:
                try:
                    if not lease:
                        lease = (await client.grant(math.ceil(self._cluster.lease_s))).lease
                    else:
                        await client.keep_alive(lease)
                    due_s = loop.time() + beat_s
                    await self._put(client, lease)
                    self._telling = None
                    pause.reset()
                    while await self._woken(due_s):
                        await self._put(client, lease)
                except LeaseLost:
                    log.info("announcing_store_lease", lost=True)
                    lease = 0
                except StoreError as error:
                    self._telling = str(error)
                    await pause.wait()
        finally:
            await self._leave(client, lease)

    async def _woken(self, due_s: float) -> bool:
        """Wait for something new to tell, until the next beat is due; whether there is."""
        try:
            async with asyncio.timeout_at(due_s):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True

    async def _put(self, client: Client, lease: int) -> None:
        """Put our key as it is to be now, on top of what is there."""
        self._wake.clear()
        self._beat += 1
        telling = Telling(region=self._region, services=dict(self._services), run=self._run, beat=self._beat)
        value = encode_telling(telling)
        key = self._layout.speaker(self._node)
        self._sent_at_s[self._beat] = self._clock()
        for oldest in sorted(self._sent_at_s)[: -16 * BEATS]:
            del self._sent_at_s[oldest]
        while True:
            known = self._mod_revision
            request = etcd.Txn(
                compares=(etcd.Compare(key=key, target=etcd.Target.MOD, number=known),),
                success=(etcd.Put(key=key, value=value, lease=lease),),
                failure=(etcd.Range(key=key),),
            )
            decided = await client.txn(request)
            if decided.succeeded:
                self._mod_revision = decided.revision
                return
            there = decided.pair
            self._mod_revision = 0 if there is None else there.mod_revision
            if there is not None and there.value == value:  # a try whose answer was lost
                return
            if self._mod_revision == known:
                raise StoreError("etcd: an answer to a transaction contradicts itself")

    async def _leave(self, client: Client, lease: int) -> None:
        if not lease:
            return
        try:
            await client.revoke(lease, total_s=LEAVE_S)
        except StoreError as error:
            log.info("announcing_store_leave", reason=str(error))

    # Time.

    async def _tick(self) -> None:
        """Notice what time alone changes: others that are no longer heard of, and that nothing is confirmed."""
        while True:
            await asyncio.sleep(TICK_S)
            self._changed()

    def _changed(self) -> None:
        """Tell of anything new but ages and beats."""
        view = self.seen()
        state = (
            view.connected,
            tuple((node, one.telling.region, one.telling.services, one.fresh) for node, one in view.speakers.items()),
            view.permits,
            view.held,
            view.told,
            view.problem,
        )
        if state != self._state:
            self._state = state
            self._on_change()
