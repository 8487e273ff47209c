"""Why this client gets this answer: the decision's own functions, run once with every step kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gtm.decide.choose import AVAILABLE, Choice, Considered, RType, Selection, choose, select, ttl_s, weighed
from gtm.decide.steer import distance_km, fits, matching_rule, order_for
from gtm.model.name import SteeredName
from gtm.model.place import Locus
from gtm.model.plan import PoolPlan
from gtm.model.policy import Rule, matcher_text
from gtm.model.region import Region


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedRule:
    """A rule of the policy: what it asks for, and whether it fitted; rules after the first fit are not tried."""

    text: str
    fitted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An instance of a region that was considered: in the answer or not, and why."""

    region: str
    instance: str
    weight: int
    health: str
    answered: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One decision in full. `distances_km` is empty where the client's coordinates are not known.

    `ttl_reason` says why the TTL is what it is, where the name has a range of them.
    """

    rules: tuple[TriedRule, ...]
    order: tuple[str, ...]
    distances_km: Mapping[str, float]
    considered: tuple[Considered, ...]
    candidates: tuple[Candidate, ...]
    choice: Choice
    ttl_s: int
    ttl_reason: str | None


def explain(
    name: SteeredName, pool: PoolPlan, locus: Locus, regions: Mapping[str, Region], rtype: RType
) -> Explanation:
    """Every rule tried, every region considered and every instance with why it is in or out."""
    order = order_for(name.policy, locus, regions)
    choice = choose(name, pool, order, rtype)
    selection = select(name.all_down, pool, order, rtype)
    at = locus.place.coordinates
    return Explanation(
        rules=_tried(name, locus),
        order=order,
        distances_km={} if at is None else {r.name: distance_km(at, r.coordinates) for r in regions.values()},
        considered=choice.considered,
        candidates=_candidates(pool, order, choice),
        choice=choice,
        ttl_s=ttl_s(selection, pool, order, rtype, name.ttl_s, name.ttl_min_s),
        ttl_reason=_ttl_reason(name, selection, pool, order, rtype),
    )


def _ttl_reason(
    name: SteeredName, selection: Selection, pool: PoolPlan, order: tuple[str, ...], rtype: RType
) -> str | None:
    if name.ttl_min_s is None:
        return None
    within = f"{name.ttl_min_s}..{name.ttl_s}"
    if selection.region is None or selection.rule != AVAILABLE:
        return f"the least of {within}: nothing is available"
    flips = [
        (name.ttl_s if one.flip_s is None else one.flip_s, one.region)
        for one in weighed(selection.region, pool, order, rtype)
    ]
    soonest_s, region = min(flips, key=lambda flip: flip[0])
    if soonest_s >= name.ttl_s:
        return f"the most of {within}: nothing that it hangs on may change sooner"
    place = "the least of" if soonest_s <= name.ttl_min_s else "in"
    return f"{place} {within}: an instance in {region} may change in {soonest_s} s"


def _tried(name: SteeredName, locus: Locus) -> tuple[TriedRule, ...]:
    tried = []
    for rule in name.policy.rules:
        fitted = fits(rule, locus)
        tried.append(TriedRule(text=rule_text(rule), fitted=fitted))
        if fitted:
            return tuple(tried)
    return (*tried, TriedRule(text=rule_text(matching_rule(name.policy, locus)), fitted=True))


def _candidates(pool: PoolPlan, order: tuple[str, ...], choice: Choice) -> tuple[Candidate, ...]:
    chosen = {id(instance) for instance in choice.instances}
    listed = [name for name in order if name in pool.regions]
    unlisted = [name for name in pool.regions if name not in order]
    return tuple(
        Candidate(
            region=name,
            instance=planned.instance.label,
            weight=planned.instance.weight,
            health=str(planned.health),
            answered=id(planned.instance) in chosen,
            reason=planned.reason if name in order else "region is not in this client's order",
        )
        for name in (*listed, *unlisted)
        for planned in pool.regions[name].instances
    )


def rule_text(rule: Rule) -> str:
    """A rule in the words of the steering file."""
    order = [*rule.order.regions, *(["rtt"] if rule.order.rtt else ["nearest"] if rule.order.nearest else [])]
    source = ", ".join(matcher_text(matcher) for matcher in rule.matchers) or "everyone"
    return f"from {source}: {', '.join(order)}"
