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
