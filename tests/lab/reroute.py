"""Two PoPs at one router, one of them losing something, and how long the router's kernel goes on sending to it.

What is timed ends with the kernel's own message that the route goes elsewhere. Who is hurt is the PoP that the router
prefers. It is not the one that keeps its routes when its lease is over, which is the last in the order of regions.
"""

from __future__ import annotations

import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gtm.model.anycast import ExitPolicy, Phase
from tests.lab.answers import Answers, Health
from tests.lab.daemons import Bird, Frr, needs_routers
from tests.lab.fabric import fabric, until, without
from tests.lab.pops import PREFIXES, Pop, Router, World, start_etcd, write_deployment

FALL, RISE, INTERVAL, FAST_INTERVAL = 3, 2, "500ms", "100ms"
LEASE_S = 1.0
QUIET_S = 0.3  # for a router to be done with what was before
SERVICE = {"local": "web", "rise": RISE, "fall": FALL, "interval": INTERVAL, "fast_interval": FAST_INTERVAL}
MORE = {"guard": {"leave_window": "1s", "damping": False}, "lease": {"ttl": f"{LEASE_S:g}s"}}
# With ttl-security FRR 8.4 takes the neighbour for hops away and makes its BFD multihop, which nobody here answers.
SESSIONS: dict[str, dict[str, object]] = {"BIRD": {"bfd": True, "ttl_security": 1}, "FRR": {"bfd": True}}


@dataclass(slots=True)
class Lab:
    """One router, two PoPs, the store that they share, and what stands beside ExaBGP for BFD."""

    kind: str
    world: World
    router: Router
    answers: Answers
    health: dict[str, Health] = field(default_factory=dict)
    companions: dict[str, Frr | Bird] = field(default_factory=dict)
    since_s: float = 0.0  # the epoch's seconds when the last fault was over

    def used(self, prefix: str = PREFIXES[0]) -> Pop | None:
        """The PoP that the router's kernel sends to."""
        gateways = self.router.fib.now.get(prefix, ())
        return next((pop for pop in self.world.pops.values() if gateways == (pop.gateway(prefix),)), None)

    def is_whole(self) -> bool:
        """Whether both PoPs are well, announced, and watched by BFD, and the first one is used."""
        quiet_s = time.monotonic() - max((change.at_s for change in self.router.fib.changes), default=0.0)
        return (
            quiet_s > QUIET_S
            and self.used() is self.world.pops["edge1"]
            and all(
                self.is_steady(pop)
                and self.router.bfd_is_up(pop.node)
                and all(self.router.seen(prefix, pop.node) is not None for prefix in PREFIXES)
                for pop in self.world.pops.values()
            )
        )

    def is_steady(self, pop: Pop) -> bool:
        """Whether a PoP has said since the last fault that it is UP and knows of the other one, its lease in order.

        A thinker that has just been started keeps its routes whatever comes, until it knows of others.
        """
        said = pop.report()
        if said is None or said.at_s < self.since_s or not said.store or not pop.is_running(said):
            return False
        ends = said.services[0].on_expiry is ExitPolicy.WITHDRAW
        return said.services[0].phase is Phase.UP and ends == (pop.node == "edge1")


