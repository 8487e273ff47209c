"""Keeping load: every source read in its turn, what is pushed taken in, and what is known given out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import structlog

from gtm.decide.load import Key
from gtm.model.deployment import Deployment
from gtm.model.errors import PeerError
from gtm.model.load import (
    LoadFileSource,
    LoadSample,
    LoadSettings,
    LoadSourceState,
    LoadSubject,
    LoadSummary,
    LoadValue,
    PrometheusSource,
)
from gtm.observe.load.file import LoadFile
from gtm.observe.load.reading import Source
from gtm.observe.load.subjects import Subjects
from gtm.observe.load.table import LoadTable

log = structlog.get_logger()

PUSHED = "push"
OFF = LoadSettings()


@dataclass(slots=True)
class _State:
    """How reading a source has gone so far; `at_s` is monotonic."""

    at_s: float | None = None
    problem: str | None = None
    samples: int = 0
    ignored: int = 0
    failures: int = 0

    def shown(self, source: str, now_s: float) -> LoadSourceState:
        return LoadSourceState(
            source=source,
            age_s=None if self.at_s is None else max(0.0, now_s - self.at_s),
            problem=self.problem,
            samples=self.samples,
            ignored=self.ignored,
            failures=self.failures,
        )


class LoadKeeper:
    """The load of a deployment's regions and instances. All of its methods belong to one event loop."""

    def __init__(self, deployment: Deployment, on_change: Callable[[], None] | None = None) -> None:
        """Keep this deployment's load.

        `on_change` is called whenever values came in, and when a source begins or ceases to fail.
        """
        self._on_change = on_change
        self._states: dict[str, _State] = {}
        self._reconfigured = asyncio.Event()
        self._take_up(deployment)
        self._table = LoadTable(half_life_s=self._settings.half_life_s, age_max_s=self._settings.age_max_s)

    def configure(self, deployment: Deployment) -> None:
        """Go on with another deployment: what is known of subjects that stay is kept, sources are opened anew."""
        self._take_up(deployment)
        self._table.half_life_s, self._table.age_max_s = self._settings.half_life_s, self._settings.age_max_s
        self._table.keep(self._subjects.known)
        self._reconfigured.set()

    def push(self, samples: Iterable[LoadSample]) -> None:
        """Take in what was pushed. Of subjects that there are not, or without `reports: true`, it counts not."""
        given = tuple(samples)
        taken = tuple(one for one in given if self._settings.reports and one.subject in self._subjects.known)
        state = self._states.setdefault(PUSHED, _State())
        state.ignored += len(given) - len(taken)
        if taken:
            self._take(state, taken, PUSHED)

    def table(self) -> Mapping[Key, LoadValue]:
        """What is known now, by (subject, metric)."""
        return self._table.values(self._instances, now_s=time.monotonic())

    def summary(self) -> LoadSummary:
        """What `gtm status` shows."""
        now_s = time.monotonic()
        return LoadSummary(
            sources=tuple(state.shown(name, now_s) for name, state in self._states.items()),
            subjects=tuple(
                LoadSubject(subject=subject, metric=metric, load=load)
                for (subject, metric), load in sorted(self.table().items(), key=_regions_first)
            ),
        )

    async def run(self) -> None:
        """Read all sources, each at its interval, until cancelled."""
        while True:
            self._reconfigured.clear()
            async with asyncio.TaskGroup() as group:
                reading = [group.create_task(self._follow(one), name=f"load {one.name}") for one in self._open()]
                await self._reconfigured.wait()
                for task in reading:
                    task.cancel()

    def _take_up(self, deployment: Deployment) -> None:
        self._settings = deployment.load or OFF
        self._subjects = Subjects.of(deployment)
        self._instances = tuple(one for pool in deployment.pools.values() for one in pool.instances)
        names = [one.url if isinstance(one, PrometheusSource) else one.path for one in self._settings.sources]
        if self._settings.reports:
            names.append(PUSHED)
        self._states = {name: self._states.get(name, _State()) for name in names}

    def _open(self) -> list[Source]:
        return [self._source(one) for one in self._settings.sources]

    def _source(self, source: PrometheusSource | LoadFileSource) -> Source:
        if isinstance(source, LoadFileSource):
            return LoadFile(source, self._subjects)
        from gtm.observe.load.prometheus import Prometheus  # httpx comes with an extra

        return Prometheus(source, self._subjects, timeout_s=self._settings.timeout_s)

    async def _follow(self, source: Source) -> None:
        """Read a source at once and then each interval; a slow reading puts the next one off, never two at a time."""
        state = self._states[source.name]
        loop = asyncio.get_running_loop()
        try:
            while True:
                began_s = loop.time()
                await self._read(source, state)
                await asyncio.sleep(max(0.0, began_s + self._settings.interval_s - loop.time()))
        finally:
            await source.close()

    async def _read(self, source: Source, state: _State) -> None:
        try:
            reading = await source.read()
        except PeerError as error:
            state.failures += 1
            self._tell(source, state, str(error).removeprefix(f"{source.name}: "))
            return
        if reading is None:  # unchanged, and it was good
            return
        self._tell(source, state, reading.problem)
        state.failures += reading.problem is not None
        state.ignored += reading.ignored
        self._take(state, reading.samples, source.name)

    def _take(self, state: _State, samples: tuple[LoadSample, ...], source: str) -> None:
        now_s = time.monotonic()
        state.at_s = now_s
        state.samples += len(samples)
        self._table.fold(samples, source, now_s=now_s, wall_s=time.time())
        if samples:
            self._changed()

    def _tell(self, source: Source, state: _State, problem: str | None) -> None:
        """Log a source's problem when it begins and when it ends, not at each reading."""
        before, state.problem = state.problem, problem
        if (problem is None) == (before is None):
            return
        if problem is None:
            log.info("load_source", source=source.name, state="read again")
        else:
            log.warning("load_source", source=source.name, reason=problem)
        self._changed()

    def _changed(self) -> None:
        if self._on_change is not None:
            self._on_change()


def _regions_first(item: tuple[Key, LoadValue]) -> tuple[bool, str, str]:
    (subject, metric), _ = item
    return not subject.startswith("region/"), subject, metric
