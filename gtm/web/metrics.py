"""Status -> metrics in the Prometheus text format (0.0.4). Labels come from the deployment, never from clients."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from gtm.model.check import Target
from gtm.model.cluster import ClusterState
from gtm.model.health import Health, Result
from gtm.model.rtt import RttState
from gtm.web.announcing import announcement_metrics
from gtm.web.balancing import balancer_metrics
from gtm.web.load import load_metrics
from gtm.web.status import InstanceStatus, Status

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
QUERIES, RCODE = "_queries", "rcode_"  # how a worker's counters are named
HEALTH_VALUE = {Health.UP: 1.0, Health.DEGRADED: 0.5, Health.DOWN: 0.0, Health.UNKNOWN: -1.0}


def exposition(status: Status | None) -> bytes:
    """The metrics of a status; of None (the state folder cannot be read) only that it cannot."""
    registry = CollectorRegistry()
    registry.register(_Fixed(metrics(status)))
    return generate_latest(registry)


class _Fixed:
    """A collector over metrics that exist already."""

    def __init__(self, made: Iterable[Metric]) -> None:
        self._made = tuple(made)

    def collect(self) -> Iterable[Metric]:
        return self._made


def metrics(status: Status | None) -> Iterator[Metric]:
    """Every metric family of a status."""
    yield _gauge("gtm_state_readable", "1 if the state folder can be read.", [((), float(status is not None))])
    if status is None:
        yield _gauge("gtm_controller_up", "1 if the controller is alive.", [((), 0.0)])
        return
    yield from _node(status)
    yield from _workers(status)
    yield from _pools(status)
    yield from _probes(status)
    yield from _prober(status)
    yield from _overrides(status)
    if status.cluster is not None:
        yield from _cluster(status.cluster)
    if status.load is not None:
        yield from load_metrics(status.load)
    if status.rtt is not None:
        yield from _rtt(status.rtt)
    if status.announcements is not None:
        yield from announcement_metrics(status.announcements)
    if status.balancer is not None:
        yield from balancer_metrics(status.balancer)


def _node(status: Status) -> Iterator[Metric]:
    yield _gauge(
        "gtm_build_info",
        "Version of gtm; the value is always 1.",
        [((status.version, status.node, status.region or ""), 1.0)],
        ("version", "node", "region"),
    )
    yield _gauge("gtm_controller_up", "1 if the controller is alive.", [((), float(status.controller.alive))])
    if status.table is not None:
        yield _gauge("gtm_table_revision", "Revision of the published answers.", [((), float(status.table.revision))])
        yield _gauge(
            "gtm_table_age_seconds",
            "Seconds since a controller last vouched for the published answers.",
            [((), math.inf if status.table.age_s is None else status.table.age_s)],
        )
    yield _gauge(
        "gtm_reload_ok",
        "1 if the last reading of the deployment was good.",
        [((), float(status.reload_problem is None))],
    )
    yield _gauge(
        "gtm_geodata_build_timestamp_seconds",
        "When a geo database was built, seconds since the epoch.",
        [((base.file,), base.built_s) for base in status.databases if base.built_s is not None],
        ("file",),
    )


def _workers(status: Status) -> Iterator[Metric]:
    workers = [(worker.name, worker) for worker in status.workers]
    yield _gauge(
        "gtm_worker_up", "1 if the worker is alive.", [((i,), float(w.alive)) for i, w in workers], ("worker",)
    )
    yield _gauge(
        "gtm_worker_table_revision",
        "Revision of the answers a worker serves.",
        [((i,), float(w.revision)) for i, w in workers],
        ("worker",),
    )
    counted = [(i, name, value) for i, worker in workers for name, value in worker.counters.items()]
    yield _counter(
        "gtm_dns_queries",
        "Queries received, by worker, protocol and address family.",
        [((i, *_carried(name)), v) for i, name, v in counted if name.endswith(QUERIES)],
        ("worker", "protocol", "family"),
    )
    yield _counter(
        "gtm_dns_responses",
        "Responses sent, by worker and response code.",
        [((i, name.removeprefix(RCODE).upper()), v) for i, name, v in counted if name.startswith(RCODE)],
        ("worker", "rcode"),
    )
    yield _counter(
        "gtm_dns_events",
        "What else moved in a worker, by kind.",
        [((i, name), v) for i, name, v in counted if not (name.endswith(QUERIES) or name.startswith(RCODE))],
        ("worker", "event"),
    )


def _carried(name: str) -> tuple[str, str]:
    """(protocol, family) of a query counter such as `udp4_queries`."""
    carrier = name.removesuffix(QUERIES)
    return carrier.rstrip("46"), f"ipv{carrier[-1]}" if carrier[-1:] in {"4", "6"} else ""


def _pools(status: Status) -> Iterator[Metric]:
    parts = [((pool.name, part.region), part) for pool in status.pools for part in pool.regions]
    labels = ("pool", "region")
    yield _gauge(
        "gtm_pool_all_down",
        "1 if no region of the pool is available, so that its all_down rule decides.",
        [((pool.name,), float(pool.all_down)) for pool in status.pools],
        ("pool",),
    )
    yield _gauge(
        "gtm_region_available",
        "1 if the pool is answered from the region.",
        [(key, float(part.available)) for key, part in parts],
        labels,
    )
    yield _gauge(
        "gtm_region_instances_healthy",
        "Healthy instances of the pool in the region, those not judged yet included.",
        [(key, float(part.healthy)) for key, part in parts],
        labels,
    )
    yield _gauge(
        "gtm_region_instances",
        "Instances of the pool in the region that take traffic (weight above 0).",
        [(key, float(part.total)) for key, part in parts],
        labels,
    )
    yield _gauge(
        "gtm_instance_available",
        "1 if the instance may be answered.",
        [((*key, one.label), float(one.available)) for key, part in parts for one in part.instances],
        (*labels, "instance"),
    )
    yield _gauge(
        "gtm_region_share_ratio",
        "Expected share of all traffic, 0 to 1.",
        [((region.name,), region.share) for region in status.regions if region.share is not None],
        ("region",),
    )


def _probes(status: Status) -> Iterator[Metric]:
    probed = _targets(status)
    lasts = [(target, one.last) for target, one in probed.items() if one.last is not None]
    labels = ("check", "address")
    yield _gauge(
        "gtm_target_health",
        "What the check says of the target: 1 UP, 0.5 DEGRADED, 0 DOWN, -1 UNKNOWN.",
        [(_key(target), HEALTH_VALUE.get(one.judged or Health.UNKNOWN, -1.0)) for target, one in probed.items()],
        labels,
    )
    yield _gauge(
        "gtm_target_health_since_timestamp_seconds",
        "When the target's health last changed, seconds since the epoch.",
        [(_key(target), one.since_s) for target, one in probed.items() if one.since_s],
        labels,
    )
    yield _gauge(
        "gtm_target_stale",
        "1 if the check of the target has not run for three intervals, so that an old verdict stands.",
        [(_key(target), float(one.stale)) for target, one in probed.items()],
        labels,
    )
    yield _gauge(
        "gtm_target_votes_down",
        "How many nodes whose votes count call the target down.",
        [(_key(target), _votes_down(one)) for target, one in probed.items() if one.votes],
        labels,
    )
    for name, text, value in (
        ("gtm_probe_success", "1 if the last probe was good.", _ok),
        ("gtm_probe_duration_seconds", "How long the last probe took.", _took),
        ("gtm_probe_timestamp_seconds", "When the last probe ended, seconds since the epoch.", _at),
    ):
        yield _gauge(name, text, [(_key(target), value(last)) for target, last in lasts], labels)


def _prober(status: Status) -> Iterator[Metric]:
    counts = status.probes
    yield _counter(
        "gtm_probe_starts",
        "Probes started since the controller started.",
        [((), counts[name]) for name in ("started",) if name in counts],
    )
    yield _counter(
        "gtm_probe_results",
        "Probes ended, by what they came to: ok, or why they failed.",
        [
            ((name.removeprefix("failed_"),), value)
            for name, value in counts.items()
            if name == "ok" or name[:7] == "failed_"
        ],
        ("result",),
    )
    yield _counter(
        "gtm_probe_late_starts",
        "Probes started noticeably later than they were due.",
        [((), counts[name]) for name in ("late",) if name in counts],
    )
    yield _counter(
        "gtm_probe_start_delay_seconds",
        "How much later than due probes started, summed up.",
        [((), counts[name]) for name in ("delay_seconds",) if name in counts],
    )
    yield _gauge(
        "gtm_probe_running",
        "Probes that run now.",
        [((), counts[name]) for name in ("running",) if name in counts],
    )


def _overrides(status: Status) -> Iterator[Metric]:
    counts = Counter((order.subject.kind, str(order.action)) for order in status.overrides)
    yield _gauge(
        "gtm_override_orders",
        "Orders of people in force, by kind of subject and action.",
        [(key, float(count)) for key, count in sorted(counts.items())],
        ("kind", "action"),
    )
    yield _gauge(
        "gtm_override_expiry_timestamp_seconds",
        "When an order ends, seconds since the epoch; orders without an end are absent.",
        [((str(o.subject), str(o.action)), o.until_s) for o in status.overrides if o.until_s is not None],
        ("subject", "action"),
    )


def _cluster(cluster: ClusterState) -> Iterator[Metric]:
    nodes = [((node.name,), node) for node in cluster.nodes]
    yield _gauge("gtm_shared_store_up", "1 if the shared store can be reached.", [((), float(cluster.connected))])
    yield _gauge(
        "gtm_shared_store_age_seconds",
        "Seconds since the shared store was heard of.",
        [((), math.inf if cluster.age_s is None else cluster.age_s)],
    )
    yield _gauge(
        "gtm_node_fresh",
        "1 if the node of the cluster has been heard of lately, so that its votes count.",
        [(key, float(node.fresh)) for key, node in nodes],
        ("node",),
    )
    yield _gauge(
        "gtm_node_cut_off",
        "1 if the node of the cluster sees almost everything down and is taken to be cut off.",
        [(key, float(node.cut_off)) for key, node in nodes],
        ("node",),
    )
    yield _gauge(
        "gtm_node_targets_down",
        "How many targets the node of the cluster calls down.",
        [(key, float(node.down)) for key, node in nodes],
        ("node",),
    )


def _rtt(rtt: RttState) -> Iterator[Metric]:
    yield _gauge("gtm_rtt_networks", "Client networks with round-trip times.", [((), float(rtt.networks))])
    yield _gauge("gtm_rtt_networks_warm", "Those with enough of them to decide by.", [((), float(rtt.warm))])
    kinds = (("network", rtt.networks_preferring), ("asn", rtt.asns_preferring), ("country", rtt.countries_preferring))
    yield _gauge(
        "gtm_rtt_preferences",
        "Networks, ASs and countries whose clients get regions by round-trip time.",
        [((kind,), float(count)) for kind, count in kinds],
        ("kind",),
    )
    yield _counter(
        "gtm_rtt_samples",
        "Round-trip times taken in, by source.",
        [((source,), float(count)) for source, count in rtt.samples.items()],
        ("source",),
    )
    yield _counter("gtm_rtt_lost", "Probes of round-trip times without an answer in time.", [((), float(rtt.lost))])
    yield _gauge(
        "gtm_rtt_files_refused",
        "Files of round-trip times that cannot be read; what was known of them stands.",
        [((), float(len(rtt.problems)))],
    )


def _targets(status: Status) -> dict[Target, InstanceStatus]:
    """Every probed target once, though several pools may share it."""
    return {
        one.target: one
        for pool in status.pools
        for part in pool.regions
        for one in part.instances
        if one.target is not None
    }


def _votes_down(one: InstanceStatus) -> float:
    return float(sum(vote.counted and vote.health is Health.DOWN for vote in one.votes))


def _key(target: Target) -> tuple[str, str]:
    return target.check, str(target.address)


def _ok(last: Result) -> float:
    return float(last.ok)


def _took(last: Result) -> float:
    return last.took_s


def _at(last: Result) -> float:
    return last.at_s


def _gauge(
    name: str, text: str, samples: Iterable[tuple[tuple[str, ...], float]], labels: tuple[str, ...] = ()
) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in samples:
        family.add_metric(key, value)
    return family


def _counter(
    name: str, text: str, samples: Iterable[tuple[tuple[str, ...], float]], labels: tuple[str, ...] = ()
) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in samples:
        family.add_metric(key, value)
    return family
