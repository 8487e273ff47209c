"""`gtm check tune`: what other settings would have made of what a node, or several, saw."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TypeVar

from gtm.app import chronicle_file
from gtm.app.check_log import open_store
from gtm.app.folders import state_folder, store_file
from gtm.app.question import near
from gtm.app.tune_advice import advice
from gtm.config.deployment import load
from gtm.config.scalars import Unfit, seconds, share
from gtm.decide.replay import Score, Setting, outages, score
from gtm.model.check import Check, Composed, PushProbe, Target
from gtm.model.chronicle import Run
from gtm.model.deployment import Deployment
from gtm.model.errors import AskedError, GtmError
from gtm.publish.dns.manifest import FILE as MANIFEST
from gtm.publish.dns.manifest import FOLDER as TABLES
from gtm.publish.dns.manifest import Manifest
from gtm.publish.dns.tables import load_deployment
from gtm.web.document import as_object

SINCE_S = 7 * 86400
OUTAGE_S = 30
SETTINGS_MAX = 200
FALLS, RISES = (2, 3, 5), (1, 2)
RUN_MAX = 100  # of fall and rise
INTERVAL_MIN_S = 0.1

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked: words of the command line, each a list with commas or None; `files` are other nodes' exports."""

    check: str | None = None
    since_s: float = SINCE_S
    outage_s: float = OUTAGE_S
    interval: str | None = None
    fall: str | None = None
    rise: str | None = None
    quorum: str | None = None
    files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckTuned:
    """A check: how much was seen of it, and what settings would have made of that, the one in force first.

    `outages` were as long as counts, `blips` were shorter. `vantages` are the nodes whose results these are.
    """

    check: str
    targets: int
    vantages: tuple[str, ...]
    from_s: float
    until_s: float
    results: int
    outages: int
    blips: int
    scores: tuple[Score, ...]
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """Every check that was seen since a moment, where outages of `outage_s` and longer count."""

    since_s: float
    outage_s: float
    checks: tuple[CheckTuned, ...]


def tune(folder: Path, wanted: Wanted) -> Tuned:
    """The past of a deployment folder's node, and of others whose files are given, under other settings.

    Raises AskedError for what makes no sense, GtmError where there is nothing to go by.
    """
    tried = _Tried(wanted)
    deployment = _deployment(folder)
    checks = {name: check for name, check in deployment.checks.items() if not isinstance(check.probe, Composed)}
    if wanted.check is not None:
        checks = {wanted.check: _named(wanted.check, deployment.checks)}
    elif not checks:
        raise GtmError("the deployment has no checks of its own")
    now_s = time.time()
    from_s = now_s - wanted.since_s
    runs = _runs(folder, wanted, from_s)
    seen = by_target(runs, checks)
    return Tuned(
        since_s=from_s,
        outage_s=wanted.outage_s,
        checks=tuple(
            _tuned(check, some, tried.settings(check), wanted.outage_s)
            for name, check in checks.items()
            if (some := seen.get(name))
        ),
    )


def by_target(runs: Iterable[Run], checks: Mapping[str, Check]) -> dict[str, list[dict[str, list[Run]]]]:
    """The runs by check, target and vantage point. What is there twice, in the store and in a file, counts once."""
    kept: dict[tuple[Target, str, float], Run] = {}
    for run in runs:
        key = (run.target, run.vantage, run.first_at_s)
        if run.target.check in checks and (key not in kept or kept[key].count < run.count):
            kept[key] = run
    targets: dict[Target, dict[str, list[Run]]] = {}
    for run in sorted(kept.values(), key=lambda run: (str(run.target), run.vantage, run.first_at_s)):
        targets.setdefault(run.target, {}).setdefault(run.vantage, []).append(run)
    seen: dict[str, list[dict[str, list[Run]]]] = {}
    for target, some in targets.items():
        seen.setdefault(target.check, []).append(some)
    return seen


