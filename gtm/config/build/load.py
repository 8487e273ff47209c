"""probes/load.yaml -> what is read of load, and how."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from gtm.config.build.regions import unknown_region
from gtm.config.document import Document, Steps
from gtm.config.known import Known
from gtm.config.shape.load import LoadFile, SourceShape
from gtm.model.load import LoadFileSource, LoadMetric, LoadQuery, LoadSettings, PrometheusSource

KINDS = ("prometheus", "file")
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # as Prometheus has them


def build_load(document: Document | None, folder: Path, regions: Known) -> LoadSettings | None:
    """The settings; None without a file. Files are looked for in the folder, when they are read: none must be there."""
    found = document.validate(LoadFile) if document is not None else None
    if document is None or found is None:
        return None
    _check(document, found)
    sources = tuple(
        source
        for position, shape in enumerate(found.sources)
        if (source := _source(document, ("sources", position), shape, folder, regions)) is not None
    )
    for position, source in enumerate(sources):
        if _name(source) in map(_name, sources[:position]):
            document.fault(("sources", position), f"{_name(source)} is listed twice", "each source once")
    return LoadSettings(
        sources=sources,
        interval_s=found.interval,
        timeout_s=min(LoadSettings().timeout_s, found.interval) if found.timeout is None else found.timeout,
        half_life_s=found.half_life,
        age_max_s=found.age_max,
        reports=found.reports,
    )


def _check(document: Document, shape: LoadFile) -> None:
    if not document.intact("interval"):
        return
    if shape.timeout is not None and shape.timeout > shape.interval:
        document.fault(("timeout",), f"{shape.timeout:g}s is longer than the interval", f"up to {shape.interval:g}s")
    if shape.age_max < shape.interval:
        document.fault(
            ("age_max",),
            f"values would be too old after {shape.age_max:g}s, and new ones come each {shape.interval:g}s",
            f"{shape.interval:g}s or more",
        )


def _source(
    document: Document, place: Steps, shape: SourceShape, folder: Path, regions: Known
) -> PrometheusSource | LoadFileSource | None:
    """A source of a shape; None, and a fault, for one that is not exactly one of the kinds."""
    kinds = [kind for kind in document.written(*place) if kind in KINDS]
    if len(kinds) != 1:
        document.fault(place, f"has {' and '.join(kinds) or 'nothing to read'}", f"one of {', '.join(KINDS)}")
        return None
    if kinds == ["file"]:
        if "queries" in document.written(*place):
            document.fault((*place, "queries"), "a file is not asked anything", "prometheus beside it, or no queries")
        return None if shape.file is None else LoadFileSource(path=str(folder / shape.file))
    if shape.prometheus is None:
        return None
    if find_spec("httpx") is None:
        document.fault(
            (*place, "prometheus"), "Prometheus needs httpx, which is not installed", "pip install 'gtm[http]'"
        )
    if not shape.queries and document.intact(*place):
        document.fault(place, "asks nothing", "queries: [{metric: requests, query: PROMQL, label: instance}]")
    for position, query in enumerate(shape.queries):
        if not _LABEL.fullmatch(query.label) and query.label not in regions:
            unknown_region(document, (*place, "queries", position, "label"), query.label, regions)
    return PrometheusSource(
        url=shape.prometheus,
        queries=tuple(
            LoadQuery(metric=LoadMetric(one.metric), query=one.query, label=one.label) for one in shape.queries
        ),
    )


def _name(source: PrometheusSource | LoadFileSource) -> str:
    return source.url if isinstance(source, PrometheusSource) else source.path