@contextmanager
def laboratory(kind: str, folder: Path) -> Iterator[Lab]:
    """The laboratory of one kind of router, whole."""
    needs_routers()
    with fabric() as made, World(fabric=made) as world, Answers() as answers:
        router = world.router("r1", kind, 64496 if kind == "FRR" else 64497)
        lab = Lab(kind=kind, world=world, router=router, answers=answers)
        for number, (node, region) in enumerate((("edge1", "us-east"), ("edge2", "eu-west")), start=1):
            world.pop(node, region, "r1", f"81.{number}", folder)
        pops = list(world.pops.values())
        start_etcd(made, pops, folder)
        router.configure(
            world.peer(pop, bfd=True, gtsm="ttl_security" in SESSIONS[kind], preferred=pop is pops[0]) for pop in pops
        )
        for pop in pops:
            lab.health[pop.node] = answers.admit(pop.host, pop.node)
            write_deployment(pop, pops, service=SERVICE, session=SESSIONS[kind], more=MORE)
            companion = (
                Frr(pop.host, made.folder / pop.node, ("zebra", "bfdd"))
                if kind == "FRR"
                else Bird(pop.host, made.folder / pop.node)
            )
            companion.start(pop.gtm("announce", "render", "--bfd", kind.lower())["text"])
            lab.companions[pop.node] = companion
            pop.announce()
        until(lab.is_whole, "both PoPs are announced")
        yield lab


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that happens to a PoP: what does it, what undoes it, and since when the time counts."""

    name: str
    strike: Callable[[Lab, Pop], float]
    undo: Callable[[Lab, Pop], None]
    goal_s: Mapping[str, float] = field(default_factory=dict)


def silence(lab: Lab, pop: Pop) -> float:
    """Packets are dropped without a sign."""
    lab.world.fabric.silence(pop.host)
    return time.monotonic()


def hear(lab: Lab, pop: Pop) -> None:
    lab.world.fabric.hear_again(pop.host)


def sicken(lab: Lab, pop: Pop) -> float:
    """The instance says that it is not well; what counts is when it said so for the last time that was needed."""
    health = lab.health[pop.node]
    health.failures_s.clear()
    health.well = False
    until(lambda: len(health.failures_s) >= FALL, "checks fail", every_s=0.001)
    return health.failures_s[FALL - 1]


def recover(lab: Lab, pop: Pop) -> None:
    lab.health[pop.node].well = True


def kill_exabgp(lab: Lab, pop: Pop) -> float:
    at_s = time.monotonic()
    pop.exabgp.signal(signal.SIGKILL)
    return at_s


def start_exabgp(lab: Lab, pop: Pop) -> None:
    assert pop.exabgp.process is not None
    pop.exabgp.process.wait(60)
    pop.announce()


def _hurt(number: signal.Signals, who: str, *, sick: bool) -> Callable[[Lab, Pop], float]:
    def strike(lab: Lab, pop: Pop) -> float:
        pid = pop.helper(who)
        at_s = time.monotonic()
        os.kill(pid, number)
        if sick:
            lab.health[pop.node].well = False
        return at_s

    return strike


def unhurt(lab: Lab, pop: Pop) -> None:
    """Well again; what was stopped has been ended by those who are to do that, or goes on."""
    recover(lab, pop)
    pop.go_on()


def unhurt_anew(lab: Lab, pop: Pop) -> None:
    """The same with a new ExaBGP: one ends once its process died six times, and thinkers start ever later."""
    unhurt(lab, pop)
    kill_exabgp(lab, pop)
    start_exabgp(lab, pop)


def unplug(lab: Lab, pop: Pop) -> float:
    at_s = time.monotonic()
    lab.world.fabric.unplug(pop.host, "r1", "store")
    return at_s


def plug(lab: Lab, pop: Pop) -> None:
    lab.world.fabric.plug(pop.host, "r1", "store")


FAULTS = (
    Fault("silent drop, found by BFD 50 ms x 3", silence, hear, {"BIRD": 0.160, "FRR": 0.230}),
    Fault(f"health lost: since check {FALL} of {FALL} failed", sicken, recover, {"BIRD": 0.020, "FRR": 0.090}),
    Fault("ExaBGP killed -9", kill_exabgp, start_exabgp),
    Fault("supervisor killed -9 as health is lost", _hurt(signal.SIGKILL, "supervisor", sick=True), unhurt_anew),
    Fault("thinker killed -9 as health is lost", _hurt(signal.SIGKILL, "thinker", sick=True), unhurt_anew),
    Fault(f"thinker stopped: lease of {LEASE_S:g} s", _hurt(signal.SIGSTOP, "thinker", sick=False), unhurt),
    Fault("supervisor stopped as health is lost", _hurt(signal.SIGSTOP, "supervisor", sick=True), unhurt_anew),
    Fault("host cut off: all its links down", unplug, plug),
)


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: how long it took, each time, and what the goal for the median is."""

    fault: str
    router: str
    took_s: tuple[float, ...]
    goal_s: float | None

    @property
    def is_late(self) -> bool:
        """Whether the median is past the goal."""
        return self.goal_s is not None and statistics.median(self.took_s) > self.goal_s


def measure(lab: Lab, fault: Fault, repeats: int) -> Row:
    """Let it happen some times."""
    took_s = []
    for _ in range(repeats):
        until(lab.is_whole, f"before {fault.name}: both PoPs are announced")
        victim = lab.world.pops["edge1"]
        lost = victim.gateway(PREFIXES[0])
        struck_s = fault.strike(lab, victim)
        at_s = lab.router.fib.wait(PREFIXES[0], without(lost), fault.name, since_s=struck_s)
        took_s.append(at_s - struck_s)
        fault.undo(lab, victim)
        lab.since_s = time.time()
    until(lab.is_whole, f"after {fault.name}: both PoPs are announced")
    return Row(fault=fault.name, router=lab.kind, took_s=tuple(took_s), goal_s=fault.goal_s.get(lab.kind))


def table(rows: list[Row]) -> str:
    """The table that people read, in milliseconds."""
    lines = [["fault until the router's kernel sends elsewhere", "router", "times", "min", "median", "max ms", "goal"]]
    for row in rows:
        figures = (min(row.took_s), statistics.median(row.took_s), max(row.took_s))
        goal = "" if row.goal_s is None else f"{1000 * row.goal_s:.0f}"
        lines.append([row.fault, row.router, str(len(row.took_s)), *(f"{1000 * each:.1f}" for each in figures), goal])
    widths = [max(len(line[column]) for line in lines) for column in range(7)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
