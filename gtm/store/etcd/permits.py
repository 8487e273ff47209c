"""Permits to leave a service: one region at a time has it, made by a transaction that requires that nobody has."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from gtm.model.errors import StoreError
from gtm.store.announcing_view import Picture
from gtm.store.etcd.client import Client
from gtm.store.etcd.fault import LeaseLost
from gtm.store.etcd.layout import Layout
from gtm.store.etcd.pause import Pause
from gtm.wire import etcd, etcd_answer
from gtm.wire.announcing import Leaving, decode_leaving, encode_leaving

log = structlog.get_logger()

RENEWALS = 3  # in the time for which one that was renewed may be relied on
PAUSE_MAX_S = 1.0
REVOKE_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A permit that we have: its lease, the revision at which we got it, and when we gave it its whole window last."""

    lease: int
    revision: int
    renewed_at_s: float


class Permits:
    """The permits that this speaker wants and has. Those of one region share one: the region is what leaves."""

    def __init__(
        self,
        *,
        layout: Layout,
        node: str,
        region: str,
        window_s: float,
        confirm_s: float,
        picture: Picture,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        """None are wanted. `picture` is what others do, kept up elsewhere; `look` is to be called when it changes."""
        self._layout = layout
        self._node = node
        self._region = region
        self._window_s = window_s
        self._confirm_s = confirm_s
        self._picture = picture
        self._clock = clock
        self._wall = wall
        self._wanted: set[str] = set()
        self._held: dict[str, Held] = {}
        self._back: dict[str, Held] = {}  # to be given back
        self._last: dict[str, Held] = {}  # to be left for one whole window more
        self._wake = asyncio.Event()
        self.problem: str | None = None

    def want(self, service: str, *, wanted: bool, returns: bool) -> None:
        """Ask for a permit, or say that it is wanted no more: it `returns`, or is left for a window more."""
        if wanted:
            if service not in self._wanted:
                self._wanted.add(service)
                self._wake.set()
            return
        self._wanted.discard(service)
        held = self._held.pop(service, None)
        if held is not None:
            (self._back if returns else self._last)[service] = held
            self._wake.set()

    def held(self, now_s: float) -> frozenset[str]:
        """The services whose permit has almost its whole window left, and is in what we see of the others.

        So what we see of them is at least as new as the permit is.
        """
        return frozenset(
            service
            for service, held in self._held.items()
            if now_s - held.renewed_at_s <= self._confirm_s
            and self._picture.revision >= held.revision
            and self._stands(service)
        )

    def _stands(self, service: str) -> bool:
        permit = self._picture.permits.get(service)
        return permit is not None and permit.leaving.region == self._region and self._node in permit.leaving.speakers

    def look(self) -> None:
        """What others do has changed: a permit may be free."""
        self._wake.set()

    async def run(self, client: Client) -> None:
        """Ask, renew and give back until cancelled."""
        pause = Pause(max_s=PAUSE_MAX_S)
        while True:
            self._wake.clear()
            try:
                for service in sorted({*self._wanted, *self._held, *self._back, *self._last}):
                    await self._one(client, service)
                self.problem = None
                pause.reset()
            except StoreError as error:
                self.problem = str(error)
                await pause.wait()
                continue
            try:
                async with asyncio.timeout(self._confirm_s / RENEWALS):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _one(self, client: Client, service: str) -> None:
        """Do what is due for one service. Raises StoreError."""
        if (last := self._last.pop(service, None)) is not None:
            await self._renew(client, last)
        if (back := self._back.get(service)) is not None:
            await self._give_back(client, service, back)
            self._back.pop(service, None)
        if service not in self._wanted:
            return
        held = self._held.get(service)
        if held is None:
            await self._ask(client, service)
        elif not self._stands(service) and self._picture.revision >= held.revision:
            self._held.pop(service, None)
            await self._ask(client, service)
        elif self._clock() - held.renewed_at_s >= self._confirm_s / RENEWALS / 2:
            renewed = await self._renew(client, held)
            if self._held.get(service) is held:
                if renewed is None:
                    self._held.pop(service)
                else:
                    self._held[service] = renewed

    async def _renew(self, client: Client, held: Held) -> Held | None:
        """The permit with its whole window again; None if it is over."""
        sent_at_s = self._clock()
        try:
            await client.keep_alive(held.lease)
        except LeaseLost:
            return None
        return replace(held, renewed_at_s=sent_at_s)

    async def _ask(self, client: Client, service: str) -> None:
        """Take the permit if nobody has it, or join others of our region in it."""
        permit = self._picture.permits.get(service)
        if permit is not None and permit.leaving.region != self._region:
            return  # the store would say no; that it is free is seen at once
        key = self._layout.leave(service)
        sent_at_s = self._clock()
        leased = await client.grant(math.ceil(self._window_s))
        mine = Leaving(region=self._region, speakers=(self._node,), until_s=self._wall() + leased.ttl_s)
        request = etcd.Txn(
            compares=(etcd.Compare(key=key, target=etcd.Target.CREATE, number=0),),
            success=(etcd.Put(key=key, value=encode_leaving(mine), lease=leased.lease),),
            failure=(etcd.Range(key=key),),
        )
        decided = await client.txn(request)
        if decided.succeeded:
            await self._got(client, service, leased.lease, decided.revision, sent_at_s)
            return
        pair = decided.pair
        if pair is not None and pair.lease == leased.lease:  # a try whose answer was lost
            await self._got(client, service, leased.lease, pair.mod_revision, sent_at_s)
            return
        await _revoke(client, leased.lease)
        if pair is not None and decode_leaving(pair.value).region == self._region:
            await self._join(client, service, pair)

    async def _join(self, client: Client, service: str, pair: etcd_answer.KeyValue) -> None:
        """Rely on a permit of our region too; it then stays until nobody does."""
        sent_at_s = self._clock()
        try:
            ttl_s = await client.keep_alive(pair.lease)
        except LeaseLost:
            return
        there = decode_leaving(pair.value)
        both = replace(there, speakers=tuple(sorted({*there.speakers, self._node})), until_s=self._wall() + ttl_s)
        revision = await self._swap(client, pair, etcd.Put(key=pair.key, value=encode_leaving(both), lease=pair.lease))
        if revision:
            await self._got(client, service, pair.lease, revision, sent_at_s)
        else:
            self._wake.set()

    async def _got(self, client: Client, service: str, lease: int, revision: int, at_s: float) -> None:
        held = Held(lease=lease, revision=revision, renewed_at_s=at_s)
        if service in self._wanted:
            self._held[service] = held
            log.info("announcing_permit", service=service, held=True)
        else:  # wanted no more, before it was there to be relied on
            await self._give_back(client, service, held)

    async def _give_back(self, client: Client, service: str, held: Held) -> None:
        """Rely on a permit no more; it is free when nobody of our region does."""
        key = self._layout.leave(service)
        while True:
            found = await client.range(etcd.Range(key=key))
            if not found.pairs or found.pairs[0].lease != held.lease:
                return
            pair = found.pairs[0]
            there = decode_leaving(pair.value)
            rest = replace(there, speakers=tuple(one for one in there.speakers if one != self._node))
            if rest.speakers == there.speakers:
                return
            if rest.speakers:
                if await self._swap(client, pair, etcd.Put(key=key, value=encode_leaving(rest), lease=pair.lease)):
                    return
            elif await self._swap(client, pair, etcd.Delete(key=key)):
                await _revoke(client, held.lease)
                log.info("announcing_permit", service=service, held=False)
                return

    async def _swap(self, client: Client, pair: etcd_answer.KeyValue, change: etcd.Put | etcd.Delete) -> int:
        """Change a key if it is still as it was; the revision of the change, 0 if it was not made."""
        compare = etcd.Compare(key=pair.key, target=etcd.Target.MOD, number=pair.mod_revision)
        decided = await client.txn(etcd.Txn(compares=(compare,), success=(change,)))
        return decided.revision if decided.succeeded else 0


async def _revoke(client: Client, lease: int) -> None:
    try:
        await client.revoke(lease, total_s=REVOKE_S)
    except StoreError as error:
        log.info("announcing_permit_lease", reason=str(error))
