"""`gtm balance top`: what goes to which backend now, by the kernel's counters and the names in the manager's report."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gtm.app.balance import standing
from gtm.app.columns import columns, duration
from gtm.app.folders import state_folder
from gtm.model.balancing import (
    Amount,
    BackendCounts,
    BackendReport,
    BalancerCounts,
    BalancerReport,
    ServiceReport,
    Traffic,
    VipCounts,
)
from gtm.model.errors import GtmError, PublishError, StoreError
from gtm.publish.dataplane.pins import Pins
from gtm.publish.dataplane.readings import Readings
from gtm.web.document import as_object

VIP_HEADS = ("VIP", "PORT", "PACKETS/S", "BIT/S", "NEW/S", "CLOSED/S", "PACKETS", "BYTES")
HEADS = ("BACKEND", "STANDING", "SHARE", "PACKETS/S", "BIT/S", "NEW/S", "CLOSED/S", "FLOWS", "PACKETS", "BYTES")
Counts = BackendCounts | VipCounts
SILENT_S = 5.0  # a manager says something each second


@dataclass(frozen=True, slots=True, kw_only=True)
class TopRates:
    """Of the interval, a second: packets, octets, SYNs, and packets with FIN or RST."""

    packets_per_s: float
    bytes_per_s: float
    opened_per_s: float
    closed_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TopBackend:
    """A backend: what it had since its number was first used, and in the interval; its `share` of all packets then."""

    name: str
    number: int
    standing: str
    share: float
    counts: BackendCounts
    rates: TopRates


@dataclass(frozen=True, slots=True, kw_only=True)
class TopVip:
    """A port of a VIP: what came for it since it was first balanced, and in the interval."""

    counts: VipCounts
    rates: TopRates


@dataclass(frozen=True, slots=True, kw_only=True)
class TopService:
    """A service: the sums of its backends, and its table: `generation`, and `moving` of its `slots` in transition.

    `vips` are the ports of its VIPs, with what came for them, sent on or not.
    """

    name: str
    ring: int
    generation: int
    slots: int
    moving: int
    counts: BackendCounts
    rates: TopRates
    backends: tuple[TopBackend, ...]
    vips: tuple[TopVip, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TopReason:
    """Packets of a verdict or of a rule of the guard."""

    packets: int
    bytes: int
    packets_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Top:
    """Everything at `at_s`, rates over the `interval_s` before. `alive`: a manager follows; else names are its last.

    `verdicts`, `dropped` and `would_drop` are without those that never were. `flows` of `flow_places` are taken.
    """

    node: str
    interface: str
    at_s: float
    interval_s: float
    alive: bool
    services: tuple[TopService, ...]
    verdicts: Mapping[str, TopReason]
    dropped: Mapping[str, TopReason]
    would_drop: Mapping[str, TopReason]
    flows: int
    flows_closed: int
    flow_places: int
    events_told: int
    events_lost: int


def follow(folder: Path, *, pins: Path, interval_s: float) -> Iterator[Top]:
    """A reading after each interval, without end. Raises GtmError."""
    state, readings = state_folder(folder), _open(pins)
    before = readings.read(_numbers(_report(state)), time.time())
    while True:
        time.sleep(interval_s)
        report = _report(state)
        now = readings.read(_numbers(report), time.time())
        yield top(report, before, now)
        before = now


def top(report: BalancerReport, before: BalancerCounts, now: BalancerCounts) -> Top:
    """What two readings come to."""
    interval_s = max(now.at_s - before.at_s, 1e-9)
    return Top(
        node=report.node,
        interface=report.interface,
        at_s=now.at_s,
        interval_s=interval_s,
        alive=bool(report.pid) and now.at_s - report.at_s <= SILENT_S,
        services=tuple(_service(each, before, now, interval_s) for each in report.services),
        verdicts=_reasons(before.verdicts, now.verdicts, interval_s),
        dropped=_reasons(before.dropped, now.dropped, interval_s),
        would_drop=_reasons(before.would_drop, now.would_drop, interval_s),
        flows=now.flows,
        flows_closed=now.flows_closed,
        flow_places=now.flow_places,
        events_told=now.events_told,
        events_lost=now.events_lost,
    )


def top_document(found: Top) -> dict[str, object]:
    """A reading, as JSON."""
    return as_object(found)


def top_text(found: Top) -> str:
    """A reading, in lines."""
    return "\n".join(_lines(found))


def _open(pins: Path) -> Readings:
    try:
        return Readings(Pins(pins))
    except PermissionError as error:
        raise PublishError("not permitted: it needs root", target=str(pins), change="look") from error
    except OSError as error:
        raise PublishError(error.strerror or str(error), target=str(pins), change="look") from error


def _report(state: Path) -> BalancerReport:
    try:
        return standing.load(state)
    except StoreError as error:
        raise GtmError(f"no `gtm balance run` has left a report, which has the names of backends: {error}") from error


def _numbers(report: BalancerReport) -> Iterator[int]:
    return (each.number for service in report.services for each in service.backends)


def _service(report: ServiceReport, before: BalancerCounts, now: BalancerCounts, interval_s: float) -> TopService:
    numbers = [each.number for each in report.backends]
    total = _sum(now.backends[number] for number in numbers)
    earlier = _sum(before.backends.get(number, now.backends[number]) for number in numbers)
    rates = _rates(earlier, total, interval_s)
    known = {(each.address, each.name): each for each in before.vips}
    return TopService(
        name=report.name,
        ring=report.ring,
        generation=report.generation,
        slots=report.slots,
        moving=report.moving,
        counts=total,
        rates=rates,
        backends=tuple(_backend(each, before, now, interval_s, rates.packets_per_s) for each in report.backends),
        vips=tuple(
            TopVip(counts=each, rates=_rates(known.get((each.address, each.name), each), each, interval_s))
            for each in now.vips
            if each.ring == report.ring
        ),
    )


def _backend(
    report: BackendReport, before: BalancerCounts, now: BalancerCounts, interval_s: float, whole_per_s: float
) -> TopBackend:
    counts = now.backends[report.number]
    rates = _rates(before.backends.get(report.number, counts), counts, interval_s)
    return TopBackend(
        name=report.name,
        number=report.number,
        standing=str(report.standing),
        share=rates.packets_per_s / whole_per_s if whole_per_s else 0.0,
        counts=counts,
        rates=rates,
    )


def _sum(counts: Iterator[BackendCounts]) -> BackendCounts:
    every = tuple(counts)
    return BackendCounts(
        packets=sum(each.packets for each in every),
        bytes=sum(each.bytes for each in every),
        opened=sum(each.opened for each in every),
        closed=sum(each.closed for each in every),
        flows=sum(each.flows for each in every),
    )


def _rates(before: Counts, now: Counts, interval_s: float) -> TopRates:
    """Those whose number was given to another meanwhile have begun anew."""
    return TopRates(
        packets_per_s=max(0, now.packets - before.packets) / interval_s,
        bytes_per_s=max(0, now.bytes - before.bytes) / interval_s,
        opened_per_s=max(0, now.opened - before.opened) / interval_s,
        closed_per_s=max(0, now.closed - before.closed) / interval_s,
    )


def _reasons(before: Mapping[str, Amount], now: Mapping[str, Amount], interval_s: float) -> dict[str, TopReason]:
    return {
        name: TopReason(
            packets=amount.packets,
            bytes=amount.bytes,
            packets_per_s=(amount.packets - before[name].packets) / interval_s if name in before else 0.0,
        )
        for name, amount in now.items()
        if amount.packets
    }


def _lines(found: Top) -> Iterator[str]:
    follows = "" if found.alive else ", no manager follows"
    yield f"{found.node}: {found.interface}, rates over {duration(found.interval_s)}{follows}"
    for service in found.services:
        rates = service.rates
        yield ""
        yield (
            f"{service.name}: {figure(rates.packets_per_s)} packets/s, {figure(rates.bytes_per_s * 8)}bit/s, "
            f"{figure(rates.opened_per_s)} new/s; table {service.generation}, "
            f"{service.moving} of {service.slots} rows in transition"
        )
        yield from columns(
            [_row(each) for each in service.backends],
            heads=HEADS,
        )
        vips = [_vip_row(each) for each in service.vips if _is_shown(each)]
        if vips:
            yield ""
            yield from columns(vips, heads=VIP_HEADS)
    yield ""
    yield f"flow table: {found.flows} of {found.flow_places} places taken, {found.flows_closed} by flows that ended"
    if found.events_told or found.events_lost:
        yield f"told to state sync: {found.events_told}, lost: {found.events_lost}"
    for title, reasons in (("verdicts", found.verdicts), ("dropped", found.dropped), ("would drop", found.would_drop)):
        if reasons:
            yield f"{title}:"
            yield from columns(
                (name, f"{figure(each.packets_per_s)}/s", str(each.packets)) for name, each in reasons.items()
            )


def _row(each: TopBackend) -> tuple[str, ...]:
    return (
        each.name,
        each.standing,
        f"{each.share:.1%}",
        figure(each.rates.packets_per_s),
        figure(each.rates.bytes_per_s * 8),
        figure(each.rates.opened_per_s),
        figure(each.rates.closed_per_s),
        str(each.counts.flows),
        figure(each.counts.packets),
        figure(each.counts.bytes),
    )


def _is_shown(each: TopVip) -> bool:
    """Ports always; what has none once there was any of it."""
    return each.counts.traffic is Traffic.PORT or bool(each.counts.packets)


def _vip_row(each: TopVip) -> tuple[str, ...]:
    return (
        str(each.counts.address),
        each.counts.name,
        figure(each.rates.packets_per_s),
        figure(each.rates.bytes_per_s * 8),
        figure(each.rates.opened_per_s),
        figure(each.rates.closed_per_s),
        figure(each.counts.packets),
        figure(each.counts.bytes),
    )


def figure(value: float) -> str:
    """A number in three digits or so: 0, 12, 3.4 k, 5.6 M."""
    for unit in ("", " k", " M", " G"):
        if value < 1000:
            return f"{value:.0f}{unit}" if not unit or value >= 100 else f"{value:.1f}{unit}"
        value /= 1000
    return f"{value:.1f} T"
