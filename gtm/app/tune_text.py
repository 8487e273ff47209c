"""What `gtm check tune` prints."""

from __future__ import annotations

from collections.abc import Iterator
from math import isclose

from gtm.app.columns import clean, columns, duration, moment, percent
from gtm.app.tune import CheckTuned, Tuned
from gtm.app.tune_advice import counted
from gtm.decide.replay import Score

HEADS = (
    "", "INTERVAL", "FALL", "RISE", "QUORUM", "FAILOVERS", "FALSE", "MISSED", "FOUND IN", "95 %", "MOST", "DOWN",
    "FLAPS/DAY",
)  # fmt: skip
EXTRAPOLATED = "* Shorter than what was recorded: each result was taken to stand until the next one."


def tune_text(tuned: Tuned) -> str:
    """A table for each check, without a newline at the end."""
    if not tuned.checks:
        return f"no results have been written down since {moment(tuned.since_s)}"
    return "\n\n".join("\n".join(_lines(one, tuned.outage_s)) for one in tuned.checks)


def _lines(one: CheckTuned, outage_s: float) -> Iterator[str]:
    seen_from = ", ".join(map(clean, one.vantages))
    yield f"{one.check}  {moment(one.from_s)} to {moment(one.until_s)}"
    yield f"  {one.results} results of {counted(one.targets, 'target')}, seen from {seen_from}"
    yield f"  outages of {duration(outage_s)} or longer: {one.outages}; shorter: {one.blips}"
    yield ""
    yield from columns((_row(score, first=score is one.scores[0]) for score in one.scores), heads=HEADS)
    if any(score.extrapolated for score in one.scores):
        yield f"  {EXTRAPOLATED}"
    yield ""
    yield f"  {one.advice}"


def _row(score: Score, *, first: bool) -> tuple[str, ...]:
    setting, found = score.setting, score.detection
    times = ("-",) * 3 if found is None else tuple(map(duration, (found.median_s, found.p95_s, found.max_s)))
    flaps = score.flaps_per_day
    return (
        "now" if first else "",
        f"{setting.interval_s:g}s{'*' if score.extrapolated else ''}",
        str(setting.fall),
        str(setting.rise),
        percent(setting.quorum).replace(" ", ""),
        str(score.failovers),
        str(score.false),
        str(score.missed),
        *times,
        duration(score.down_s),
        "0" if isclose(flaps, 0) else f"{flaps:.2g}" if flaps < 10 else f"{flaps:.0f}",
    )
