"""The decision: a Snapshot in, a Plan out. Equal snapshots give equal plans, whatever was decided before.

`decide` reuses the parts of an earlier plan whose inputs did not change, so a health change costs what it touches.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from gtm.decide.effective import effective, orders_on
from gtm.decide.flip import Flips
from gtm.decide.pace import Pace, horizons_of
from gtm.decide.part import Part, Parts
from gtm.model.check import Target
from gtm.model.deployment import Deployment
from gtm.model.health import Health, Judgement
from gtm.model.override import Override
from gtm.model.plan import InstancePlan, Plan, PoolPlan, RegionPlan
from gtm.model.pool import Pool
from gtm.model.snapshot import Snapshot

SERVING = frozenset({Health.UP, Health.DEGRADED, Health.FORCED_UP})
PRESUMED = SERVING | {Health.UNKNOWN}  # unknown is not down


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A plan with the snapshot it was made of: what the next decision may build on.

    `touched` names the pools that were planned anew; the others are the earlier decision's.
    """

    snapshot: Snapshot
    plan: Plan
    touched: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependents:
    """The parts of every pool, and what hangs on what; worked out once per deployment.

    `of_subject` has region names and instances as overrides name them ("REGION/LABEL"); `pace` is what those TTLs hang
    on that have a range.
    """

    parts: Mapping[str, tuple[Part, ...]]
    of_part: Mapping[Part, tuple[str, ...]]
    of_target: Mapping[Target, tuple[Part, ...]]
    of_subject: Mapping[str, tuple[Part, ...]]
    pace: Pace

    @classmethod
    def of(cls, deployment: Deployment) -> Dependents:
        """The dependents of every part, target and subject of a deployment."""
        made = Parts(deployment.regions)
        parts = {pool.name: made.of(pool) for pool in deployment.pools.values()}
        pools: defaultdict[Part, list[str]] = defaultdict(list)
        for name, own in parts.items():
            for part in own:
                pools[part].append(name)
        targets: defaultdict[Target, dict[Part, None]] = defaultdict(dict)
        subjects: defaultdict[str, dict[Part, None]] = defaultdict(dict)
        for part in pools:
            subjects[part.region][part] = None
            for instance, target in part.members:
                subjects[f"{part.region}/{instance.label}"][part] = None
                if target is not None:
                    targets[target][part] = None
        return cls(
            parts=parts,
            of_part={part: tuple(names) for part, names in pools.items()},
            of_target={target: tuple(stale) for target, stale in targets.items()},
            of_subject={subject: tuple(stale) for subject, stale in subjects.items()},
            pace=Pace.of(deployment, parts),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stale:
    """What is to be planned anew: some parts, and some pools as a whole; `touched` names all pools that have any.

    They are in the deployment's order as far as that is had for nothing: what lies side by side in memory is then
    worked on in turn.
    """

    parts: AbstractSet[Part]
    pools: AbstractSet[str]
    touched: tuple[str, ...]


def decide(snapshot: Snapshot, earlier: Decision | None = None, dependents: Dependents | None = None) -> Decision:
    """The plan of a snapshot; `earlier` gives what may be reused, and the last good state of pools now all down."""
    before = {} if earlier is None else earlier.plan.pools
    if earlier is not None and earlier.snapshot.deployment is snapshot.deployment and dependents is not None:
        stale = stale_between(earlier.snapshot, snapshot, dependents)
        pools = dict(before)
    else:
        dependents = dependents or Dependents.of(snapshot.deployment)
        stale = Stale(parts=dependents.of_part.keys(), pools=frozenset(), touched=tuple(dependents.parts))
        pools = {}
    anew = _Anew(snapshot, dependents.pace)
    for name in stale.touched:
        was = before.get(name)
        whole = name in stale.pools
        regions = {
            part.region: anew.plan(part, name) if whole or part in stale.parts else pools[name].regions[part.region]
            for part in dependents.parts[name]
        }
        pools[name] = _pool_plan(name, regions, was)
    return Decision(snapshot=snapshot, plan=Plan(revision=snapshot.revision, pools=pools), touched=stale.touched)


class _Anew:
    """Plans parts in one snapshot; one that pools share is planned once, but for pools with orders of their own."""

    def __init__(self, snapshot: Snapshot, pace: Pace) -> None:
        self._judgements = snapshot.judgements
        self._flips = Flips(snapshot)
        self._horizon_of = pace.horizon_of
        self._orders = active(snapshot)
        self._regional = {region: orders_on(self._orders, region) for region in snapshot.deployment.regions}
        self._singled = {order.subject.name for order in self._orders if order.subject.kind == "pool"}
        self._planned: dict[Part, RegionPlan] = {}

    def plan(self, part: Part, pool: str) -> RegionPlan:
        if pool in self._singled:
            return self._anew(part, orders_on(self._orders, part.region, pool))
        planned = self._planned.get(part)
        if planned is None:
            planned = self._planned[part] = self._anew(part, self._regional[part.region])
        return planned

    def _anew(self, part: Part, orders: tuple[Override, ...]) -> RegionPlan:
        planned = plan_part(part, self._judgements, orders)
        if self._horizon_of and part in self._horizon_of:
            return paced(planned, self._flips, self._horizon_of[part])
        return planned


def active(snapshot: Snapshot) -> tuple[Override, ...]:
    """The overrides that stand at the snapshot's moment."""
    return tuple(override for override in snapshot.overrides if override.active(snapshot.now_s))


def stale_between(before: Snapshot, after: Snapshot, dependents: Dependents) -> Stale:
    """What has other inputs in the second of two snapshots of one deployment."""
    pace, were, are = dependents.pace, {*active(before)}, {*active(after)}
    parts = {part: None for target in changed_targets(before, after) for part in dependents.of_target.get(target, ())}
    for target in pace.targets_moved(before.judgements, after.judgements):
        parts.update(dict.fromkeys(pace.of_target[target]))
    pools: dict[str, None] = {}
    for override in (were ^ are) | pace.ends_moved(were & are, before.now_s, after.now_s):
        if override.subject.kind == "pool":
            pools[override.subject.name] = None
        else:
            parts.update(dict.fromkeys(dependents.of_subject.get(override.subject.name, ())))
    touched = dict.fromkeys(name for part in parts for name in dependents.of_part[part])
    touched.update(dict.fromkeys(name for name in pools if name in dependents.parts))
    return Stale(parts=parts.keys(), pools=pools.keys(), touched=tuple(touched))


def changed_targets(before: Snapshot, after: Snapshot) -> list[Target]:
    """The targets whose health differs."""
    changed = []
    if len(before.judgements) == len(after.judgements):
        # One mapping is mostly a later copy of the other: then they pair up, and no target has to be hashed.
        for (target, was), (same, now) in zip(before.judgements.items(), after.judgements.items(), strict=True):
            if target is not same:
                break
            if was is not now and was.health is not now.health:
                changed.append(target)
        else:
            return changed
    every = {**before.judgements, **after.judgements}
    return [target for target in every if _health(before, target) is not _health(after, target)]


def _health(snapshot: Snapshot, target: Target) -> Health:
    judgement = snapshot.judgements.get(target)
    return Health.UNKNOWN if judgement is None else judgement.health


def plan_pool(pool: Pool, snapshot: Snapshot, overrides: tuple[Override, ...], earlier: PoolPlan | None) -> PoolPlan:
    """One pool's plan by itself, under other overrides than the snapshot's."""
    parts = Parts(snapshot.deployment.regions).of(pool)
    regions = {
        part.region: plan_part(part, snapshot.judgements, orders_on(overrides, part.region, pool.name))
        for part in parts
    }
    horizon_s = horizons_of(snapshot.deployment).get(pool.name)
    if horizon_s is not None:
        flips = Flips(snapshot)
        regions = {name: paced(region, flips, horizon_s) for name, region in regions.items()}
    return _pool_plan(pool.name, regions, earlier)


def _pool_plan(name: str, regions: Mapping[str, RegionPlan], earlier: PoolPlan | None) -> PoolPlan:
    """A pool's plan; its last good regions come from the plan before where now nothing is available."""
    for region in regions.values():
        if region.available:
            return PoolPlan(name, regions, False, None)  # noqa: FBT003 - a named tuple's fields in order, for speed
    last_good = None
    if earlier is not None:
        last_good = earlier.last_good if earlier.all_down else earlier.regions
    return PoolPlan(name, regions, True, last_good)  # noqa: FBT003


def plan_part(part: Part, judgements: Mapping[Target, Judgement], orders: tuple[Override, ...]) -> RegionPlan:
    """A pool's part in a region under some orders: up while enough of its weighted instances are healthy.

    Instances not yet judged count as healthy, but are answered only where no judged one is.
    """
    total = healthy = 0
    answered = PRESUMED
    judged = []
    for instance, target in part.members:
        health, cause = effective(instance, target, judgements, orders)
        judged.append((instance, health, cause))
        if instance.weight > 0:
            total += 1
            if health in SERVING:
                healthy += 1
                answered = SERVING
            elif health in PRESUMED:
                healthy += 1
    available = healthy > 0 and healthy >= part.threshold * total - 1e-9
    instances = [InstancePlan(one, health, one.weight > 0 and health in answered, why) for one, health, why in judged]
    return RegionPlan(part.region, available, healthy, total, part.threshold, tuple(instances))


def paced(region: RegionPlan, flips: Flips, horizon_s: int) -> RegionPlan:
    """A region's plan with the time until one of its weighted instances may change, if that is within `horizon_s`."""
    soonest_s = min((flips.of(one.cause) for one in region.instances if one.instance.weight > 0), default=horizon_s)
    return region._replace(flip_s=int(min(horizon_s, soonest_s)))
