"""Load: noisy measurements -> smoothed values; a region's value from those of its instances."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gtm.model.load import LoadMetric, LoadValue
from gtm.model.pool import Instance

Key = tuple[str, LoadMetric]


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A metric's smoothed value, as last measured, when (seconds of any one clock), and where that came from."""

    value: float
    raw: float
    at_s: float
    source: str


def fold(before: Level | None, measured: Level, *, half_life_s: float, age_max_s: float) -> Level:
    """The level after a measurement (whose own `value` is not looked at).

    Time-weighted: after `half_life_s` a lasting change has been followed half way, however often it was measured in
    between. One that is not newer than what is known changes nothing, so the order of arrival does not matter for
    those that come too late. After a gap of more than `age_max_s` the past says nothing: the measurement stands alone.
    """
    if before is not None and measured.at_s <= before.at_s:
        return before
    if before is None or half_life_s <= 0 or measured.at_s - before.at_s > age_max_s:
        value = measured.raw
    else:
        kept = 0.5 ** ((measured.at_s - before.at_s) / half_life_s)
        value = measured.raw + (before.value - measured.raw) * kept
    return Level(value=value, raw=measured.raw, at_s=measured.at_s, source=measured.source)


def together(metric: LoadMetric, values: Sequence[float]) -> float:
    """One value of several series (at least one) of the same subject: added up; of utilisation, the highest."""
    return max(values) if metric is LoadMetric.UTILISATION else sum(values)


def table(
    levels: Mapping[Key, Level], instances: Iterable[Instance], *, now_s: float, age_max_s: float
) -> dict[Key, LoadValue]:
    """What is known at `now_s`: levels up to `age_max_s` old, and regions' values where only instances have theirs.

    A region that is measured itself is what that says. Otherwise its requests and connections are the sum over its
    instances that are known, and its utilisation their mean weighted by the instances' weights (by number where all
    weights are 0); its age is that of the oldest part. Instances never get their values from regions.
    """
    known = {key: _shown(level, now_s) for key, level in levels.items() if now_s - level.at_s <= age_max_s}
    weights: dict[str, dict[str, int]] = {}
    for one in instances:
        mine = weights.setdefault(one.region, {})
        # In several pools, an instance is as big as the largest of its weights says.
        mine[one.label] = max(one.weight, mine.get(one.label, 0))
    return {**known, **dict(_regions(known, weights))}


def _shown(level: Level, now_s: float) -> LoadValue:
    return LoadValue(value=level.value, raw=level.raw, age_s=max(0.0, now_s - level.at_s), source=level.source)


def _regions(
    known: Mapping[Key, LoadValue], weights: Mapping[str, Mapping[str, int]]
) -> Iterator[tuple[Key, LoadValue]]:
    for region, labels in weights.items():
        for metric in LoadMetric:
            parts = [
                (known[key], weight)
                for label, weight in labels.items()
                if (key := (f"instance/{region}/{label}", metric)) in known
            ]
            if parts and (f"region/{region}", metric) not in known:
                yield (f"region/{region}", metric), _put_together(metric, parts)


def _put_together(metric: LoadMetric, parts: Sequence[tuple[LoadValue, int]]) -> LoadValue:
    if metric is LoadMetric.UTILISATION:
        total = sum(weight for _, weight in parts)
        shares = [weight / total if total else 1 / len(parts) for _, weight in parts]
    else:
        shares = [1.0] * len(parts)
    return LoadValue(
        value=sum(one.value * share for (one, _), share in zip(parts, shares, strict=True)),
        raw=sum(one.raw * share for (one, _), share in zip(parts, shares, strict=True)),
        age_s=max(one.age_s for one, _ in parts),
        source=", ".join(sorted({one.source for one, _ in parts})),
        parts=len(parts),
    )
