"""The controller on this machine, as a decision sees it: its word on regions, orders of people, and how old that is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path

import structlog

from gtm.decide.plan import SERVING, decide
from gtm.model.anycast import Anycast, Service, Speaker
from gtm.model.deployment import Deployment
from gtm.model.errors import StoreError
from gtm.model.health import Health
from gtm.model.override import Action, Override
from gtm.model.plan import RegionPlan
from gtm.model.snapshot import Snapshot
from gtm.publish.dns.control import Control
from gtm.publish.dns.facts import FILE, Facts
from gtm.publish.dns.manifest import FOLDER as TABLES
from gtm.publish.dns.manifest import Manifest
from gtm.publish.dns.tables import load_deployment

log = structlog.get_logger()

POLL_S = 0.05  # two words of mapped memory are looked at; a plan reaches us some 30 ms after it is published
OPEN_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """What Sight has of the controller, under the same names."""

    region_up: bool | None = None
    drain: Override | None = None
    controller_age_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Word:
    """What a controller said: its word on this region by pool, and the orders that may concern this speaker."""

    revision: int
    regions_up: Mapping[str, bool | None]
    drains: tuple[Override, ...]


class Follow:
    """Follows the controller of a state folder. `seen` never waits; `run` reads in a thread.

    `on_change` is called in the loop whenever `seen` has something new but the age. Where no controller ever ran,
    there is none to follow.
    """

    def __init__(
        self,
        state: Path,
        anycast: Anycast,
        speaker: Speaker,
        *,
        on_change: Callable[[], None],
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Nothing is known before `run`, or `look`."""
        self._state = state
        self._anycast = anycast
        self._speaker = speaker
        self._on_change = on_change
        self._wall = wall
        self._control: Control | None = None
        self._word: _Word | None = None
        self._file: tuple[int, int] | None = None  # of the facts that were read last
        self._deployment: tuple[str, Deployment] | None = None  # by its file, whose name is its digest
        self._standing: object = None
        self.problem: str | None = None

    def seen(self, service: str) -> Followed:
        """What is known now of a service."""
        wanted = self._anycast.services[service]
        word = self._word
        return Followed(
            region_up=None if word is None or wanted.pool is None else word.regions_up.get(wanted.pool),
            drain=None if word is None else drain_of(word.drains, self._speaker, wanted, self._wall()),
            controller_age_s=None if self._control is None else self._control.age_s(),
        )

    async def look(self) -> None:
        """Read what there is, once."""
        if self._control is None:
            try:
                self._control = Control(self._state)
            except StoreError:
                return
        if self._word is not None and self._word.revision == self._control.revision:
            return
        file = _stamp(self._state / FILE)
        if file is None or file == self._file:  # the facts of a revision follow it by some milliseconds
            return
        self._file = file
        try:
            self._word = await asyncio.to_thread(self._read)
        except StoreError as error:
            if self.problem is None:
                log.warning("announce_follow", reason=str(error))
            self.problem = str(error)
        else:
            self.problem = None

    def _read(self) -> _Word:
        """The word of the controller that is in the state folder. Raises StoreError."""
        facts = Facts.load(self._state)
        manifest = Manifest.load(self._state / TABLES)
        if self._deployment is None or self._deployment[0] != manifest.deployment:
            self._deployment = manifest.deployment, load_deployment(self._state, manifest)
        wanted = {one.pool for one in self._anycast.services.values()}
        return _Word(
            revision=facts.revision,
            regions_up=regions_up(self._deployment[1], facts, self._speaker.region, wanted),
            drains=tuple(one for one in facts.overrides if one.action is Action.DRAIN),
        )

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            await self.look()
            standing = tuple(
                (found.region_up, found.drain) for found in (self.seen(name) for name in self._anycast.services)
            )
            if standing != self._standing:
                self._standing = standing
                self._on_change()
            await asyncio.sleep(OPEN_S if self._control is None else POLL_S)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def regions_up(deployment: Deployment, facts: Facts, region: str, pools: set[str | None]) -> dict[str, bool | None]:
    """By pool whether the controller's plan has a region up, were nothing drained; None: not known yet.

    A drain is an order of its own, which goes down the ladder: it is no fault of the region. Only what checks and
    forced states say makes one.
    """
    some = {name: pool for name, pool in deployment.pools.items() if name in pools}
    snapshot = Snapshot(
        revision=facts.revision,
        now_s=facts.now_s,
        deployment=replace(deployment, pools=some, names=()),
        judgements=facts.judgements,
        overrides=tuple(one for one in facts.overrides if one.action is not Action.DRAIN),
    )
    plan = decide(snapshot).plan
    return {
        name: None if region not in pool.regions else _up(pool.regions[region]) for name, pool in plan.pools.items()
    }


def _up(plan: RegionPlan) -> bool | None:
    weighted = [one.health for one in plan.instances if one.instance.weight > 0]
    if not any(health in SERVING for health in weighted) and Health.UNKNOWN in weighted:
        return None
    return plan.available


def drain_of(drains: Sequence[Override], speaker: Speaker, service: Service, now_s: float) -> Override | None:
    """The drain that stands on a service at a speaker: on the speaker itself, else its instance, else its region."""
    standing = [one for one in drains if one.action is Action.DRAIN and one.active(now_s)]
    for concerns in (_speaker, _instance, _region):
        for one in standing:
            if concerns(one.subject.kind, one.subject.name, speaker, service):
                return one
    return None


def _speaker(kind: str, name: str, speaker: Speaker, _: Service) -> bool:
    return kind == "speaker" and name == speaker.node


def _instance(kind: str, name: str, speaker: Speaker, service: Service) -> bool:
    """Whether an instance is this speaker, by one of its own addresses or its name, or the service in its region."""
    region, _, label = name.partition("/")
    if kind != "instance" or region != speaker.region:
        return False
    try:
        address = ip_address(label)
    except ValueError:
        return label.rstrip(".") == speaker.node.lower()
    own = {speaker.router_id, *(one.local_address for one in speaker.neighbours)}
    return address in own or address in service.addresses


def _region(kind: str, name: str, speaker: Speaker, _: Service) -> bool:
    return kind == "region" and name == speaker.region
