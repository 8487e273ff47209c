"""`gtm check log`: how the verdicts of targets changed, and what was seen of them, from a node's store."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gtm.app import chronicle_file
from gtm.app.columns import clean, columns, duration, moment
from gtm.app.folders import state_folder, store_file
from gtm.app.question import near
from gtm.config.scalars import Unfit, address
from gtm.model.address import IPAddress
from gtm.model.chronicle import TOGETHER, Run, Transition
from gtm.model.errors import AskedError, GtmError
from gtm.model.health import Vote
from gtm.store.store import Store
from gtm.web.document import as_object

SINCE_S = 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """The changes since a moment, oldest first, and the runs of results, where they were asked for.

    `exported` is the file that both were written into, None where they are shown.
    """

    since_s: float
    transitions: tuple[Transition, ...]
    runs: tuple[Run, ...] | None
    exported: str | None = None


def log(
    folder: Path, subject: str | None, *, since_s: float | None, runs: bool, vantages: bool, export: Path | None
) -> Logged:
    """What the node of a deployment folder has written down in the last `since_s` seconds (None: a day, or all of it
    where it is exported), of a check or a target or of all. `vantages`: what each vantage point made of it, too.

    Raises AskedError for a subject of which nothing is known, GtmError where no node has ever run.
    """
    check, where = subject_of(subject)
    from_s = 0.0 if export is not None and since_s is None else time.time() - (since_s or SINCE_S)
    with open_store(folder) as store:
        transitions = store.transitions(since_s=from_s, check=check, address=where)
        seen = store.runs(since_s=from_s, check=check, address=where) if runs or export is not None else None
        if subject is not None and not transitions and not seen and check not in (known := store.checks_seen()):
            raise AskedError(f"nothing is known of {subject[:64]!r}", argument="CHECK", known=near(subject, known))
    if export is not None:
        chronicle_file.write(export, transitions, seen or ())
        return Logged(since_s=from_s, transitions=transitions, runs=seen, exported=str(export))
    if not vantages:
        transitions = tuple(one for one in transitions if one.vantage == TOGETHER)
    return Logged(since_s=from_s, transitions=transitions, runs=seen)


def subject_of(text: str | None) -> tuple[str | None, IPAddress | None]:
    """The check and the address that CHECK or CHECK@ADDRESS names."""
    if text is None:
        return None, None
    check, at, where = text.partition("@")
    if not at:
        return check, None
    try:
        return check, address(where)
    except Unfit as error:
        raise AskedError(str(error), argument="CHECK") from error


def open_store(folder: Path) -> Store:
    """The store of a deployment folder's node. Raises GtmError where there is none."""
    path = store_file(state_folder(folder))
    if not path.exists():
        raise GtmError(f"no node has run in {folder} yet: there is no {path}")
    return Store(path)


def log_document(logged: Logged) -> dict[str, object]:
    """What was found as JSON; of what was exported, how much it is."""
    if logged.exported is None:
        return as_object(logged)
    counts = {"transitions": len(logged.transitions), "runs": len(logged.runs or ())}
    return {"since_s": logged.since_s, **counts, "exported": logged.exported}


def log_text(logged: Logged) -> str:
    """What was found as lines of text, without a newline at the end."""
    if logged.exported is not None:
        return f"{len(logged.transitions)} changes and {len(logged.runs or ())} runs are in {logged.exported}"
    return "\n".join(_lines(logged))


def _lines(logged: Logged) -> Iterator[str]:
    if logged.transitions:
        yield from columns(
            (_change(one) for one in logged.transitions),
            heads=("WHEN", "TARGET", "SEEN BY", "CHANGE", "HAD BEEN SO", "RESULTS", "WHY"),
            indent=0,
        )
    else:
        yield f"no verdict has changed since {moment(logged.since_s)}"
    if logged.runs is not None:
        yield ""
        yield from _runs(logged.runs, logged.since_s)


def _runs(runs: Sequence[Run], since_s: float) -> Iterator[str]:
    if not runs:
        yield f"no results have been written down since {moment(since_s)}"
        return
    yield from columns(
        (
            (
                str(run.target), run.vantage, run.outcome, moment(run.first_at_s), moment(run.last_at_s),
                str(run.count), f"{run.took_mean_s * 1e3:.1f} ms ({run.took_max_s * 1e3:.1f})", clean(run.detail),
            )
            for run in runs
        ),
        heads=("TARGET", "SEEN BY", "RESULTS", "FROM", "UNTIL", "COUNT", "TOOK, MEAN (MOST)", "THE FIRST SAID"),
        indent=0,
    )  # fmt: skip


def _change(one: Transition) -> tuple[str, ...]:
    why = "" if one.last is None else clean(one.last.detail)
    votes = " ".join(map(_vote, one.votes))
    return (
        moment(one.at_s),
        str(one.target),
        one.vantage or "all",
        f"{one.was} -> {one.now}",
        "-" if one.lasted_s is None else duration(one.lasted_s),
        one.history.translate(_MARKS) or "-",
        f"{why}  [{votes}]" if votes else why,
    )


_MARKS = str.maketrans("01", ".X")


def _vote(vote: Vote) -> str:
    return f"{vote.vantage} {vote.health}{'' if vote.counted else ', not counted'};"
