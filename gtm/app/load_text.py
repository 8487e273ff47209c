"""Load as text: its part of what `gtm status` prints."""

from __future__ import annotations

from collections.abc import Iterator

from gtm.app.columns import Paint, clean, columns, duration, percent
from gtm.model.load import LoadMetric, LoadSummary, LoadValue

SHOWN_MAX = 40  # rows; --json has them all
_HEADS = ("SUBJECT", *(str(metric).upper() for metric in LoadMetric), "AGE", "FROM")


def load_text(load: LoadSummary, paint: Paint) -> Iterator[str]:
    """Lines: a row for each subject, regions first, and one for each source."""
    subjects: dict[str, dict[LoadMetric, LoadValue]] = {}
    for one in load.subjects:
        subjects.setdefault(one.subject, {})[one.metric] = one.load
    yield paint("load", None)
    rows = [_row(subject, values) for subject, values in subjects.items()]
    yield from columns(rows[:SHOWN_MAX], heads=_HEADS) if rows else ("  nothing is known",)
    if len(rows) > SHOWN_MAX:
        yield f"  and {len(rows) - SHOWN_MAX} more"
    for state in load.sources:
        heard = "nothing yet" if state.age_s is None else f"{duration(state.age_s)} ago"
        ignored = f", {state.ignored} ignored" if state.ignored else ""
        yield f"  {clean(state.source)}: {heard}, {state.samples} values{ignored}"


def load_problems(load: LoadSummary) -> Iterator[str]:
    """What somebody should look at, in a sentence each."""
    for state in load.sources:
        if state.problem is not None:
            since = "has never been read" if state.age_s is None else f"was last read {duration(state.age_s)} ago"
            yield f"load source {clean(state.source)} {since}: {clean(state.problem)}"


def _row(subject: str, values: dict[LoadMetric, LoadValue]) -> tuple[str, ...]:
    cells = [_cell(metric, values[metric]) if metric in values else "-" for metric in LoadMetric]
    sources = sorted({f"{one.parts} instances" if one.parts else clean(one.source) for one in values.values()})
    return subject, *cells, duration(max(one.age_s for one in values.values())), ", ".join(sources)


def _cell(metric: LoadMetric, load: LoadValue) -> str:
    if metric is LoadMetric.UTILISATION:
        return percent(load.value)
    return f"{load.value:,.0f}" if load.value >= 10 else f"{load.value:.1f}"
