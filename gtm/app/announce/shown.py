"""The announcer of this machine for those who show it: its report, BFD beside it, and what somebody should look at."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from gtm.app.announce import report as reports
from gtm.app.announce.bfd import read_sessions
from gtm.app.columns import duration
from gtm.model.announcing import AnnouncerReport, NeighbourReport, RouteReport
from gtm.model.anycast import Phase, Speaker
from gtm.model.deployment import Deployment
from gtm.model.errors import StoreError
from gtm.web.status import AnnouncementsStatus

GRACE_S = 2.0  # beyond its lease: it writes a report seldomer than it renews


def announcements_of(state: Path, deployment: Deployment | None) -> AnnouncementsStatus | None:
    """The announcer's status; None where this node is no speaker and no announcer has run here."""
    speaker = speaker_of(deployment)
    try:
        report = reports.load(state)
    except StoreError:
        return None if speaker is None else AnnouncementsStatus(report=None)
    age_s = max(0.0, time.time() - report.at_s)
    told = AnnouncementsStatus(report=report, age_s=age_s, alive=bool(report.pid) and age_s <= report.ttl_s + GRACE_S)
    if speaker is None or not any(one.bfd for one in speaker.neighbours):
        return told
    peers = {one.address for one in speaker.neighbours}
    found = read_sessions()
    return AnnouncementsStatus(
        report=told.report,
        age_s=told.age_s,
        alive=told.alive,
        bfd=tuple(one for one in found.sessions if one.peer in peers),
        bfd_problem=found.problem,
    )


def speaker_of(deployment: Deployment | None) -> Speaker | None:
    """The speaker that a deployment's node is."""
    if deployment is None or deployment.anycast is None:
        return None
    return deployment.anycast.speakers.get(deployment.node.name)


def announcement_problems(told: AnnouncementsStatus) -> Iterator[str]:
    """What somebody should look at, in a sentence each."""
    report = told.report
    if report is None:
        yield "this node is a speaker of bgp/anycast.yaml, and no announcer has run here (docs/announcing.md)"
        return
    if not report.pid:
        yield "the announcer has ended: nothing is announced from here"
        return
    if not told.alive:
        ago = "" if told.age_s is None else f" for {duration(told.age_s)}"
        yield f"the announcer has said nothing{ago}: what it announced is withdrawn by its lease"
    if report.problem is not None:
        yield f"the announcer: {report.problem}"
    for service in report.services:
        if service.phase is Phase.HELD:
            yield f"announcement of {service.name} is HELD: {service.reason}"
        if service.suppressed:
            yield f"announcement of {service.name} is damped: it fell too often"
        yield from (f"announcement of {service.name}: {warning}" for warning in service.warnings)
        away = [str(address) for address, there in service.present.items() if service.announcing and not there]
        if away:
            yield f"{service.name} is announced, but its addresses are not here: {', '.join(away)}"
    yield from _sessions(report)
    if told.bfd_problem is not None:
        yield f"BFD: {told.bfd_problem}"
    yield from (f"BFD with {one.peer} is not up" for one in told.bfd if one.up is False)


def _sessions(report: AnnouncerReport) -> Iterator[str]:
    for one in report.neighbours:
        if one.up is False:
            yield f"the BGP session with {one.name} ({one.address}) is down{_why(one)}"
    for route in report.routes:
        if route.accepted is False:
            yield f"ExaBGP refused {route.prefix} to {route.neighbour}"
        elif route.on_wire is False and route.wished is not None and _up(report, route):
            yield f"{route.prefix} is to be announced to {route.neighbour}, and is not in the Adj-RIB-Out"
        elif route.seen is False and route.wished is not None and route.on_wire:
            yield f"{route.neighbour} does not have {route.prefix}, which it was told of ({route.seen_by})"


def _up(report: AnnouncerReport, route: RouteReport) -> bool:
    return any(one.up for one in report.neighbours if one.address == route.neighbour)


def _why(one: NeighbourReport) -> str:
    return "" if one.reason is None else f": {one.reason}"
