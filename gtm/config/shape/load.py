"""probes/load.yaml: where load is read, and when it counts."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field

from gtm.config.scalars import Unfit, seconds, shown
from gtm.config.shape.base import OneOrList, Read, Shape
from gtm.config.shape.durations import DURATION_SCHEMA
from gtm.config.shape.node import Path
from gtm.model.load import LoadSettings

INTERVAL_MIN_S, INTERVAL_MAX_S = 1.0, 3600.0
TIMEOUT_MIN_S = 0.1
AGE_MAX_S = 86_400.0
QUERY_MAX = 4000
SOURCES_MAX, QUERIES_MAX = 16, 64

_URL = re.compile(
    r"https?://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)(?::([0-9]{1,5}))?(?:/[!-\"$->@-~]*)?"
)


def _between(low_s: float, high_s: float, value: object) -> float:
    found = seconds(value)
    if low_s <= found <= high_s:
        return found
    raise Unfit(f"{shown(value)} is out of range", f"{low_s:g}s to {high_s:g}s")


def _interval(value: object) -> float:
    return _between(INTERVAL_MIN_S, INTERVAL_MAX_S, value)


def _timeout(value: object) -> float:
    return _between(TIMEOUT_MIN_S, INTERVAL_MAX_S, value)


def _half_life(value: object) -> float:
    return _between(0.0, INTERVAL_MAX_S, value)


def _age_max(value: object) -> float:
    return _between(INTERVAL_MIN_S, AGE_MAX_S, value)


def _url(value: object) -> str:
    found = _URL.fullmatch(value) if isinstance(value, str) else None
    if found is not None and 1 <= int(found[1] or 9090) <= 65535:
        return found[0].rstrip("/")
    raise Unfit(
        f"{shown(value)} is not the base URL of a Prometheus server",
        "http://HOST:PORT or https://HOST:PORT, with a path before /api/v1 if it has one",
    )


def _query(value: object) -> str:
    if isinstance(value, str) and value.strip() and len(value) <= QUERY_MAX:
        return value
    hint = "; put quotes around it" if isinstance(value, int | float) and not isinstance(value, bool) else ""
    raise Unfit(f"{shown(value)} is not a query{hint}", f"PromQL of 1 to {QUERY_MAX} characters")


def _label(value: object) -> str:
    if isinstance(value, str) and 1 <= len(value) <= 200 and value.isprintable():
        return value
    raise Unfit(f"{shown(value)} is not a label", "a label of the result, or a region")


class QueryShape(Shape):
    """An instant query, and whose load its result is."""

    metric: Literal["requests", "connections", "utilisation"] = Field(
        description="What the result is: requests per second, open connections, or the share of capacity in use."
    )
    query: Annotated[str, Read(_query, type="string", minLength=1, maxLength=QUERY_MAX)] = Field(
        description="PromQL whose result is an instant vector or a scalar."
    )
    label: Annotated[str, Read(_label, type="string", minLength=1, maxLength=200)] = Field(
        default="instance",
        description="The label that holds a region's name or an instance's address, with or without port; "
        "for a result without labels, the region.",
    )


class SourceShape(Shape):
    """A Prometheus server and what is asked of it, or a file."""

    prometheus: Annotated[str | None, Read(_url, type="string", pattern="^https?://")] = Field(
        default=None, description="The base URL of a Prometheus server."
    )
    queries: tuple[QueryShape, ...] = Field(
        default=(),
        max_length=QUERIES_MAX,
        description="What it is asked, beside prometheus.",
        json_schema_extra={"default": []},
    )
    file: Path | None = Field(
        default=None, description="A JSON file that something on this machine keeps writing; relative to the folder."
    )


class LoadFile(Shape):
    """probes/load.yaml: sources of load."""

    interval: Annotated[float, Read(_interval, **DURATION_SCHEMA)] = Field(
        default=LoadSettings().interval_s, description="Time between two readings of a source."
    )
    timeout: Annotated[float | None, Read(_timeout, **DURATION_SCHEMA)] = Field(
        default=None,
        description="Time for one query; at most the interval. Default 5s, or the interval if that is shorter.",
        json_schema_extra={"default": LoadSettings().timeout_s},
    )
    half_life: Annotated[float, Read(_half_life, **DURATION_SCHEMA)] = Field(
        default=LoadSettings().half_life_s,
        description="How long it takes until half of a lasting change is followed; 0 is no smoothing.",
    )
    age_max: Annotated[float, Read(_age_max, **DURATION_SCHEMA)] = Field(
        default=LoadSettings().age_max_s, description="A value older than this says nothing; at least the interval."
    )
    reports: bool = Field(default=LoadSettings().reports, description="Whether load may be pushed to this node.")
    sources: Annotated[tuple[SourceShape, ...], Field(max_length=SOURCES_MAX), OneOrList()] = Field(
        default=(), description="Where load is read, one or a list.", json_schema_extra={"default": []}
    )
