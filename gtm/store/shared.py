"""A node's part in the store that nodes share: it posts what it sees, and follows what others post and people order."""

from __future__ import annotations

import asyncio
import json
import math
import random
import secrets
import time
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import structlog

from gtm.model.cluster import Cluster
from gtm.model.errors import StoreError
from gtm.model.node import Node
from gtm.store import shared_cache
from gtm.store.etcd.client import Client
from gtm.store.etcd.fault import Compacted, LeaseLost
from gtm.store.etcd.layout import KIND, Layout
from gtm.store.etcd.orders import Orders
from gtm.store.etcd.pause import Pause
from gtm.store.shared_view import ALIVE, DEPLOYMENT, Deployed, Picture, SharedView, encode_deployed
from gtm.wire import etcd

log = structlog.get_logger()

PAYLOAD_MAX_BYTES = 1_000_000  # etcd refuses requests above 1.5 MiB
PACE_S = 0.2  # between two puts of one kind
BEATS = 3  # in a lease
TICK_S = 0.25
CACHE_S = 15.0
EXPIRE_PAUSE_S = 5.0
LEAVE_S = 0.5

Clock = Callable[[], float]


class Shared:
    """A node in a cluster. Only `run` talks to etcd; `post` and `seen` never wait and never fail for its sake.

    `on_change` is called in the loop whenever `seen` has something new but ages. `folder` is the deployment folder, for
    the cluster's files; `cache` a file in the state folder.
    """

    def __init__(
        self,
        cluster: Cluster,
        node: Node,
        *,
        folder: Path,
        cache: Path,
        on_change: Callable[[], None],
        clock: Clock = time.monotonic,
        wall: Clock = time.time,
    ) -> None:
        """Remember what the cache says; nothing is posted before `run`."""
        self._cluster = cluster
        self._node = node
        self._folder = folder
        self._cache = cache
        self._on_change = on_change
        self._clock = clock
        self._wall = wall
        self._layout = Layout(prefix=cluster.prefix)
        self._picture = Picture(self._layout, cluster.lease_s)
        self._posts: dict[str, bytes] = {}
        self._dirty: set[str] = set()
        self._sent_at_s: dict[str, float] = {}
        self._wake = asyncio.Event()
        self._cache_due = asyncio.Event()
        self._run = secrets.token_hex(8)  # tells this process from another one that has the same name
        self._beat = 0
        self._first_revision = 0
        self._twin_at_s: float | None = None
        self._heard_at_s: float | None = None  # of etcd
        self._connected = False
        self._reading: str | None = None  # what is wrong with either half
        self._posting: str | None = None
        cached = shared_cache.load(cache, cluster.prefix)
        if cached is not None:
            now_s, wall_s = clock(), wall()
            self._picture.recall(cached.overrides, cached.revision, now_s=now_s, wall_s=wall_s)
            self._heard_at_s = now_s - max(0.0, wall_s - cached.at_s)

    def post(self, kind: str, payload: bytes) -> None:
        """Let others know; of one kind only the newest matters. Raises StoreError for a payload that is too large."""
        if not KIND.fullmatch(kind) or kind == ALIVE:
            raise ValueError(f"{kind!r} is not a kind of posting")
        if len(payload) > PAYLOAD_MAX_BYTES:
            raise StoreError(f"etcd: a posting of {len(payload)} octets is too large (at most {PAYLOAD_MAX_BYTES})")
        if self._posts.get(kind) != payload:
            self._posts[kind] = payload
            self._dirty.add(kind)
            self._wake.set()

    def post_deployment(self, *, digest: str, revision: int) -> None:
        """Let others know which deployment and revision we serve."""
        self.post(DEPLOYMENT, encode_deployed(Deployed(digest=digest, revision=revision, region=self._node.region)))

    def seen(self) -> SharedView:
        """What is known now."""
        now_s = self._clock()
        return SharedView(
            nodes={peer.name: peer for peer in self._picture.peers(now_s)},
            overrides=self._picture.orders(now_s),
            connected=self._connected,
            age_s=None if self._heard_at_s is None else max(0.0, now_s - self._heard_at_s),
            revision=self._picture.revision,
            problem=self._problem(now_s),
        )

    def _problem(self, now_s: float) -> str | None:
        problems = (self._reading, self._posting, self._twin(now_s), *self._picture.faults.values())
        return "; ".join(dict.fromkeys(filter(None, problems))) or None

    async def run(self) -> None:
        """Take part until cancelled; then leave, so that others need not wait for the lease to end."""
        client = await self._client()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow(client), name="shared: follow")
                tasks.create_task(self._hold(client), name="shared: post")
                tasks.create_task(self._tick(client), name="shared: time")
                tasks.create_task(self._keep(), name="shared: cache")
        finally:
            await client.close()

    async def _client(self) -> Client:
        pause = Pause()
        while True:
            try:
                return Client(self._cluster, self._folder)
            except StoreError as error:
                self._reading = str(error)
                await pause.wait()

    # Reading.

    async def _follow(self, client: Client) -> None:
        """Read everything once, then follow the changes from endpoint to endpoint."""
        pause = Pause()
        whole = False
        while True:
            try:
                if not whole:
                    await self._read(client)
                    whole = True
                await self._watch(client, pause)
            except Compacted:
                whole = False
                log.info("shared_store_reread", revision=self._picture.revision)
            except StoreError as error:
                self._lost(str(error))
                await pause.wait()

    async def _read(self, client: Client) -> None:
        key, end = self._layout.shared
        found = await client.range(etcd.Range(key=key, range_end=end))
        self._picture.replace(found, now_s=self._clock(), wall_s=self._wall())
        self._heard()
        self._changed()

    async def _watch(self, client: Client, pause: Pause) -> None:
        key, end = self._layout.shared
        request = etcd.Watch(key=key, range_end=end, start_revision=self._picture.revision + 1)
        # Our own beats come back to us: a watch that is silent for a whole lease does not work.
        async with aclosing(client.watch(request, idle_s=self._cluster.lease_s)) as batches:
            async for batch in batches:
                pause.reset()
                self._heard()
                if self._picture.apply(batch, now_s=self._clock(), wall_s=self._wall()):
                    self._changed()

    def _heard(self) -> None:
        self._heard_at_s = self._clock()
        if not self._connected:
            self._connected, self._reading = True, None
            log.info("shared_store", connected=True, revision=self._picture.revision)
            self._changed()

    def _lost(self, reason: str) -> None:
        if self._connected or self._reading is None:
            log.warning("shared_store", connected=False, reason=reason)
        self._reading = reason
        if self._connected:
            self._connected = False
            self._on_change()

    def _changed(self) -> None:
        self._cache_due.set()
        self._on_change()

    # Posting.

    async def _hold(self, client: Client) -> None:
        """Keep a lease, and all postings under it; those of an ended lease are made again under a new one."""
        pause = Pause()
        loop = asyncio.get_running_loop()
        lease, beat_at_s = 0, 0.0
        try:
            while True:
                try:
                    if not lease:
                        lease = (await client.grant(math.ceil(self._cluster.lease_s))).lease
                        self._dirty.update(self._posts)
                        beat_at_s = loop.time()
                    elif loop.time() >= beat_at_s:
                        await client.keep_alive(lease)
                    if loop.time() >= beat_at_s:
                        beat_at_s = loop.time() + self._cluster.lease_s / BEATS
                        await self._alive(client, lease)
                    await self._send(client, lease)
                    self._posting = None
                    pause.reset()
                except LeaseLost:
                    log.info("shared_store_lease", lost=True)
                    lease = 0
                    continue
                except StoreError as error:
                    self._posting = str(error)
                    beat_at_s = loop.time()
                    await pause.wait()
                    continue
                await self._until_due(beat_at_s)
        finally:
            await self._leave(client, lease)

    async def _alive(self, client: Client, lease: int) -> None:
        self._beat += 1
        said = json.dumps({"run": self._run, "beat": self._beat}).encode()
        revision = await client.put(etcd.Put(key=self._layout.posting(self._node.name, ALIVE), value=said, lease=lease))
        self._first_revision = self._first_revision or revision

    async def _send(self, client: Client, lease: int) -> None:
        """Put what is due."""
        loop = asyncio.get_running_loop()
        self._wake.clear()
        for kind in sorted(self._dirty):
            if loop.time() < self._sent_at_s.get(kind, -math.inf) + PACE_S:
                continue
            self._dirty.discard(kind)
            self._sent_at_s[kind] = loop.time()
            key = self._layout.posting(self._node.name, kind)
            try:
                await client.put(etcd.Put(key=key, value=self._posts[kind], lease=lease))
            except BaseException:
                self._dirty.add(kind)
                raise

    async def _until_due(self, beat_at_s: float) -> None:
        """Wait for the next beat, for something that may be sent again, or for something new to send."""
        due = min((self._sent_at_s.get(kind, 0.0) + PACE_S for kind in self._dirty), default=math.inf)
        try:
            async with asyncio.timeout_at(min(beat_at_s, due)):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _leave(self, client: Client, lease: int) -> None:
        if not lease:
            return
        try:
            await client.revoke(lease, total_s=LEAVE_S)
        except StoreError as error:
            log.info("shared_store_leave", reason=str(error))

    def _twin(self, now_s: float) -> str | None:
        """Whether another process posts under our name: two nodes would take turns at being heard."""
        said = self._picture.posting(self._node.name, ALIVE)
        if said is not None and said.mod_revision > self._first_revision > 0 and self._run.encode() not in said.value:
            self._twin_at_s = now_s
        if self._twin_at_s is None or now_s - self._twin_at_s > self._cluster.lease_s:
            return None
        return f"another node is called {self._node.name} too; each needs a name of its own"

    # Time.

    async def _tick(self, client: Client) -> None:
        """Notice nodes that are no longer heard of, and orders whose time is over."""
        orders = Orders(client)
        rest_until_s = -math.inf
        state = self._state()
        while True:
            await asyncio.sleep(TICK_S)
            now_s = self._clock()
            self._picture.forget(now_s)
            before, state = state, self._state()
            if state != before:
                self._changed()
            if self._connected and now_s >= rest_until_s and self._picture.over(now_s):
                try:
                    for one in self._picture.over(now_s):
                        await orders.expire(one.override, one.mod_revision, now_s=self._wall())
                    await orders.prune()
                except StoreError as error:
                    log.warning("shared_store_expire", reason=str(error))
                rest_until_s = self._clock() + EXPIRE_PAUSE_S * random.uniform(0.5, 1.0)

    def _state(self) -> tuple[frozenset[str], int, str | None]:
        """What time alone, or a failure, may have changed."""
        now_s = self._clock()
        return self._picture.fresh(now_s), len(self._picture.orders(now_s)), self._problem(now_s)

    # What outlives us.

    async def _keep(self) -> None:
        """Write the cache when something changed, and every now and then for its age."""
        while True:
            try:
                async with asyncio.timeout(CACHE_S):
                    await self._cache_due.wait()
            except TimeoutError:
                if not self._connected:
                    continue
            self._cache_due.clear()
            now_s, wall_s = self._clock(), self._wall()
            if self._heard_at_s is None:
                continue
            cached = shared_cache.Cached(
                prefix=self._cluster.prefix,
                revision=self._picture.revision,
                at_s=wall_s - (now_s - self._heard_at_s),
                overrides=self._picture.orders(now_s),
            )
            try:
                await asyncio.to_thread(shared_cache.save, self._cache, cached)
            except StoreError as error:
                log.error("shared_store_cache", reason=str(error))
            await asyncio.sleep(PACE_S)
