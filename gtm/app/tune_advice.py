"""What a replay's scores support, in one sentence: no more than the data does."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from gtm.app.columns import duration, percent
from gtm.decide.replay import Score, Setting

OUTAGES_MIN = 5  # fewer say little of how long finding one takes


def advice(scores: Sequence[Score], *, outages: int, lasted_s: float, outage_s: float) -> str:
    """One sentence on the scores, the first of which is that of the setting in force.

    Only settings that were seen, not extrapolated, are recommended.
    """
    now, *others = scores
    tried = [one for one in others if not one.extrapolated]
    if not outages and not now.failovers:
        return _quiet(now, tried, lasted_s, outage_s)
    found = _better(now, tried)
    caution = f"Only {counted(outages, 'outage')}, so a hint at most: " if outages < OUTAGES_MIN else ""
    said = f"Of {counted(len(scores), 'setting')} none does better than the one in force." if found is None else found
    return f"{caution}{said[0].lower()}{said[1:]}" if caution else said


def setting_text(setting: Setting, beside: Setting) -> str:
    """What differs from another setting, as it is written in probes/checks.yaml."""
    parts = (
        (f"interval: {setting.interval_s:g}s", setting.interval_s != beside.interval_s),
        (f"fall: {setting.fall}", setting.fall != beside.fall),
        (f"rise: {setting.rise}", setting.rise != beside.rise),
        (f"quorum: {percent(setting.quorum).replace(' ', '')}", setting.quorum != beside.quorum),
    )
    return f"`{', '.join(text for text, differs in parts if differs)}`"


def _quiet(now: Score, tried: Sequence[Score], lasted_s: float, outage_s: float) -> str:
    """What can be said where nothing happened: what would have been false, nothing of how soon outages are found."""
    steady = [one for one in tried if not one.failovers]
    said = f"In {duration(lasted_s)} there was no outage of {duration(outage_s)} or longer and no failover"
    if len(steady) == len(tried):
        return f"{said}, with any setting: the data says nothing for or against one."
    worst = max(tried, key=lambda one: one.false)
    return (
        f"{said} with the setting in force; {setting_text(worst.setting, now.setting)} would have made "
        f"{counted(worst.false, 'false failover')}. How soon outages are found cannot be told from this."
    )


def _better(now: Score, tried: Sequence[Score]) -> str | None:
    """The best of what would have been no worse in anything, else of what would have been less often wrong."""
    no_worse = [one for one in tried if _errors(one) <= _errors(now) and one.missed <= now.missed]
    sooner = [one for one in no_worse if one.false <= now.false and _found_s(one) <= _found_s(now)]
    gain = [one for one in sooner if (_errors(one), _found_s(one)) < (_errors(now), _found_s(now))]
    if gain:
        best = min(gain, key=lambda one: (_errors(one), _found_s(one), one.flaps_per_day))
        return f"{setting_text(best.setting, now.setting)} would have {_gains(best, now)}."
    fewer = [one for one in no_worse if one.false < now.false]
    if fewer:
        best = min(fewer, key=lambda one: (_errors(one), _found_s(one)))
        later_s = _found_s(best) - _found_s(now)
        return (
            f"{setting_text(best.setting, now.setting)} would have made {best.false} false failovers instead of "
            f"{now.false}, and found outages {duration(later_s)} later."
        )
    return None


def _gains(best: Score, now: Score) -> str:
    parts = []
    if best.missed < now.missed:
        parts.append(f"missed {best.missed} outages instead of {now.missed}")
    if best.false < now.false:
        parts.append(f"made {best.false} false failovers instead of {now.false}")
    if _found_s(best) < _found_s(now):
        parts.append(f"found outages in {duration(_found_s(best))} instead of {duration(_found_s(now))}")
    text = " and ".join(parts)
    return text if best.false < now.false else f"{text}, with as many false failovers ({best.false})"


def _errors(one: Score) -> int:
    return one.missed + one.false


def _found_s(one: Score) -> float:
    if one.detection is None:
        return inf if one.missed else 0.0
    return one.detection.median_s


def counted(number: int, what: str) -> str:
    """So many of something, in words."""
    return f"{number} {what}{'' if number == 1 else 's'}"
