"""Status as text: what `gtm status` prints."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from gtm.app.announce.status_text import announcements_text
from gtm.app.balance.status_text import balancer_text
from gtm.app.columns import Paint, clean, columns, duration, percent, plain
from gtm.app.load_text import load_text
from gtm.model.cluster import ClusterState
from gtm.model.health import Health, Vote
from gtm.model.override import Override
from gtm.model.rtt import RttState
from gtm.web.status import InstanceStatus, PoolStatus, Status

NAMES_SHOWN_MAX = 6


def status_text(status: Status, *, paint: Paint = plain) -> str:
    """Several lines, without a newline at the end."""
    return "\n".join(_lines(status, paint))


def _lines(status: Status, paint: Paint) -> Iterator[str]:
    where = f" in {status.region}" if status.region else ""
    yield f"{paint(f'node {status.node}', None)}{where}, gtm {status.version}"
    yield from columns(_processes(status), indent=0)
    yield ""
    yield from _workers(status, paint)
    if status.regions:
        yield ""
        yield paint("regions", None)
        yield from columns(
            (
                (
                    region.name,
                    "-" if region.share is None else percent(region.share),
                    f"{region.pools_available} of {region.pools_total}",
                )
                for region in status.regions
            ),
            heads=("REGION", "SHARE", "POOLS AVAILABLE"),
        )
    for pool in status.pools:
        yield ""
        yield from _pool(status, pool, paint)
    if status.cluster is not None:
        yield ""
        yield from _cluster(status.cluster, paint)
    if status.load is not None:
        yield ""
        yield from load_text(status.load, paint)
    if status.rtt is not None:
        yield ""
        yield from _rtt(status.rtt, status.now_s, paint)
    if status.announcements is not None:
        yield ""
        yield from announcements_text(status.announcements, status.now_s, paint)
    if status.balancer is not None:
        yield ""
        yield from balancer_text(status.balancer, status.now_s, paint)
    if status.overrides:
        yield ""
        yield paint("orders in force", None)
        yield from orders(status.overrides, status.now_s)
    if status.databases:
        yield ""
        yield paint("geodata", None)
        yield from (
            f"  {base.file}: {clean(base.attribution)}{_built(base.built_s, status.now_s)}" for base in status.databases
        )
    if status.problems:
        yield ""
        yield paint("problems", Health.DOWN)
        yield from (f"  {line}" for problem in status.problems for line in problem.splitlines())


def _processes(status: Status) -> Iterator[tuple[str, str]]:
    controller, table = status.controller, status.table
    pulse = "" if controller.heartbeat_age_s is None else f"pulse {duration(controller.heartbeat_age_s)} ago"
    if controller.alive:
        yield "controller", f"alive, pid {controller.pid}" + (f", {pulse}" if pulse else "")
    else:
        yield "controller", "not running" + (f", last {pulse}" if pulse else "")
    if table is None:
        yield "answers", "none published yet"
    else:
        confirmed = (
            "not confirmed since the machine started"
            if table.age_s is None
            else f"confirmed {duration(table.age_s)} ago"
        )
        yield "answers", f"revision {table.revision}, {confirmed}"


def _workers(status: Status, paint: Paint) -> Iterator[str]:
    alive = sum(worker.alive for worker in status.workers)
    yield paint("workers", None) + f" {alive} alive of {len(status.workers)}"
    if not status.workers:
        return
    yield from columns(
        (
            (
                worker.name,
                "alive" if worker.alive else "dead",
                str(worker.pid),
                str(worker.revision),
                ", ".join(f"{name} {value}" for name, value in worker.counters.items() if value) or "nothing yet",
            )
            for worker in status.workers
        ),
        heads=("WORKER", "STATE", "PID", "REVISION", "COUNTED"),
    )


def _pool(status: Status, pool: PoolStatus, paint: Paint) -> Iterator[str]:
    names = ", ".join(pool.names[:NAMES_SHOWN_MAX]) or "no name uses it"
    more = f" and {len(pool.names) - NAMES_SHOWN_MAX} more" if len(pool.names) > NAMES_SHOWN_MAX else ""
    down = paint(" all down, the all_down rule decides", Health.DOWN) if pool.all_down else ""
    yield f"{paint(f'pool {pool.name}', None)} ({names}{more}){down}"
    rows, healths = [], []
    for part in pool.regions:
        for number, one in enumerate(part.instances):
            first = number == 0
            rows.append(
                (
                    part.region if first else "",
                    ("up" if part.available else "down") if first else "",
                    f"{part.healthy} of {part.total}" if first else "",
                    one.label,
                    str(one.health),
                    str(one.weight),
                    _since(one, status.now_s),
                    _seen(one, status.now_s),
                )
            )
            healths.append(one.health)
    heads, *lines = columns(rows, heads=("REGION", "STATE", "HEALTHY", "INSTANCE", "HEALTH", "WEIGHT", "SINCE", "WHY"))
    yield heads
    # Painted after aligning: escape sequences have no width.
    yield from (
        line.replace(f" {health} ", f" {paint(str(health), health)} ", 1)
        for line, health in zip(lines, healths, strict=True)
    )


def _cluster(cluster: ClusterState, paint: Paint) -> Iterator[str]:
    ago = "never heard of" if cluster.age_s is None else f"heard of {duration(cluster.age_s)} ago"
    heard = f"{ago}, at revision {cluster.revision}"
    why = f": {clean(cluster.problem)}" if cluster.problem else ""
    yield paint("cluster", None) + f" shared store {'connected' if cluster.connected else f'away{why}'}, {heard}"
    yield from columns(
        (
            (
                node.name,
                node.region or "-",
                "cut off" if node.cut_off else "fresh" if node.fresh else "silent",
                f"{duration(node.heard_s_ago)} ago",
                f"{node.down} of {node.targets}",
                node.deployment or "-",
            )
            for node in cluster.nodes
        ),
        heads=("NODE", "REGION", "VOICE", "HEARD", "SEES DOWN", "DEPLOYMENT"),
    )


def _rtt(rtt: RttState, now_s: float, paint: Paint) -> Iterator[str]:
    measured = f" to {', '.join(rtt.regions)}" if rtt.regions else ""
    yield paint("round-trip times", None) + f" {rtt.networks} networks{measured}, {rtt.warm} of them warm"
    changed = "" if rtt.changed_at_s is None else f", changed {duration(max(0.0, now_s - rtt.changed_at_s))} ago"
    counts = f"{rtt.networks_preferring} networks, {rtt.asns_preferring} ASs and {rtt.countries_preferring} countries"
    yield f"  preferences of {counts}{changed}"
    samples = ", ".join(f"{name} {count}" for name, count in rtt.samples.items() if count) or "none yet"
    told = f"; told by {', '.join(rtt.nodes)}" if rtt.nodes else ""
    yield f"  samples: {samples}{told}"


def _since(one: InstanceStatus, now_s: float) -> str:
    return f"{duration(now_s - one.since_s)}" if one.since_s else "-"


def _seen(one: InstanceStatus, now_s: float) -> str:
    """The last result where checks decide, the order where people do."""
    last = one.last
    seen = "" if last is None else clean(last.detail)
    if last is None or one.health is not one.judged:
        return clean(one.reason) + (f" (check: {seen})" if seen else "")
    words = [seen]
    if one.streak:
        words.append(f"{one.streak} in a row against {one.judged}")
    if one.stale:
        words.append(f"STALE: not checked since {duration(max(0.0, now_s - last.at_s))}")
    if len({vote.health for vote in one.votes}) > 1:
        words.append("nodes disagree: " + " ".join(map(_vote, one.votes)))
    return ", ".join(words)


def _vote(vote: Vote) -> str:
    return f"{vote.vantage} {vote.health}" + ("" if vote.counted else " (not counted)")


def orders(overrides: tuple[Override, ...], now_s: float) -> list[str]:
    """Standing orders as aligned lines."""
    return columns(
        (
            (
                str(order.subject),
                str(order.action),
                clean(order.owner),
                f"{duration(max(0.0, now_s - order.since_s))} ago",
                "until taken back" if order.until_s is None else f"ends in {duration(max(0.0, order.until_s - now_s))}",
                clean(order.reason),
            )
            for order in overrides
        ),
        heads=("SUBJECT", "ORDER", "OWNER", "SINCE", "UNTIL", "REASON"),
    )


def _built(built_s: float | None, now_s: float) -> str:
    if built_s is None:
        return ""
    return f", built {datetime.fromtimestamp(built_s, UTC):%Y-%m-%d} ({duration(max(0.0, now_s - built_s))} ago)"
