"""The balancer in what `gtm status` prints."""

from __future__ import annotations

from collections.abc import Iterator

from gtm.app.columns import Paint, clean, columns, duration
from gtm.model.balancing import BackendCounts, BackendReport, BalancerCounts, ServiceReport, Standing, Traffic
from gtm.model.health import Health
from gtm.web.status import BalancerStatus

VIP_HEADS = ("VIP", "PORT", "PACKETS", "NEW FLOWS", "BYTES")
PAINTS = {Standing.ACTIVE: Health.UP, Standing.DRAINING: Health.DRAINING, Standing.OUT: Health.DOWN}


def balancer_text(told: BalancerStatus, now_s: float, paint: Paint) -> Iterator[str]:
    """Its lines, the head first."""
    yield (
        paint("balancer", None)
        + f" {told.node} in {told.region}, XDP on {told.interface} ({told.mode}), {_state(told)}"
    )
    for service in told.services:
        yield f"  {service.name}: table {service.generation}, {service.moving} of {service.slots} rows in transition"
        yield from columns(
            [_row(each, told.counts, now_s, paint) for each in service.backends],
            heads=("BACKEND", "ADDRESS", "BY", "STANDING", "PACKETS", "NEW FLOWS", "WHY"),
            indent=4,
        )
        if vips := list(_vips(service, told.counts)):
            yield from columns(vips, heads=VIP_HEADS, indent=4)
    if told.counts is not None:
        yield f"  {_sums(told.counts)}"
    if told.peers:
        yield from columns(
            (
                (
                    peer.node,
                    "in sync" if peer.complete else "joining" if peer.established else "not heard of",
                    "" if peer.heard_s is None else f"{duration(peer.heard_s)} ago",
                )
                for peer in told.peers
            ),
            heads=("PEER", "STATE", "HEARD OF"),
        )


def _state(told: BalancerStatus) -> str:
    if told.age_s is None:
        return "no manager has run here"
    if not told.pid:
        return "its manager has ended"
    alive = f"manager {'alive' if told.alive else 'silent'}, pid {told.pid}, heard of {duration(told.age_s)} ago"
    return f"{alive}, {'ready' if told.ready else 'not ready'}"


def _row(each: BackendReport, counts: BalancerCounts | None, now_s: float, paint: Paint) -> tuple[str, ...]:
    counted = BackendCounts() if counts is None else counts.backends.get(each.number, BackendCounts())
    until = "" if each.until_s is None else f"{duration(max(0.0, each.until_s - now_s))} left; "
    return (
        each.name,
        str(each.address),
        str(each.wrap),
        paint(str(each.standing), PAINTS[each.standing]),
        str(counted.packets),
        str(counted.opened),
        until + clean(each.reason),
    )


def _vips(service: ServiceReport, counts: BalancerCounts | None) -> Iterator[tuple[str, ...]]:
    """What came for the service's ports; for what has none, if there was any."""
    for each in () if counts is None else counts.vips:
        if each.ring == service.ring and (each.traffic is Traffic.PORT or each.packets):
            yield str(each.address), each.name, str(each.packets), str(each.opened), str(each.bytes)


def _sums(counts: BalancerCounts) -> str:
    dropped = sum(each.packets for each in counts.dropped.values())
    sent = sum(each.packets for name, each in counts.verdicts.items() if name.startswith("TX_"))
    table = f"flow table {counts.flows} of {counts.flow_places}"
    return f"{sent} packets sent on or answered, {dropped} dropped by the guard; {table}"
