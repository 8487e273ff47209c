"""Steering: which regions a client is offered, in which order. Pure geometry and rules; health comes later."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import asin, cos, radians, sin, sqrt
from typing import assert_never

from gtm.model.place import Coordinates, Locus
from gtm.model.policy import Asn, Continent, Country, Matcher, Network, Order, Policy, Rule, Subdivision
from gtm.model.region import Region

EARTH_RADIUS_KM = 6371.0088  # mean radius, IUGG
TYPICAL_S_PER_KM = 1.5 / 100_000  # there and back: 1 ms for 100 km of fibre, and cables half as long again as the arc
MEASURED_MIN = 2  # regions: one alone says nothing of the others
EVERYONE = Rule(order=Order(nearest=True))


def order_for(policy: Policy, locus: Locus, regions: Mapping[str, Region]) -> tuple[str, ...]:
    """The regions a client at `locus` is offered, best first."""
    return expand(matching_rule(policy, locus).order, locus, regions)


def matching_rule(policy: Policy, locus: Locus) -> Rule:
    """The first rule that fits, or EVERYONE (nearest first) when none does."""
    return next((rule for rule in policy.rules if fits(rule, locus)), EVERYONE)


def fits(rule: Rule, locus: Locus) -> bool:
    """Whether a rule is for this client; a rule without matchers is for everyone."""
    return not rule.matchers or any(matches(matcher, locus) for matcher in rule.matchers)


def matches(matcher: Matcher, locus: Locus) -> bool:
    """Whether one matcher fits. Facts that are not known match nothing."""
    place = locus.place
    match matcher:
        case Network(network=network):
            return network in locus.networks
        case Asn(asn=asn):
            return place.asn == asn
        case Country(code=code):
            return place.country == code
        case Continent(code=code):
            return place.continent == code
        case Subdivision(code=code):
            return place.subdivision == code
        case _:
            assert_never(matcher)


def expand(order: Order, locus: Locus, regions: Mapping[str, Region]) -> tuple[str, ...]:
    """An order spelled out for a client: the listed regions, then the others by measured time or by distance."""
    if not order.nearest:
        return order.regions
    listed = set(order.regions)
    others = quickest(locus, regions) if order.rtt else nearest(locus.place.coordinates, regions)
    return order.regions + tuple(name for name in others if name not in listed)


def quickest(locus: Locus, regions: Mapping[str, Region]) -> tuple[str, ...]:
    """Region names by round-trip time; nearest first where fewer than MEASURED_MIN of them are measured.

    Measured regions keep the order that `locus.rtts` has them in (which has a dead band, so it may differ a little from
    that of the times). A region that is not measured comes before the first measured one whose time is longer than what
    is to be expected of it: TYPICAL_S_PER_KM for the distance, and on top what the measured ones take at least beyond
    theirs, which is the client's own way to the network. So it can be the first only if it is nearer by more than the
    measured ones' detours. Where the client's coordinates are not known it comes after all measured ones.
    """
    rtts = [(name, rtt_s) for name, rtt_s in locus.rtts if name in regions]
    by_distance = nearest(locus.place.coordinates, regions)
    if len(rtts) < MEASURED_MIN:
        return by_distance
    measured = {name for name, _ in rtts}
    rest = [name for name in by_distance if name not in measured]
    at = locus.place.coordinates
    if not rest or at is None:
        return (*(name for name, _ in rtts), *rest)
    beyond_s = max(0.0, min(rtt_s - _expected_s(at, regions[name]) for name, rtt_s in rtts))
    expected = [(_expected_s(at, regions[name]) + beyond_s, name) for name in rest]
    order: list[str] = []
    for name, rtt_s in rtts:
        while expected and expected[0][0] < rtt_s:
            order.append(expected.pop(0)[1])
        order.append(name)
    return (*order, *(name for _, name in expected))


def _expected_s(at: Coordinates, region: Region) -> float:
    return distance_km(at, region.coordinates) * TYPICAL_S_PER_KM


def nearest(at: Coordinates | None, regions: Mapping[str, Region]) -> tuple[str, ...]:
    """Region names by great-circle distance; where that says nothing, by share of traffic, then in file order."""
    by_share = sorted(regions.values(), key=lambda region: -(region.share or 0.0))
    if at is None:
        return tuple(region.name for region in by_share)
    return tuple(region.name for region in sorted(by_share, key=lambda region: distance_km(at, region.coordinates)))


@lru_cache(maxsize=1 << 16)  # clients of a place are many: a class table of 20,000 networks took 0.25 s longer without
def distance_km(a: Coordinates, b: Coordinates) -> float:
    """Great-circle distance in kilometres, by the haversine formula (R. W. Sinnott, Sky & Telescope 68, 1984)."""
    phi_a, phi_b = radians(a.latitude), radians(b.latitude)
    half_phi, half_lambda = (phi_b - phi_a) / 2, radians(b.longitude - a.longitude) / 2
    h = sin(half_phi) ** 2 + cos(phi_a) * cos(phi_b) * sin(half_lambda) ** 2
    return 2 * EARTH_RADIUS_KM * asin(min(1.0, sqrt(h)))
