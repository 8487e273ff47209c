"""The balancer as metrics."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from gtm.model.balancing import BackendReport, BalancerCounts, ServiceReport, Standing
from gtm.web.status import BalancerStatus

Samples = Iterable[tuple[tuple[str, ...], float]]
BACKEND = ("service", "backend")
VIP = ("service", "vip", "port")


def balancer_metrics(told: BalancerStatus) -> Iterator[Metric]:
    """The metric families of this machine's balancer."""
    yield _gauge("gtm_balance_up", "1 if the balancer's manager has said something lately.", [((), float(told.alive))])
    age_s = math.inf if told.age_s is None else told.age_s
    yield _gauge(
        "gtm_balance_report_age_seconds", "Seconds since the balancer's manager said something.", [((), age_s)]
    )
    yield _gauge("gtm_balance_ready", "1 if the instance may attract traffic.", [((), float(told.ready))])
    yield from _tables(told.services)
    yield _gauge(
        "gtm_balance_peer_complete",
        "1 if all flows of the peer came by state sync.",
        [((peer.node,), float(peer.complete)) for peer in told.peers],
        ("peer",),
    )
    if told.counts is not None:
        yield from _backends(told.services, told.counts)
        yield from _vips(told.services, told.counts)
        yield from _reasons(told.counts)
        yield from _flows(told.counts)


def _tables(services: tuple[ServiceReport, ...]) -> Iterator[Metric]:
    yield _gauge(
        "gtm_balance_backend_standing",
        "1 for how the backend stands, 0 for the others.",
        [
            ((*key, str(standing)), float(each.standing is standing))
            for key, each in _named(services)
            for standing in Standing
        ],
        (*BACKEND, "standing"),
    )
    for name, text, value in (
        ("gtm_balance_table_generation", "How often the service's table was swapped.", "generation"),
        ("gtm_balance_table_slots", "Slots of the service's table.", "slots"),
        ("gtm_balance_table_slots_moving", "Slots of the service's table that are in transition.", "moving"),
    ):
        yield _gauge(name, text, [((each.name,), float(getattr(each, value))) for each in services], ("service",))


def _backends(services: tuple[ServiceReport, ...], counts: BalancerCounts) -> Iterator[Metric]:
    known = [(key, counts.backends[each.number]) for key, each in _named(services) if each.number in counts.backends]
    for name, text, value in (
        ("gtm_balance_packets", "Packets sent on to the backend.", "packets"),
        ("gtm_balance_bytes", "Octets of IP packets sent on to the backend, as they came.", "bytes"),
        ("gtm_balance_flows_opened", "SYNs sent on to the backend.", "opened"),
        ("gtm_balance_flows_closed", "Packets with FIN or RST sent on to the backend.", "closed"),
    ):
        yield _counter(name, text, [(key, float(getattr(each, value))) for key, each in known], BACKEND)
    yield _gauge(
        "gtm_balance_flows",
        "Flows of the backend in the flow table that have not been closed.",
        [(key, float(each.flows)) for key, each in known],
        BACKEND,
    )


def _vips(services: tuple[ServiceReport, ...], counts: BalancerCounts) -> Iterator[Metric]:
    names = {service.ring: service.name for service in services}
    known = [((names[each.ring], str(each.address), each.name), each) for each in counts.vips if each.ring in names]
    for name, text, value in (
        (
            "gtm_balance_vip_packets",
            "Packets that came from the guard for the port of the VIP, sent on or not.",
            "packets",
        ),
        ("gtm_balance_vip_bytes", "Octets of IP packets that came for the port of the VIP.", "bytes"),
        ("gtm_balance_vip_flows_opened", "SYNs that came for the port of the VIP.", "opened"),
        ("gtm_balance_vip_flows_closed", "Packets with FIN or RST that came for the port of the VIP.", "closed"),
    ):
        yield _counter(name, text, [(key, float(getattr(each, value))) for key, each in known], VIP)


def _reasons(counts: BalancerCounts) -> Iterator[Metric]:
    for name, text, label, amounts in (
        ("gtm_balance_verdicts", "Packets that the balancer saw, by what became of them.", "verdict", counts.verdicts),
        ("gtm_balance_guarded", "Packets that went on from the guard, by why.", "way", counts.guarded),
        ("gtm_balance_dropped", "Packets that the guard dropped, by rule.", "rule", counts.dropped),
        ("gtm_balance_would_drop", "Packets that rules match which only count.", "rule", counts.would_drop),
    ):
        yield _counter(name, text, [((key,), float(each.packets)) for key, each in amounts.items()], (label,))


def _flows(counts: BalancerCounts) -> Iterator[Metric]:
    yield _gauge("gtm_balance_flow_table_used", "Places of the flow table that are taken.", [((), float(counts.flows))])
    yield _gauge("gtm_balance_flow_table_places", "Places of the flow table.", [((), float(counts.flow_places))])
    yield _counter("gtm_balance_events", "Flows told to state sync.", [((), float(counts.events_told))])
    yield _counter(
        "gtm_balance_events_lost",
        "Flows not told to state sync, as nobody had read those before.",
        [((), float(counts.events_lost))],
    )


def _named(services: tuple[ServiceReport, ...]) -> Iterator[tuple[tuple[str, str], BackendReport]]:
    return (((service.name, each.name), each) for service in services for each in service.backends)


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
