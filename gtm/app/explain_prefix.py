"""Why a prefix is announced as it is: by whom, since when, with which attributes, and who has seen it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

from gtm.app.announce import report as reports
from gtm.app.announce.pops import Pops, read_pops
from gtm.app.announce.shown import GRACE_S, speaker_of
from gtm.app.announce.words import attributes_words, provider_of
from gtm.app.folders import state_folder
from gtm.config.deployment import ANYCAST_FILE, load
from gtm.model.address import IPNetwork
from gtm.model.announcing import AnnouncerReport, RouteReport, ServiceReport
from gtm.model.anycast import Anycast, Neighbour, Phase, Service
from gtm.model.deployment import Deployment
from gtm.model.errors import AskedError, GtmError, StoreError
from gtm.web.document import as_object


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedRoute:
    """The route to one neighbour: its attributes in words, and the four facts; None: not known."""

    neighbour: str
    address: str
    attributes: tuple[str, ...]
    wished: bool
    accepted: bool | None
    on_wire: bool | None
    seen: bool | None
    seen_by: str | None
    since_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedSpeaker:
    """A speaker of the service: what it told last through the store, or of itself; None where nothing was heard."""

    node: str
    region: str
    here: bool
    phase: Phase | None = None
    announcing: bool | None = None
    leaving: bool | None = None
    since_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedPrefix:
    """A prefix as it was asked for, what is declared (`declared`) that it is or lies in, and all that is known of it.

    `here`: what this machine's announcer says of the service, `live` if it says so within its lease; `permit`: which
    region may leave now. `notes` say what is not known, and why.
    """

    asked: IPNetwork
    declared: IPNetwork
    service: str
    prefixes: tuple[IPNetwork, ...]
    regions: tuple[str, ...]
    now_s: float
    live: bool
    here: ServiceReport | None
    routes: tuple[ExplainedRoute, ...]
    speakers: tuple[ExplainedSpeaker, ...]
    permit: str | None
    notes: tuple[str, ...]


def explain_prefix(folder: Path, text: str) -> ExplainedPrefix:
    """The explanation of a prefix, or of an address in one. Raises AskedError where none that is declared has it."""
    deployment = load(folder)
    anycast = deployment.anycast
    if anycast is None:
        raise GtmError(f"{folder / ANYCAST_FILE}: there is no such file, so nothing is announced")
    asked = _network(text)
    declared, service = _find(anycast, asked)
    now_s = time.time()
    report = _report(state_folder(folder))
    live = report is not None and bool(report.pid) and now_s - report.at_s <= report.ttl_s + GRACE_S
    pops = read_pops(deployment.node.cluster, folder)
    permit = pops.permits.get(service.name)
    return ExplainedPrefix(
        asked=asked,
        declared=declared,
        service=service.name,
        prefixes=service.prefixes,
        regions=service.regions,
        now_s=now_s,
        live=live,
        here=None if report is None else next((one for one in report.services if one.name == service.name), None),
        routes=tuple(_routes(deployment, anycast, report, service, declared)),
        speakers=tuple(_speakers(anycast, service, pops, report if live else None)),
        permit=None if permit is None else f"{permit.region} ({', '.join(permit.speakers)})",
        notes=tuple(_notes(deployment, service, report, pops, live=live)),
    )


def prefix_document(told: ExplainedPrefix) -> dict[str, object]:
    """An explanation as JSON."""
    return as_object(told)


def _network(text: str) -> IPNetwork:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise AskedError(f"{text[:80]!r} is no prefix and no address", argument="PREFIX") from None


def _find(anycast: Anycast, asked: IPNetwork) -> tuple[IPNetwork, Service]:
    """The longest declared prefix that has all of what was asked for, and its service."""
    declared = [(prefix, service) for service in anycast.services.values() for prefix in service.prefixes]
    covering = [
        (prefix, service)
        for prefix, service in declared
        if prefix.version == asked.version and asked.subnet_of(prefix)  # type: ignore[arg-type]  # of one version
    ]
    if not covering:
        raise AskedError(
            f"{asked} is not declared in {ANYCAST_FILE}",
            argument="PREFIX",
            known=[str(prefix) for prefix, _ in declared][:3],
        )
    return max(covering, key=lambda one: one[0].prefixlen)


def _report(state: Path) -> AnnouncerReport | None:
    try:
        return reports.load(state)
    except StoreError:
        return None


def _routes(
    deployment: Deployment, anycast: Anycast, report: AnnouncerReport | None, service: Service, prefix: IPNetwork
) -> Iterator[ExplainedRoute]:
    speaker = speaker_of(deployment)
    neighbours = {} if speaker is None else {one.address: one for one in speaker.neighbours}
    for route in () if report is None else report.routes:
        if route.service == service.name and route.prefix == prefix:
            neighbour = neighbours.get(route.neighbour)
            yield ExplainedRoute(
                neighbour=str(route.neighbour) if neighbour is None else neighbour.name,
                address=str(route.neighbour),
                attributes=_words(route, anycast, neighbour),
                wished=route.wished is not None,
                accepted=route.accepted,
                on_wire=route.on_wire,
                seen=route.seen,
                seen_by=route.seen_by,
                since_s=route.since_s,
            )


def _words(route: RouteReport, anycast: Anycast, neighbour: Neighbour | None) -> tuple[str, ...]:
    return () if route.wished is None else attributes_words(route.wished, provider_of(anycast, neighbour))


def _speakers(
    anycast: Anycast, service: Service, pops: Pops, report: AnnouncerReport | None
) -> Iterator[ExplainedSpeaker]:
    """All that may announce the service, as far as they were heard of; one that is not declared any more too."""
    declared = {one.node: one.region for one in anycast.speakers.values() if one.region in service.regions}
    heard = {node: one for node, one in pops.speakers.items() if service.name in one.services}
    own = None if report is None else next((one for one in report.services if one.name == service.name), None)
    for node in dict.fromkeys((*declared, *heard)):
        here = report is not None and report.node == node
        telling = heard.get(node)
        if telling is not None:
            told = telling.services[service.name]
            yield ExplainedSpeaker(
                node=node,
                region=telling.region,
                here=here,
                phase=told.phase,
                announcing=told.announcing,
                leaving=told.leaving,
                since_s=told.since_s,
            )
        elif here and own is not None:
            yield ExplainedSpeaker(
                node=node,
                region=declared[node],
                here=True,
                phase=own.phase,
                announcing=own.announcing,
                since_s=own.since_s,
            )
        else:
            yield ExplainedSpeaker(node=node, region=declared[node], here=here)


def _notes(
    deployment: Deployment, service: Service, report: AnnouncerReport | None, pops: Pops, *, live: bool
) -> Iterator[str]:
    if report is None:
        name = deployment.node.name
        is_one = speaker_of(deployment) is not None
        yield f"no announcer has run here ({name} is {'a speaker' if is_one else 'no speaker'})"
    elif not live:
        yield "the announcer here has ended or says nothing: what it announced is withdrawn by its lease"
    if pops.problem is not None:
        yield pops.problem
    if not service.withdraw_on_down:
        yield "it is not withdrawn when it is down, but announced as worth less"
