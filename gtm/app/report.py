"""A node's View -> its Status: the same facts for `gtm status`, the API, the page and the metrics."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import maxminddb

from gtm import __version__
from gtm.app.announce.shown import announcement_problems, announcements_of
from gtm.app.balance.shown import balancer_of, balancer_problems
from gtm.app.folders import state_folder
from gtm.app.load_text import load_problems
from gtm.app.view import View, read_view
from gtm.decide.plan import active
from gtm.model.check import Target
from gtm.model.cluster import ClusterState
from gtm.model.deployment import Deployment
from gtm.model.errors import GtmError
from gtm.model.health import Judgement
from gtm.model.plan import InstancePlan, Plan, PoolPlan, RegionPlan
from gtm.model.pool import Pool
from gtm.publish.dns.manifest import FILE as MANIFEST
from gtm.publish.dns.manifest import FOLDER as TABLES
from gtm.web.document import as_object
from gtm.web.healthz import TABLE_AGE_MAX_S
from gtm.web.status import (
    AnnouncementsStatus,
    BalancerStatus,
    ControllerStatus,
    DatabaseStatus,
    InstanceStatus,
    PoolRegionStatus,
    PoolStatus,
    RegionStatus,
    Status,
    TableStatus,
    WorkerStatus,
)

STALE_SHOWN_MAX = 3


def status_of_folder(folder: Path) -> Status:
    """The status of the node of a deployment folder. Raises GtmError, also where nothing has been published there."""
    state = state_folder(folder)
    if not (state / TABLES / MANIFEST).exists():
        announcements, balancer = announcements_of(state, None), balancer_of(state, None)
        if announcements is not None and announcements.report is not None:
            return _alone(announcements.report.node, announcements.report.region, announcements, balancer)
        if balancer is not None:
            return _alone(balancer.node, balancer.region, None, balancer)
        raise GtmError(f"no node has published anything into {state} yet; `gtm serve -C {folder}` starts one")
    return status_of(read_view(state))


def status_of(view: View) -> Status:
    """The status that a view shows."""
    plan, snapshot, deployment = view.decision.plan, view.decision.snapshot, view.deployment
    age_s = view.age_s if math.isfinite(view.age_s) else None
    status = Status(
        node=deployment.node.name,
        region=deployment.node.region,
        version=__version__,
        now_s=time.time(),
        controller=ControllerStatus(
            alive=view.controller_pid is not None, pid=view.controller_pid, heartbeat_age_s=age_s
        ),
        table=TableStatus(revision=view.manifest.revision, age_s=age_s),
        workers=tuple(
            WorkerStatus(name=w.name, pid=w.pid, alive=w.alive, revision=w.revision, counters=w.counters)
            for w in view.workers
        ),
        regions=regions_of(deployment, plan),
        pools=pools_of(deployment, plan, snapshot.judgements),
        overrides=active(snapshot),
        databases=databases_of(Path(view.facts.folder), deployment),
        probes=view.facts.probes,
        faults={str(target): why for target, why in view.facts.faults.items()},
        cluster=view.facts.cluster,
        load=view.facts.loads,
        rtt=view.facts.rtt,
        announcements=announcements_of(view.state, deployment),
        balancer=balancer_of(view.state, deployment),
        reload_problem=view.facts.problem,
    )
    return replace(status, problems=problems_of(status))


def _alone(
    node: str, region: str, announcements: AnnouncementsStatus | None, balancer: BalancerStatus | None
) -> Status:
    """The status of a node that announces or balances, and on which no controller has published anything."""
    status = Status(
        node=node,
        region=region,
        version=__version__,
        now_s=time.time(),
        controller=ControllerStatus(alive=False),
        table=None,
        workers=(),
        regions=(),
        pools=(),
        overrides=(),
        databases=(),
        announcements=announcements,
        balancer=balancer,
    )
    return replace(status, problems=tuple(_beside(announcements, balancer)))


def regions_of(deployment: Deployment, plan: Plan) -> tuple[RegionStatus, ...]:
    """The regions with how many of the pools there can be answered from them."""
    return tuple(
        RegionStatus(
            name=region.name,
            coordinates=region.coordinates,
            share=region.share,
            pools_available=sum(part.available for part in _parts(plan, region.name)),
            pools_total=sum(1 for _ in _parts(plan, region.name)),
        )
        for region in deployment.regions.values()
    )


def _parts(plan: Plan, region: str) -> Iterable[RegionPlan]:
    return (pool.regions[region] for pool in plan.pools.values() if region in pool.regions)


def pools_of(deployment: Deployment, plan: Plan, judgements: Mapping[Target, Judgement]) -> tuple[PoolStatus, ...]:
    """Every pool with the names that use it."""
    names: dict[str, list[str]] = {}
    for name in deployment.names:
        names.setdefault(name.pool, []).append(name.owner)
    return tuple(
        _pool(pool, plan.pools[pool.name], tuple(names.get(pool.name, ())), judgements)
        for pool in deployment.pools.values()
    )


def _pool(pool: Pool, planned: PoolPlan, names: tuple[str, ...], judgements: Mapping[Target, Judgement]) -> PoolStatus:
    return PoolStatus(
        name=pool.name,
        names=names,
        all_down=planned.all_down,
        regions=tuple(
            PoolRegionStatus(
                region=part.region,
                available=part.available,
                healthy=part.healthy,
                total=part.total,
                reason=part.reason,
                instances=tuple(_instance(pool, one, judgements) for one in part.instances),
            )
            for part in planned.regions.values()
        ),
    )


def _instance(pool: Pool, planned: InstancePlan, judgements: Mapping[Target, Judgement]) -> InstanceStatus:
    target = pool.target(planned.instance)
    judged = None if target is None else judgements.get(target, Judgement())
    return InstanceStatus(
        label=planned.instance.label,
        weight=planned.instance.weight,
        health=planned.health,
        available=planned.available,
        reason=planned.reason,
        target=target,
        judged=None if judged is None else judged.health,
        since_s=None if judged is None else judged.since_s or None,
        streak=0 if judged is None else judged.streak,
        last=None if judged is None else judged.last,
        stale=judged is not None and judged.stale,
        votes=() if judged is None else judged.votes,
    )


def databases_of(folder: Path, deployment: Deployment) -> tuple[DatabaseStatus, ...]:
    """The deployment's geo databases, with what they say of themselves: it names those whom their licence asks to."""
    return tuple(_database(folder, name) for name in deployment.node.geo)


