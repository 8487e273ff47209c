"""Load: how busy instances and regions are, and where that is learnt."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class LoadMetric(StrEnum):
    """What is measured: requests per second, open connections, and the share of capacity in use (0 to 1, or more)."""

    REQUESTS = "requests"
    CONNECTIONS = "connections"
    UTILISATION = "utilisation"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSample:
    """One measurement of a subject: "region/REGION" or "instance/REGION/LABEL", as overrides name them."""

    subject: str
    metric: LoadMetric
    value: float
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadQuery:
    """A PromQL instant query for a metric; `label` of each series is a region's name or an instance's address."""

    metric: LoadMetric
    query: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusSource:
    """A Prometheus server, by its base URL, and what is asked of it."""

    url: str
    queries: tuple[LoadQuery, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadFileSource:
    """A JSON file that something on this machine keeps writing, the data plane's counters for one."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSettings:
    """probes/load.yaml: where load is read, each `interval_s`; values move half way to new ones in `half_life_s`.

    A value older than `age_max_s` says nothing any more. `reports`: load may be pushed.
    """

    sources: tuple[PrometheusSource | LoadFileSource, ...] = ()
    interval_s: float = 15.0
    timeout_s: float = 5.0
    half_life_s: float = 30.0
    age_max_s: float = 120.0
    reports: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadValue:
    """What is known of one metric of a subject: smoothed, as last measured, how old that is, and where it is from.

    `parts` is how many instances a region's value was put together from; 0: it was measured as it stands.
    """

    value: float
    raw: float
    age_s: float
    source: str
    parts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSourceState:
    """How reading one source goes: `age_s` since it last went well (None: never), and why it does not (None: it does).

    `samples` were taken, `ignored` series were of nothing that the deployment has or of no number, `failures` are
    readings that came to nothing; all since the start.
    """

    source: str
    age_s: float | None = None
    problem: str | None = None
    samples: int = 0
    ignored: int = 0
    failures: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSubject:
    """One row of what is shown: a subject's metric and its value."""

    subject: str
    metric: LoadMetric
    load: LoadValue


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSummary:
    """All that is shown of load: the sources, pushed values among them, and what is known of whom, regions first."""

    sources: tuple[LoadSourceState, ...]
    subjects: tuple[LoadSubject, ...]
