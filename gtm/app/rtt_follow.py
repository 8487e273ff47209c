"""Round-trip times while a node runs: from their sources and from other nodes to what they make clients prefer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path

import structlog

from gtm.app.bundle import Bundle
from gtm.app.rtt import FILE, RttKeeper
from gtm.app.rtt_places import place_finder
from gtm.app.rtt_sources import RttSources
from gtm.decide.prefer import Preferences
from gtm.model.address import IPNetwork
from gtm.model.errors import GtmError, PeerError, StoreError
from gtm.model.place import NOWHERE, Place
from gtm.model.rtt import RttSample, RttSettings, RttState

log = structlog.get_logger()

POSTING = "rtt"
LOOK_S = 1.0
SAVE_S = 60.0
OFF = RttSettings(passive=False)


class RttFollow:
    """Runs the sources, keeps the estimates, and says when preferences have changed. All in one event loop."""

    def __init__(
        self,
        bundle: Bundle,
        folder: Path,
        state: Path,
        *,
        on_preferences: Callable[[Preferences], None],
        post: Callable[[str, bytes], None] | None = None,
    ) -> None:
        """Go on from what an earlier run saved. `post` tells other nodes."""
        node, settings = bundle.deployment.node, bundle.deployment.rtt or OFF
        self._state = state
        self._on_preferences = on_preferences
        self._post = post
        self._keeper = RttKeeper(settings, node.region, self._finder(bundle), time.time)
        self._sources = RttSources(
            settings, node, folder, state, self.add, regions=frozenset(bundle.deployment.regions)
        )
        self._wanted = bundle.deployment.rtt is not None
        self._saved_s = time.monotonic()
        try:
            self._keeper.load(state / FILE)
        except StoreError as error:
            log.error("rtt_forgotten", reason=str(error))

    @property
    def preferences(self) -> Preferences:
        """What clients prefer by what is known now."""
        return self._keeper.preferences

    def configure(self, bundle: Bundle) -> None:
        """Go on with another deployment."""
        deployment = bundle.deployment
        settings = deployment.rtt or OFF
        self._wanted = deployment.rtt is not None
        self._keeper.configure(settings, deployment.node.region)
        self._keeper.relocated(self._finder(bundle))
        self._sources.configure(settings, deployment.node, regions=frozenset(deployment.regions))

    def add(self, samples: Iterable[RttSample]) -> None:
        """Take measurements in."""
        self._keeper.add(samples)

    def report(self, samples: Iterable[RttSample]) -> None:
        """Take in what was pushed, if the deployment wants that."""
        if self._keeper.settings.reports:
            self._keeper.add(samples)

    def hear(self, told: Mapping[str, bytes]) -> None:
        """Take in what all other nodes tell now, by their names."""
        for name in self._keeper.summary().nodes:
            if name not in told:
                self._keeper.heard(name, b"")
        for name, payload in told.items():
            try:
                self._keeper.heard(name, payload)
            except PeerError as error:
                log.error("peer_unreadable", peer=name, reason=str(error))

    def state(self) -> RttState | None:
        """What there is to show; None where nothing is wanted of round-trip times."""
        if not self._wanted:
            return None
        counters = self._sources.counters
        summary = self._keeper.summary()
        return RttState(
            **{each.name: getattr(summary, each.name) for each in fields(summary)},
            samples=dict(counters.samples),
            lost=counters.active.lost,
            ignored=counters.ignored,
            problems=dict(self._sources.problems),
        )

    async def run(self) -> None:
        """Measure, and look now and then what follows from it, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sources.run(), name="rtt sources")
            tasks.create_task(self._follow(), name="rtt preferences")

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            if not self._wanted:
                continue
            found = await asyncio.to_thread(self._keeper.tick, time.time())
            if self._post is not None and (payload := await asyncio.to_thread(self._keeper.own)) is not None:
                self._post(POSTING, payload)
            if found is not None:
                log.info("rtt_preferences", keys=len(found.by_key))
                self._on_preferences(found)
            if found is not None or time.monotonic() > self._saved_s + SAVE_S:
                await asyncio.to_thread(self.save)

    def _finder(self, bundle: Bundle) -> Callable[[IPNetwork], Place]:
        """What tells the place of a network; the databases are opened at the first question, which `tick` asks."""

        @cache
        def finder() -> Callable[[IPNetwork], Place]:
            try:
                return place_finder(bundle.geography, self._state / "cache")
            except GtmError as error:
                log.error("rtt_not_placed", reason=str(error))
                return lambda _network: NOWHERE

        def place(network: IPNetwork) -> Place:
            return finder()(network)

        return place

    def save(self) -> None:
        """Keep everything for the next run."""
        self._saved_s = time.monotonic()
        if self._wanted:
            try:
                self._keeper.save(self._state / FILE)
            except StoreError as error:
                log.error("rtt_not_saved", reason=str(error))