def _database(folder: Path, name: str) -> DatabaseStatus:
    try:
        with maxminddb.open_database(folder / name) as reader:
            about = reader.metadata()
    except (OSError, ValueError, maxminddb.InvalidDatabaseError):  # replaced just now, or by something else
        return DatabaseStatus(file=name, attribution="cannot be read now")
    said = about.description.get("en") or about.database_type
    return DatabaseStatus(file=name, attribution=said, built_s=float(about.build_epoch))


def problems_of(status: Status) -> tuple[str, ...]:
    """Everything in a status that somebody should look at, in a sentence each."""
    return tuple(_problems(status))


def _problems(status: Status) -> Iterable[str]:
    if not status.controller.alive:
        yield "no controller is running: health and orders are not followed, answers stay as they are"
    table = status.table
    if table is None:
        yield "no answers have been published"
    elif table.age_s is None or table.age_s > TABLE_AGE_MAX_S:
        yield "nobody has confirmed the answers for a long time"
    dead = [worker.name for worker in status.workers if not worker.alive]
    if dead or not status.workers:
        yield f"workers are not running: {', '.join(dead) or 'none was ever started'}"
    for pool in status.pools:
        if pool.all_down:
            yield f"pool {pool.name} has no available region: the all_down rule decides"
    yield from _unseen(status)
    if status.cluster is not None:
        yield from _cluster(status.node, status.cluster)
    if status.load is not None:
        yield from load_problems(status.load)
    if status.rtt is not None:
        yield from (f"round-trip times: {why}" for why in status.rtt.problems.values())
    yield from _beside(status.announcements, status.balancer)
    if status.reload_problem is not None:
        yield f"the last reload changed nothing, because:\n{status.reload_problem}"


def _beside(announcements: AnnouncementsStatus | None, balancer: BalancerStatus | None) -> Iterable[str]:
    """What is wrong with the other daemons of this machine."""
    if announcements is not None:
        yield from announcement_problems(announcements)
    if balancer is not None:
        yield from balancer_problems(balancer)


def _unseen(status: Status) -> Iterable[str]:
    """What says that targets are not seen as they should be."""
    stale = sorted({str(one.target) for one in _instances(status) if one.stale})
    if stale:
        more = f" and {len(stale) - STALE_SHOWN_MAX} more" if len(stale) > STALE_SHOWN_MAX else ""
        yield f"not checked lately, so that an old verdict stands: {', '.join(stale[:STALE_SHOWN_MAX])}{more}"
    for why in sorted(set(status.faults.values())):
        count = sum(each == why for each in status.faults.values())
        yield f"{count} target{'s' if count > 1 else ''} cannot be checked from here: {why}"


def _cluster(own: str, cluster: ClusterState) -> Iterable[str]:
    if not cluster.connected:
        yield f"the shared store cannot be reached ({cluster.problem or 'not yet'}): this node decides alone"
    here = next((node.deployment for node in cluster.nodes if node.name == own), None)
    for node in cluster.nodes:
        if not node.fresh:
            yield f"node {node.name} has not been heard of for {node.heard_s_ago:.0f} s"
        elif node.cut_off:
            yield f"node {node.name} sees {node.down} of {node.targets} targets down: it is taken to be cut off itself"
        elif here is not None and node.deployment not in (None, here):
            yield f"node {node.name} runs another deployment ({node.deployment}, here {here})"


def _instances(status: Status) -> Iterable[InstanceStatus]:
    return (one for pool in status.pools for part in pool.regions for one in part.instances)


def status_document(status: Status) -> dict[str, object]:
    """The status as JSON: the body of /api/v1/status."""
    return as_object(status)
