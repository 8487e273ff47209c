"""The balancer of this machine for those who show it: its manager's report, and what somebody should look at."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from gtm.app.balance import standing
from gtm.app.columns import duration
from gtm.model.balancing import BalancerReport
from gtm.model.deployment import Deployment
from gtm.model.errors import StoreError
from gtm.web.status import BalancerStatus

SILENT_S = 5.0  # a manager says something each second


def balancer_of(state: Path, deployment: Deployment | None) -> BalancerStatus | None:
    """The balancer's status; None where this node is no instance and no manager has run here."""
    try:
        return balancer_status(standing.load(state), time.time())
    except StoreError:
        dataplane = None if deployment is None else deployment.dataplane
        if deployment is None or dataplane is None:
            return None
        instance = dataplane.instances.get(deployment.node.name)
        if instance is None:
            return None
        return BalancerStatus(
            node=instance.node, region=instance.region, interface=instance.interface, mode=str(instance.mode)
        )


def balancer_status(report: BalancerReport, now_s: float) -> BalancerStatus:
    """What a report says at a moment."""
    age_s = max(0.0, now_s - report.at_s)
    return BalancerStatus(
        node=report.node,
        region=report.region,
        interface=report.interface,
        mode=str(report.mode),
        age_s=age_s,
        pid=report.pid,
        alive=bool(report.pid) and age_s <= SILENT_S,
        ready=report.ready,
        unready=report.unready,
        problem=report.problem,
        services=report.services,
        peers=report.peers,
        counts=report.counts,
    )


def balancer_problems(told: BalancerStatus) -> Iterator[str]:
    """What somebody should look at, in a sentence each."""
    if told.age_s is None:
        yield "this node is an instance of dataplane/services.yaml; no gtm balance run has run here (docs/dataplane.md)"
        return
    if not told.alive:
        why = f"says nothing for {duration(told.age_s)}" if told.pid else "has ended"
        yield f"the balancer's manager {why}: packets go on by the tables as they are, whatever happens to backends"
        return
    if not told.ready:
        yield f"the balancer is not ready: {told.unready}"
    if told.problem is not None:
        yield f"balancer: {told.problem}"
    for service in told.services:
        if service.backends and not any(each.standing == "active" for each in service.backends):
            yield f"balancer: {service.name} has no backend that takes new flows"
