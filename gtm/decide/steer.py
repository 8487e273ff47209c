"""Steering: which regions a client is offered, in which order. Pure geometry and rules; health comes later."""

from __future__ import annotations

from collections.abc import Mapping
from math import asin, cos, radians, sin, sqrt
from typing import assert_never

from gtm.model.place import Coordinates, Locus
from gtm.model.policy import Asn, Continent, Country, Matcher, Network, Order, Policy, Rule, Subdivision
from gtm.model.region import Region

EARTH_RADIUS_KM = 6371.0088  # mean radius, IUGG
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
    """An order with `nearest` spelled out for a client: the listed regions, then the others by distance."""
    if not order.nearest:
        return order.regions
    listed = set(order.regions)
    return order.regions + tuple(name for name in nearest(locus.place.coordinates, regions) if name not in listed)


def nearest(at: Coordinates | None, regions: Mapping[str, Region]) -> tuple[str, ...]:
    """Region names by great-circle distance; where that says nothing, by share of traffic, then in file order."""
    by_share = sorted(regions.values(), key=lambda region: -(region.share or 0.0))
    if at is None:
        return tuple(region.name for region in by_share)
    return tuple(region.name for region in sorted(by_share, key=lambda region: distance_km(at, region.coordinates)))


def distance_km(a: Coordinates, b: Coordinates) -> float:
    """Great-circle distance in kilometres, by the haversine formula (R. W. Sinnott, Sky & Telescope 68, 1984)."""
    phi_a, phi_b = radians(a.latitude), radians(b.latitude)
    half_phi, half_lambda = (phi_b - phi_a) / 2, radians(b.longitude - a.longitude) / 2
    h = sin(half_phi) ** 2 + cos(phi_a) * cos(phi_b) * sin(half_lambda) ** 2
    return 2 * EARTH_RADIUS_KM * asin(min(1.0, sqrt(h)))
