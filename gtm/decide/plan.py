"""The decision: a Snapshot in, a Plan out. Equal snapshots give equal plans, whatever was decided before.

`decide` reuses the parts of an earlier plan whose inputs did not change, so a health change costs what it touches.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from gtm.decide.effective import effective
from gtm.model.check import Target
from gtm.model.deployment import Deployment
from gtm.model.health import Health
from gtm.model.override import Override
from gtm.model.plan import InstancePlan, Plan, PoolPlan, RegionPlan
from gtm.model.pool import Instance, Pool
from gtm.model.region import Region
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
    touched: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependents:
    """Which pools hang on a target or a region; worked out once per deployment."""

    of_target: Mapping[Target, tuple[str, ...]]
    of_region: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, deployment: Deployment) -> Dependents:
        """The dependents of every target and region of a deployment."""
        targets: defaultdict[Target, dict[str, None]] = defaultdict(dict)
        regions: defaultdict[str, dict[str, None]] = defaultdict(dict)
        for pool in deployment.pools.values():
            for target in pool.targets():
                targets[target][pool.name] = None
            for instance in pool.instances:
                regions[instance.region][pool.name] = None
        return cls(
            of_target={target: tuple(pools) for target, pools in targets.items()},
            of_region={region: tuple(pools) for region, pools in regions.items()},
        )


def decide(snapshot: Snapshot, earlier: Decision | None = None, dependents: Dependents | None = None) -> Decision:
    """The plan of a snapshot; `earlier` gives what may be reused, and the last good state of pools now all down."""
    deployment = snapshot.deployment
    orders = active(snapshot)
    if earlier is not None and earlier.snapshot.deployment is deployment and dependents is not None:
        names = touched(earlier.snapshot, snapshot, dependents)
        pools = dict(earlier.plan.pools)
    else:
        names, pools = frozenset(deployment.pools), {}
    for name in names:
        pools[name] = plan_pool(deployment.pools[name], snapshot, orders, _earlier_pool(earlier, name))
    return Decision(snapshot=snapshot, plan=Plan(revision=snapshot.revision, pools=pools), touched=names)


def active(snapshot: Snapshot) -> tuple[Override, ...]:
    """The overrides that stand at the snapshot's moment."""
    return tuple(override for override in snapshot.overrides if override.active(snapshot.now_s))


def touched(before: Snapshot, after: Snapshot, dependents: Dependents) -> frozenset[str]:
    """The pools whose inputs differ between two snapshots of one deployment."""
    changed = (target for target, judgement in after.judgements.items() if _health(before, target) != judgement.health)
    pools = {pool for target in changed for pool in dependents.of_target.get(target, ())}
    for override in {*active(before)} ^ {*active(after)}:
        if override.subject.kind == "pool":
            pools.add(override.subject.name)
        else:
            pools.update(dependents.of_region.get(override.subject.name.split("/")[0], ()))
    return frozenset(pools & after.deployment.pools.keys())


def _health(snapshot: Snapshot, target: Target) -> Health:
    judgement = snapshot.judgements.get(target)
    return Health.UNKNOWN if judgement is None else judgement.health


def _earlier_pool(earlier: Decision | None, name: str) -> PoolPlan | None:
    return None if earlier is None else earlier.plan.pools.get(name)


def plan_pool(pool: Pool, snapshot: Snapshot, overrides: tuple[Override, ...], earlier: PoolPlan | None) -> PoolPlan:
    """One pool's plan; its last good regions come from the plan before where now nothing is available."""
    by_region: defaultdict[str, list[Instance]] = defaultdict(list)
    for instance in pool.instances:
        by_region[instance.region].append(instance)
    regions = {
        name: plan_region(pool, region, by_region[name], snapshot, overrides)
        for name, region in snapshot.deployment.regions.items()
        if name in by_region
    }
    all_down = not any(region.available for region in regions.values())
    last_good = None
    if all_down and earlier is not None:
        last_good = earlier.last_good if earlier.all_down else earlier.regions
    return PoolPlan(name=pool.name, regions=regions, all_down=all_down, last_good=last_good)


def plan_region(
    pool: Pool, region: Region, instances: list[Instance], snapshot: Snapshot, overrides: tuple[Override, ...]
) -> RegionPlan:
    """A pool's part in a region: up while enough of its weighted instances are healthy.

    Instances not yet judged count as healthy, but are answered only where no judged one is.
    """
    judged = [(instance, *effective(pool, instance, snapshot.judgements, overrides)) for instance in instances]
    counted = [health for instance, health, _ in judged if instance.weight > 0]
    healthy = sum(health in PRESUMED for health in counted)
    threshold = region.threshold if pool.threshold is None else pool.threshold
    available = healthy > 0 and healthy >= threshold * len(counted) - 1e-9
    answered = SERVING if any(health in SERVING for health in counted) else PRESUMED
    return RegionPlan(
        region=region.name,
        available=available,
        healthy=healthy,
        total=len(counted),
        reason=f"{healthy} of {len(counted)} healthy, {'at least' if available else 'below'} {threshold:.0%}"
        if counted
        else "every weight is 0",
        instances=tuple(
            InstancePlan(
                instance=instance,
                health=health,
                available=instance.weight > 0 and health in answered,
                reason=reason if instance.weight > 0 else "weight 0",
            )
            for instance, health, reason in judged
        ),
    )
