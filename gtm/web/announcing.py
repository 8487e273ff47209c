"""Announcements as metrics."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from gtm.model.announcing import AnnouncerReport, RouteReport
from gtm.model.anycast import Phase
from gtm.web.status import AnnouncementsStatus

Samples = Iterable[tuple[tuple[str, ...], float]]


def announcement_metrics(told: AnnouncementsStatus) -> Iterator[Metric]:
    """The metric families of this machine's announcer."""
    yield _gauge(
        "gtm_announce_up", "1 if the announcer has said something within its lease.", [((), float(told.alive))]
    )
    age_s = math.inf if told.age_s is None else told.age_s
    yield _gauge("gtm_announce_report_age_seconds", "Seconds since the announcer said something.", [((), age_s)])
    yield _gauge(
        "gtm_announce_bfd_up",
        "1 if the BFD session with the neighbour is up.",
        [((str(one.peer),), float(one.up is True)) for one in told.bfd],
        ("neighbour",),
    )
    if told.report is not None:
        yield from _services(told.report)
        yield from _routes(told.report)
        yield from _announcer(told.report)


def _services(report: AnnouncerReport) -> Iterator[Metric]:
    yield _gauge(
        "gtm_announce_phase",
        "1 for the state that the service's announcement is in, 0 for the others.",
        [((service.name, str(phase)), float(service.phase is phase)) for service in report.services for phase in Phase],
        ("service", "phase"),
    )
    yield _gauge(
        "gtm_announce_phase_since_timestamp_seconds",
        "Since when the service's announcement is in its state, seconds since the epoch.",
        [((service.name,), service.since_s) for service in report.services],
        ("service",),
    )
    yield _gauge(
        "gtm_announce_damping_penalty",
        "What flap damping has against the service; above guard.damping.suppress it is not announced anew.",
        [((service.name,), service.penalty) for service in report.services],
        ("service",),
    )
    yield _gauge(
        "gtm_announce_connections",
        "Connections to the service's addresses, where they are counted.",
        [((one.name,), float(one.connections)) for one in report.services if one.connections is not None],
        ("service",),
    )
    yield _gauge(
        "gtm_announce_warnings",
        "Warnings about the service's announcement, as of RPKI.",
        [((service.name,), float(len(service.warnings))) for service in report.services],
        ("service",),
    )


def _routes(report: AnnouncerReport) -> Iterator[Metric]:
    facts = [
        (route.service, str(route.neighbour), fact, value)
        for route in report.routes
        for fact, value in _facts(route)
        if value is not None
    ]
    keys = dict.fromkeys((service, neighbour, fact) for service, neighbour, fact, _ in facts)
    yield _gauge(
        "gtm_announce_routes",
        "Routes of the service to the neighbour, by fact: wished, accepted, on_wire, seen; without those not known.",
        [(key, float(sum(one[3] for one in facts if one[:3] == key))) for key in keys],
        ("service", "neighbour", "fact"),
    )
    yield _gauge(
        "gtm_announce_session_up",
        "1 if the BGP session with the neighbour is up.",
        [((str(one.address),), float(one.up is True)) for one in report.neighbours],
        ("neighbour",),
    )
    yield _counter(
        "gtm_announce_session_changes",
        "How often the BGP session with the neighbour came up or went down.",
        [((str(one.address),), float(one.changes)) for one in report.neighbours],
        ("neighbour",),
    )


def _facts(route: RouteReport) -> Iterator[tuple[str, bool | None]]:
    yield "wished", route.wished is not None
    yield "accepted", None if route.wished is None else route.accepted
    yield "on_wire", route.on_wire
    yield "seen", route.seen


def _announcer(report: AnnouncerReport) -> Iterator[Metric]:
    if report.store is not None:
        yield _gauge(
            "gtm_announce_store_up",
            "1 if what the shared store says of other speakers is complete and confirmed.",
            [((), float(report.store))],
        )
    if report.controller_age_s is not None:
        yield _gauge(
            "gtm_announce_controller_age_seconds",
            "Seconds since the controller that the announcer follows gave a sign of life.",
            [((), report.controller_age_s)],
        )
    yield _counter(
        "gtm_announce_events",
        "What the announcer counted since it started, by kind.",
        [((kind,), float(count)) for kind, count in sorted(report.counters.items())],
        ("kind",),
    )


def _gauge(name: str, text: str, samples: Samples, labels: tuple[str, ...] = ()) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in samples:
        family.add_metric(key, value)
    return family


def _counter(name: str, text: str, samples: Samples, labels: tuple[str, ...] = ()) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in samples:
        family.add_metric(key, value)
    return family
