"""`gtm fib`: resilient next-hop groups beside the multipath routes of BIRD or FRR."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

import structlog

from gtm.config.deployment import load
from gtm.model.address import IPNetwork
from gtm.model.errors import AskedError, PublishError
from gtm.model.fib import DAEMONS, Fib, FibSettings, Hop, Resilience
from gtm.publish.fib.changes import (
    PROTOCOL,
    Change,
    Drop,
    DropRoute,
    PutGroup,
    PutHop,
    PutRoute,
    changes,
    leading,
    outranking,
    undone,
)
from gtm.publish.fib.kernel import Kernel

log = structlog.get_logger()

ROUNDS_MAX = 20  # looks at a table that moves while it is changed, before that is an error
SETTLE_S = 0.05
QUIET_S = 1.0  # without a change of routes, before a route gets its first group


def settings_of(
    folder: Path, *, prefixes: tuple[IPNetwork, ...], daemons: tuple[str, ...], metric: int, resilience: Resilience
) -> FibSettings:
    """Settings from what was asked; without prefixes those of bgp/anycast.yaml. Raises ConfigErrors and AskedError."""
    return FibSettings(
        prefixes=prefixes or _declared(folder),
        protocols=frozenset(DAEMONS[name] for name in daemons or DAEMONS),
        metric=metric,
        resilience=resilience,
    )


def _declared(folder: Path) -> tuple[IPNetwork, ...]:
    anycast = load(folder).anycast
    if anycast is None or not anycast.services:
        raise AskedError(f"{folder}/bgp/anycast.yaml declares no service", argument="--prefix")
    return tuple(prefix for service in anycast.services.values() for prefix in service.prefixes)


def planned(settings: FibSettings) -> tuple[Change, ...]:
    """What `run` would change now. Raises PublishError."""
    with closing(Kernel()) as kernel:
        fib = kernel.read(settings)
        _refuse_metric(fib, settings)
        return changes(fib, settings)


def run(settings: FibSettings, *, once: bool) -> None:
    """Keep groups in step with the routes until SIGTERM or SIGINT; what was made stays. Raises PublishError."""
    with closing(Kernel()) as kernel, _signals_end_it():
        _refuse_metric(kernel.read(settings), settings)
        settle(kernel, settings)
        while not once and kernel.wait(settings, None):
            settle(kernel, settings, fresh=False)
            while kernel.wait(settings, QUIET_S):
                settle(kernel, settings, fresh=False)
            settle(kernel, settings)  # a link's hops, too, come back a little later than it is told that the link has


def _refuse_metric(fib: Fib, settings: FibSettings) -> None:
    """Raise AskedError where a daemon's route has no larger metric than ours: its packets would not go by a group."""
    for route in outranking(fib.routes, settings):
        raise AskedError(
            f"{route.prefix} of the routing daemon has metric {route.metric}, and ours must be smaller",
            argument="--metric",
        )


def clear(settings: FibSettings) -> tuple[Change, ...]:
    """Remove all that is ours, and what that was. Raises PublishError."""
    with closing(Kernel()) as kernel:
        made = undone(kernel.read(settings))
        for change in made:
            kernel.apply(change)
        return made


def settle(kernel: Kernel, settings: FibSettings, *, fresh: bool = True) -> tuple[Change, ...]:
    """Change what has to be changed, and what that was. Raises PublishError, also where the table does not settle."""
    made: list[Change] = []
    for _ in range(ROUNDS_MAX):
        wanted = changes(kernel.read(settings), settings, fresh=fresh)
        if not wanted:
            return tuple(made)
        for change in wanted:
            if not kernel.apply(change):
                kernel.wait(settings, SETTLE_S)
                break
            made.append(change)
            log.info("fib", change=said(change))
    raise PublishError(f"moves faster than it can be followed ({ROUNDS_MAX} looks)", target="kernel", change="settle")


def said(change: Change) -> str:
    """A change in the words of ip(8)."""
    match change:
        case PutHop():
            return f"nexthop {change.number} via {change.hop.via} dev {link(change.hop)}"
        case PutGroup():
            members = "/".join(f"{number},{weight}" for number, weight in change.group.members)
            return f"nexthop {change.number} group {members} type resilient buckets {change.group.resilience.buckets}"
        case PutRoute():
            return f"route {change.prefix} nhid {change.group} metric {change.metric}"
        case DropRoute():
            return f"no route {change.prefix} metric {change.metric}"
        case Drop():
            return f"no nexthop {change.number}"


def link(hop: Hop) -> str:
    """The name of the link of a hop."""
    try:
        return socket.if_indextoname(hop.link)
    except OSError:
        return f"if{hop.link}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownHop:
    """A next hop of a route as shown; `weight` is its share's numerator."""

    via: str
    link: str
    weight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownRoute:
    """A daemon's route and its group; `group` None: it has none yet, `kept` False: packets do not go by it."""

    prefix: str
    protocol: int
    metric: int
    group: int | None
    kept: bool
    hops: tuple[ShownHop, ...]


def show(settings: FibSettings) -> tuple[ShownRoute, ...]:
    """The routes that `gtm fib` is for, and by what packets go now. Raises PublishError."""
    with closing(Kernel()) as kernel:
        return tuple(_shown(kernel.read(settings), settings))


def _shown(fib: Fib, settings: FibSettings) -> Iterator[ShownRoute]:
    ours = {route.prefix: route for route in fib.routes if route.protocol == PROTOCOL}
    theirs = {route.prefix: route for route in leading(fib.routes, settings)}
    for prefix in dict.fromkeys((*theirs, *ours)):
        route, mine = theirs.get(prefix), ours.get(prefix)
        group = None if mine is None or mine.group is None else fib.groups.get(mine.group)
        members = () if group is None else group.members
        hops = tuple(fib.hops[number]._replace(weight=weight) for number, weight in members if number in fib.hops)
        shown = hops or (() if route is None else route.hops)
        yield ShownRoute(
            prefix=str(prefix),
            protocol=PROTOCOL if route is None else route.protocol,
            metric=settings.metric if route is None else route.metric,
            group=None if mine is None else mine.group,
            kept=group is not None and (route is None or mine is None or mine.metric < route.metric),
            hops=tuple(ShownHop(via=str(hop.via), link=link(hop), weight=hop.weight) for hop in shown),
        )


def show_document(shown: Sequence[ShownRoute]) -> dict[str, object]:
    """As JSON."""
    return {"routes": [asdict(route) for route in shown]}


def show_text(shown: Sequence[ShownRoute]) -> str:
    """For people."""
    if not shown:
        return "no route of a routing daemon is within the prefixes"
    lines = []
    for route in shown:
        how = f"resilient group {route.group}" if route.kept else "ordinary: no group yet (`gtm fib run` makes one)"
        lines.append(f"{route.prefix}  {how}")
        lines += [f"  via {hop.via} dev {hop.link} weight {hop.weight}" for hop in route.hops]
    return "\n".join(lines)


@contextmanager
def _signals_end_it() -> Iterator[None]:
    """SIGTERM and SIGINT end what is inside, between two changes or during one; the next start puts that right."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _Told

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    except _Told:
        log.info("stopped", kept="routes and groups stay; `gtm fib clear` removes them")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Told(BaseException):
    """A signal has come."""
