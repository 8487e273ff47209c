"""What measured round-trip times come to: smoothed estimates by client network and region, and by AS and country.

Sums are exponentially weighted by time: a measurement counts half as much after `half_life_s`, however many came in
between, so neither the rate of measuring nor the order of arrival matters. One wild outlier does not either: once three
measurements are known, a further one counts as no more than CLAMP_SPREADS spreads away from the estimate (the spread is
a mean deviation as in RFC 6298, but never less than SPREAD_SHARE of the time or SPREAD_MIN_S). What lasts widens the
spread with each measurement, so it is followed all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from heapq import nsmallest
from typing import NamedTuple

from gtm.model.address import IPNetwork
from gtm.model.place import Place
from gtm.model.policy import Asn, Country
from gtm.model.rtt import RttSample, RttSettings

CLAMP_SPREADS = 4.0  # RFC 6298's K
CLAMP_FROM = 3
SPREAD_SHARE = 0.05
SPREAD_MIN_S = 0.002
RTT_MAX_S = 60.0
COUNT_MAX = 65_535
POOLED_MAX = 20  # of an aggregate: the most samples that one network's estimate counts for
EVICTED_SHARE = 0.05  # more than must go at once, so that a full table is not sorted for each batch

Key = IPNetwork | Asn | Country


class Estimate(NamedTuple):
    """A smoothed time and its mean deviation, of `samples` measurements, the newest from `at_s`.

    `weight` is that of all measurements as of `at_s`, one that is new counting 1.
    """

    rtt_s: float
    spread_s: float
    weight: float
    samples: int
    at_s: float


Regional = Mapping[str, Estimate]


def fold(before: Estimate | None, sample: RttSample, settings: RttSettings, now_s: float) -> Estimate:
    """The estimate after a measurement. Times after `now_s` (a clock was set back) count as now.

    Where the one before is older than `age_max_s`, it is forgotten.
    """
    at_s, new = min(sample.at_s, now_s), max(sample.count, 1)
    rtt_s = min(max(sample.rtt_s, 0.0), RTT_MAX_S)
    if before is None or at_s - min(before.at_s, now_s) > settings.age_max_s:
        return Estimate(rtt_s, rtt_s / 2, float(new), min(new, COUNT_MAX), at_s)  # the first spread: RFC 6298 (2.2)
    then_s = min(before.at_s, now_s)
    newest_s = max(at_s, then_s)
    old = before.weight * _kept(newest_s - then_s, settings)
    fresh = new * _kept(newest_s - at_s, settings)
    if before.samples >= CLAMP_FROM:
        widest_s = CLAMP_SPREADS * max(before.spread_s, SPREAD_SHARE * before.rtt_s, SPREAD_MIN_S)
        rtt_s = min(max(rtt_s, before.rtt_s - widest_s), before.rtt_s + widest_s)
    part = fresh / (old + fresh) if fresh else 0.0
    # The first spread is a guess: the second measurement replaces it.
    spread_s = before.spread_s if before.samples > 1 else abs(rtt_s - before.rtt_s)
    return Estimate(
        before.rtt_s + (rtt_s - before.rtt_s) * part,
        spread_s + (abs(rtt_s - before.rtt_s) - spread_s) * part,
        old + fresh,
        min(before.samples + new, COUNT_MAX),
        newest_s,
    )


def _kept(age_s: float, settings: RttSettings) -> float:
    if age_s <= 0:
        return 1.0
    return 0.5 ** min(age_s / settings.half_life_s, 1000.0) if settings.half_life_s > 0 else 0.0


def warm(estimate: Estimate, settings: RttSettings, now_s: float) -> bool:
    """Whether an estimate has samples enough, and new enough ones, to decide by."""
    return estimate.samples >= settings.samples_min and now_s - estimate.at_s <= settings.age_max_s


class Estimates:
    """Estimates by client network and region, owned by whoever made it; at most `networks_max` networks.

    Where there are more, those go that were measured longest ago.
    """

    def __init__(self, networks: Mapping[IPNetwork, Regional] | None = None) -> None:
        self.networks: dict[IPNetwork, dict[str, Estimate]] = {
            network: dict(regions) for network, regions in (networks or {}).items()
        }

    def add(self, samples: Iterable[RttSample], settings: RttSettings, now_s: float) -> None:
        """Fold measurements in."""
        for sample in samples:
            regions = self.networks.setdefault(sample.network, {})
            regions[sample.region] = fold(regions.get(sample.region), sample, settings, now_s)
        self.bound(settings.networks_max)

    def bound(self, networks_max: int) -> None:
        """Forget the networks measured longest ago, if there are more than `networks_max`."""
        over = len(self.networks) - networks_max
        if over > 0:
            going = min(over + int(networks_max * EVICTED_SHARE), len(self.networks) - 1)
            for network in nsmallest(going, self.networks, key=lambda one: newest_s(self.networks[one])):
                del self.networks[network]

    def forget(self, age_max_s: float, now_s: float) -> None:
        """Forget what is older than `age_max_s`."""
        for network, regions in list(self.networks.items()):
            for region in [name for name, one in regions.items() if now_s - one.at_s > age_max_s]:
                del regions[region]
            if not regions:
                del self.networks[network]


def newest_s(regions: Regional) -> float:
    """When the newest of some estimates was measured."""
    return max(one.at_s for one in regions.values())


def pooled(estimates: Iterable[Estimate], *, count_max: int = COUNT_MAX) -> Estimate:
    """Several estimates (at least one) of the same thing as one: their mean by samples, of each at most `count_max`.

    The spread is the mean of theirs and of their distances from the mean. Does not depend on their order beyond
    rounding.
    """
    parts = tuple(estimates)
    if len(parts) == 1:
        return parts[0]
    total = sum(min(one.samples, count_max) for one in parts)
    rtt_s = sum(one.rtt_s * min(one.samples, count_max) for one in parts) / total
    spread_s = sum(max(one.spread_s, abs(one.rtt_s - rtt_s)) * min(one.samples, count_max) for one in parts) / total
    return Estimate(
        rtt_s,
        spread_s,
        sum(one.weight for one in parts),
        min(sum(one.samples for one in parts), COUNT_MAX),
        max(one.at_s for one in parts),
    )


def merged(tables: Iterable[Mapping[IPNetwork, Regional]]) -> Mapping[IPNetwork, Regional]:
    """What several nodes know together. Where two measured the same pair, both count by their samples."""
    whole: dict[IPNetwork, dict[str, list[Estimate]]] = {}
    for table in tables:
        for network, regions in table.items():
            mine = whole.setdefault(network, {})
            for region, estimate in regions.items():
                mine.setdefault(region, []).append(estimate)
    return {network: {region: pooled(parts) for region, parts in regions.items()} for network, regions in whole.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """Estimates at every level: of networks, and of the ASs and countries that those are in."""

    networks: Mapping[IPNetwork, Regional]
    asns: Mapping[Asn, Regional]
    countries: Mapping[Country, Regional]

    def items(self) -> Iterator[tuple[Key, Regional]]:
        """All of them, in no order."""
        yield from self.networks.items()
        yield from self.asns.items()
        yield from self.countries.items()


def levels(
    networks: Mapping[IPNetwork, Regional],
    place_of: Callable[[IPNetwork], Place],
    settings: RttSettings,
    now_s: float,
) -> Levels:
    """The networks, and what they say of their ASs and countries, each network counting as POOLED_MAX samples at most.

    Estimates that are older than `age_max_s` have no part in those.
    """
    asns: dict[Asn, dict[str, list[Estimate]]] = {}
    countries: dict[Country, dict[str, list[Estimate]]] = {}
    by_asn: dict[int, Asn] = {}
    by_code: dict[str, Country] = {}
    for network, regions in networks.items():
        place = place_of(network)
        above: list[dict[str, list[Estimate]]] = []
        if place.asn is not None:
            above.append(asns.setdefault(by_asn.setdefault(place.asn, Asn(asn=place.asn)), {}))
        if place.country is not None:
            country = by_code.setdefault(place.country, Country(code=place.country))
            above.append(countries.setdefault(country, {}))
        if not above:
            continue
        for region, estimate in regions.items():
            if now_s - estimate.at_s <= settings.age_max_s:
                for each in above:
                    each.setdefault(region, []).append(estimate)
    return Levels(
        networks=networks,
        asns={key: _pooled(parts) for key, parts in asns.items()},
        countries={key: _pooled(parts) for key, parts in countries.items()},
    )


def _pooled(parts: Mapping[str, list[Estimate]]) -> Regional:
    return {region: pooled(estimates, count_max=POOLED_MAX) for region, estimates in parts.items()}
