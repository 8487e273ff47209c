"""The announcements in what `gtm status` prints."""

from __future__ import annotations

from collections.abc import Iterator

from gtm.app.columns import Paint, clean, columns, duration
from gtm.model.announcing import AnnouncerReport, NeighbourReport, RouteReport, ServiceReport
from gtm.model.anycast import Phase
from gtm.model.health import Health
from gtm.web.status import AnnouncementsStatus, BfdStatus

PAINTS = {
    Phase.UP: Health.UP,
    Phase.DOWN: Health.DOWN,
    Phase.HELD: Health.DOWN,
    Phase.DRAINING: Health.DRAINING,
    Phase.DRAINED: Health.DRAINING,
}


def announcements_text(told: AnnouncementsStatus, now_s: float, paint: Paint) -> Iterator[str]:
    """Its lines, the head first."""
    report = told.report
    if report is None:
        yield paint("announcements", None) + " no announcer has run here"
        return
    yield paint("announcements", None) + f" by {report.node} in {report.region}, {_state(told, report)}"
    yield from _services(report, now_s, paint)
    yield from columns(
        (_neighbour(one, told, now_s) for one in report.neighbours),
        heads=("NEIGHBOUR", "ADDRESS", "AS", "SESSION", "SINCE", "BFD"),
    )


def _state(told: AnnouncementsStatus, report: AnnouncerReport) -> str:
    if not report.pid:
        return "ended"
    ago = "" if told.age_s is None else f", heard of {duration(told.age_s)} ago"
    alive = f"announcer {'alive' if told.alive else 'silent'}, pid {report.pid}{ago}"
    store = {None: "no shared store", True: "shared store connected", False: "shared store away"}[report.store]
    pulse = report.controller_age_s
    controller = "no controller followed" if pulse is None else f"controller's pulse {duration(pulse)} ago"
    return f"{alive}, {store}, {controller}"


def _services(report: AnnouncerReport, now_s: float, paint: Paint) -> Iterator[str]:
    rows = [
        (
            service.name,
            str(service.phase),
            duration(max(0.0, now_s - service.since_s)),
            routes_text(tuple(one for one in report.routes if one.service == service.name)),
            _ladder(service),
            clean(service.reason),
        )
        for service in report.services
    ]
    heads, *lines = columns(rows, heads=("SERVICE", "STATE", "SINCE", "ROUTES", "LADDER", "WHY"))
    yield heads
    for line, service in zip(lines, report.services, strict=True):
        word = str(service.phase)
        yield line.replace(f" {word} ", f" {paint(word, PAINTS.get(service.phase))} ", 1)


def routes_text(routes: tuple[RouteReport, ...]) -> str:
    """The four facts of some routes, apart: how many are wished, accepted, on the wire, and seen by their peers."""
    wished = [one for one in routes if one.wished is not None]
    left = sum(one.wished is None and bool(one.on_wire) for one in routes)
    facts = [f"{len(wished)} wished"]
    for word, values in (
        ("accepted", [one.accepted for one in wished]),
        ("on the wire", [one.on_wire for one in wished]),
        ("seen", [one.seen for one in wished]),
    ):
        facts.append(f"{_count(values)} {word}")
    return ", ".join(facts) + (f", {left} still on the wire" if left else "")


def _count(values: list[bool | None]) -> str:
    return "?" if values and all(value is None for value in values) else str(sum(value is True for value in values))


def _ladder(service: ServiceReport) -> str:
    if service.rung is None:
        return "-"
    if not service.rungs_left:
        return service.rung
    eta = "" if service.eta_s is None else f" in {duration(service.eta_s)} at most"
    return f"{service.rung}, then {', '.join(service.rungs_left)}{eta}"


def _neighbour(one: NeighbourReport, told: AnnouncementsStatus, now_s: float) -> tuple[str, ...]:
    return (
        one.name,
        str(one.address),
        str(one.asn),
        {None: "not heard of", True: "up", False: "down"}[one.up],
        "-" if one.since_s is None else duration(max(0.0, now_s - one.since_s)),
        bfd_text(next((each for each in told.bfd if each.peer == one.address), None)),
    )


def bfd_text(session: BfdStatus | None) -> str:
    """A BFD session in a few words."""
    if session is None:
        return "-"
    state = {None: "unknown", True: "up", False: "down"}[session.up]
    pace = "" if session.transmit_ms is None else f", {session.transmit_ms:g} ms"
    if session.multiplier is not None and pace:
        pace += f" x {session.multiplier}"
    elif session.timeout_ms is not None and pace:
        pace += f", given up after {session.timeout_ms:g} ms"
    return state + pace