def _tuned(
    check: Check, seen: Sequence[Mapping[str, Sequence[Run]]], settings: Sequence[Setting], outage_s: float
) -> CheckTuned:
    runs = [run for one in seen for some in one.values() for run in some]
    troubles = [trouble for one in seen for trouble in outages(one, check)]
    long = sum(trouble.length_s >= outage_s for trouble in troubles)
    in_force, *others = (score(seen, check, setting, outage_s) for setting in settings)
    scores = (in_force, *sorted(others, key=_worth))
    from_s, until_s = min(run.first_at_s for run in runs), max(run.last_at_s for run in runs)
    return CheckTuned(
        check=check.name,
        targets=len(seen),
        vantages=tuple(sorted({run.vantage for run in runs})),
        from_s=from_s,
        until_s=until_s,
        results=sum(run.count for run in runs),
        outages=long,
        blips=len(troubles) - long,
        scores=scores,
        advice=advice(scores, outages=long, lasted_s=until_s - from_s, outage_s=outage_s),
    )


def _worth(one: Score) -> tuple[float, ...]:
    """What comes first: nothing missed, nothing false, found soon, few flaps."""
    found_s = one.detection.median_s if one.detection is not None else 0.0
    setting = one.setting
    return one.missed, one.false, found_s, one.flaps_per_day, setting.interval_s, setting.fall, setting.rise


class _Tried:
    """The settings to try, as they were asked for."""

    def __init__(self, wanted: Wanted) -> None:
        self._intervals = _listed("--interval", wanted.interval, _interval)
        self._falls = _listed("--fall", wanted.fall, _count)
        self._rises = _listed("--rise", wanted.rise, _count)
        self._quorums = _listed("--quorum", wanted.quorum, _share)

    def settings(self, check: Check) -> list[Setting]:
        """The one in force, and every combination of the values asked for. Raises AskedError if they are too many."""
        now = Setting.of(check)
        pushed = isinstance(check.probe, PushProbe)  # a pushed result is a verdict already: it has no interval or run
        combined = product(
            (self._intervals if not pushed else None) or (now.interval_s,),
            self._falls or ((now.fall,) if pushed else (now.fall, *FALLS)),
            self._rises or ((now.rise,) if pushed else (now.rise, *RISES)),
            self._quorums or (now.quorum,),
        )
        tried = dict.fromkeys(
            (now, *(Setting(interval_s=i, fall=fall, rise=rise, quorum=q) for i, fall, rise, q in combined))
        )
        if len(tried) > SETTINGS_MAX:
            raise AskedError(f"{len(tried)} settings are too many (at most {SETTINGS_MAX})", argument="--interval")
        return list(tried)


def _listed(argument: str, text: str | None, read: Callable[[str], Value]) -> tuple[Value, ...]:
    """The values of a list with commas; none where none was given."""
    if text is None:
        return ()
    try:
        return tuple(read(word.strip()) for word in text.split(","))
    except Unfit as error:
        raise AskedError(str(error), argument=argument) from error


def _interval(word: str) -> float:
    found_s = seconds(word)
    if found_s < INTERVAL_MIN_S:
        raise Unfit(f"{word!r} is too short", f"{INTERVAL_MIN_S:g}s and longer")
    return found_s


def _count(word: str) -> int:
    if word.isascii() and word.isdigit() and len(word) < 4 and 0 < int(word) <= RUN_MAX:
        return int(word)
    raise Unfit(f"{word[:20]!r} is not a number of results", f"1 to {RUN_MAX}")


def _share(word: str) -> float:
    found = share(word)
    if not found:
        raise Unfit(f"{word!r} is out of range", "above 0%, up to 100%")
    return found


def _named(name: str, checks: Mapping[str, Check]) -> Check:
    check = checks.get(name)
    if check is None:
        raise AskedError(f"there is no check {name[:64]!r}", argument="CHECK", known=near(name, checks))
    if isinstance(check.probe, Composed):
        raise AskedError(f"{name} is composed of other checks and has no results of its own", argument="CHECK")
    return check


def _runs(folder: Path, wanted: Wanted, from_s: float) -> Iterator[Run]:
    """What was seen, from the node's store and from files. Either may be all there is."""
    for path in wanted.files:
        yield from (run for run in chronicle_file.read(path) if run.last_at_s >= from_s)
    if wanted.files and not store_file(state_folder(folder)).exists():
        return
    with open_store(folder) as store:
        yield from store.runs(since_s=from_s, check=wanted.check)


def _deployment(folder: Path) -> Deployment:
    """The deployment in force: that of the node that runs or ran here, else the folder's files."""
    state = state_folder(folder)
    if (state / TABLES / MANIFEST).exists():
        return load_deployment(state, Manifest.load(state / TABLES))
    return load(folder)


def tune_document(tuned: Tuned) -> dict[str, object]:
    """What was found as JSON."""
    return as_object(tuned)
