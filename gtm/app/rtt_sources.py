"""All sources of round-trip times that a deployment names, running: probes, the workers' connections, and files."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import structlog

from gtm.app.crew import FOLDER
from gtm.model.address import IPAddress
from gtm.model.errors import GtmError
from gtm.model.node import Node
from gtm.model.rtt import RttFile, RttFormat, RttSample, RttSettings
from gtm.observe.rtt.active import ActiveCounters, ActiveRtt
from gtm.observe.rtt.atlas import atlas_scan
from gtm.observe.rtt.csvfile import csv_scan
from gtm.observe.rtt.network import Width
from gtm.observe.rtt.readings import Notes, checked
from gtm.observe.rtt.ring import RttRing

log = structlog.get_logger()

FILES_POLL_S = 2.0
DRAIN_S = 1.0
BATCH = 2048  # samples of a file handed over at once: some 10 ms of the event loop

OnSamples = Callable[[list[RttSample]], None]
Signature = tuple[int, int, int]  # when it was modified, its size, its number
Key = tuple[str, RttFormat, frozenset[tuple[IPAddress, str]]]  # what a file is read as; values of the model have dicts


@dataclass(slots=True, kw_only=True)
class RttCounters:
    """Totals since the start. `samples` by source: active, passive, csv and atlas.

    `overrun`: what workers measured and wrote over before it was read. `ignored`: entries of files that told nothing.
    """

    samples: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("active", "passive", *RttFormat), 0))
    active: ActiveCounters = field(default_factory=ActiveCounters)
    overrun: int = 0
    ignored: int = 0


class RttSources:
    """Runs the sources that settings name. `on_samples` gets what they find, in the event loop, in lists.

    `problems` has the files that could not be read, by the path that the settings give, and why.
    """

    def __init__(
        self,
        settings: RttSettings | None,
        node: Node,
        folder: Path,
        state: Path,
        on_samples: OnSamples,
        *,
        regions: Collection[str] | None = None,
    ) -> None:
        """`folder` is the deployment's, `state` the state folder; `regions` those that files may name (None: any)."""
        self._folder = folder
        self._rings = state / FOLDER
        self._on_samples = on_samples
        self._settings = settings or NONE
        self._node = node
        self._regions = regions
        self._read: dict[Key, Signature | None] = {}
        self._changed = asyncio.Event()
        self._said = False
        self.counters = RttCounters()
        self.problems: dict[str, str] = {}

    def configure(self, settings: RttSettings | None, node: Node, *, regions: Collection[str] | None = None) -> None:
        """Go on with other settings; files that did not change are not read again."""
        settings = settings or NONE
        if (settings, node, regions) == (self._settings, self._node, self._regions):
            return
        if regions != self._regions or _width(settings) != _width(self._settings):
            self._read.clear()
        self._settings, self._node, self._regions = settings, node, regions
        kept = set(map(_key, settings.files))
        self._read = {key: read for key, read in self._read.items() if key in kept}
        named = {file.path for file in settings.files}
        self.problems = {path: why for path, why in self.problems.items() if path in named}
        self._said = False
        self._changed.set()

    async def run(self) -> None:
        """Run until cancelled. Raises an ExceptionGroup if a source fails other than by what it reads."""
        while True:
            self._changed.clear()
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(part) for part in self._parts()]
                await self._changed.wait()
                for task in running:
                    task.cancel()

    def _parts(self) -> Iterator[Coroutine[None, None, None]]:
        settings, region = self._settings, self._node.region
        if settings.files:
            yield self._follow_files(settings)
        if not (settings.targets or settings.passive):
            return
        if region is None:
            self._say_nowhere()
            return
        if settings.targets:
            yield self._measure(settings, region)
        if settings.passive:
            yield self._follow_rings(RttRing(self._rings, region, _width(settings)))

    def _say_nowhere(self) -> None:
        if not self._said:
            self._said = True
            why = "this node has no region in gtm.yaml, so what it measures itself is of no region"
            log.warning("rtt_not_measured", reason=why)

    async def _measure(self, settings: RttSettings, region: str) -> None:
        def take(samples: list[RttSample]) -> None:
            self._take("active", samples)

        await ActiveRtt(
            settings.targets,
            region,
            interval_s=settings.interval_s,
            timeout_s=settings.timeout_s,
            on_samples=take,
            width=_width(settings),
            counters=self.counters.active,
        ).run()

    async def _follow_rings(self, ring: RttRing) -> None:
        while True:
            lost = ring.lost
            self._take("passive", ring.drain())
            self.counters.overrun += ring.lost - lost
            await asyncio.sleep(DRAIN_S)

    async def _follow_files(self, settings: RttSettings) -> None:
        while True:
            for file in settings.files:
                await self._look(file, settings)
            await asyncio.sleep(FILES_POLL_S)

    async def _look(self, file: RttFile, settings: RttSettings) -> None:
        """Read a file if it is not the one that was read last."""
        path = self._folder / file.path
        signature = await asyncio.to_thread(_signature, path)
        key = _key(file)
        if key in self._read and self._read[key] == signature:
            return
        try:
            count, notes = await self._take_file(file, path, settings)
        except GtmError as error:
            self._read[key] = signature
            self.problems[file.path] = str(error)
            log.error("rtt_file_refused", file=file.path, reason=str(error))
            return
        self._read[key] = signature  # not before: what is cut short by a reload is read again
        self.problems.pop(file.path, None)
        self.counters.ignored += sum(notes.ignored.values())
        log.info("rtt_file_read", file=file.path, samples=count, ignored=notes.ignored)

    async def _take_file(self, file: RttFile, path: Path, settings: RttSettings) -> tuple[int, Notes]:
        """Read a file in a thread, a batch at a time: how many samples, and what else. Raises GtmError."""
        count = 0
        try:
            opened = await asyncio.to_thread(path.open, "rb")
            with opened:
                now_s = time.time()
                changed_s = (await asyncio.to_thread(path.stat)).st_mtime
                if file.format is RttFormat.ATLAS:
                    scan = atlas_scan(file.regions, now_s, _width(settings))
                else:
                    scan = csv_scan(min(changed_s, now_s), self._regions)
                samples, notes = await asyncio.to_thread(checked, opened, file.path, scan)
                while batch := await asyncio.to_thread(_some, samples):
                    count += len(batch)
                    self._take(file.format, batch)
        except OSError as error:
            raise GtmError(f"{file.path}: {error.strerror or error}") from error
        return count, notes

    def _take(self, source: str, samples: list[RttSample]) -> None:
        if samples:
            self.counters.samples[source] += len(samples)
            self._on_samples(samples)


NONE = RttSettings(passive=False)  # where a deployment has no probes/rtt.yaml


def _width(settings: RttSettings) -> Width:
    return Width(prefix4=settings.prefix4, prefix6=settings.prefix6)


def _some(samples: Iterator[RttSample]) -> list[RttSample]:
    return list(islice(samples, BATCH))


def _key(file: RttFile) -> Key:
    return file.path, file.format, frozenset(file.regions.items())


def _signature(path: Path) -> Signature | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
