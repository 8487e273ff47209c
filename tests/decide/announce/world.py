"""A small world of PoPs in which the decision runs against faults, by seed: the same seed is the same history.

Every speaker has a supervisor (a lease on its thinker, as `gtm announce` has), local checks, a steady clock of its own
pace and beginning, and a view of an etcd-like store: records under leases, and the permit to leave, made only where
there is none. What a speaker writes is in the store before its view is read, requests and answers take their time and
get lost, and nobody sees the truth but the referee, who knows it at each moment.

The referee's rules, and what they leave to knowledge that is bounded by leases:

- LAST: no withdrawal leaves the service without any route. A route that ended without being asked (the host died, its
  sessions ended, or the thinker was silent and the supervisor withdrew) counts as there for `KNOWN_S` more: until its
  lease in the store is over and a view from before that has expired. A decided withdrawal excuses no other decided
  one, and a supervisor's excuses no supervisor's.
- TOGETHER: the last routes of two PoPs are withdrawn by decision at least `APART_S` apart: the window, less the age
  that a permit may have when it is used. Where the PoP's other route died within `KNOWN_S`, nobody could know that it
  was the last.
- DARK: while nobody announces, there is no speaker that could and knew it for longer than `DARK_S`; one without the
  store must come by itself when it is healthy, after `DARK_S` and what damping may take.
- SETTLED: when faults are over, every healthy speaker announces again.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random

from gtm.decide.announce.memory import Memory, resumed
from gtm.decide.announce.sight import Permit, Sight
from gtm.decide.announce.step import step
from gtm.decide.announce.wish import Wish
from gtm.decide.health import fold
from gtm.model.anycast import Anycast, Damping, ExitPolicy, Guard, Lease, Rung, Service, Speaker
from gtm.model.check import Cadence, Check
from gtm.model.health import Judgement, Result
from gtm.model.override import Override
from tests.decide.announce.scenes import DRAIN, TARGET, service, speaker
from tests.decide.announce.store import STORE_TTL_S, WINDOW_S, Store, Told, View

TICK_S = 0.5  # between a thinker's looks, each with a check
PACE = 0.04  # a clock is that much too fast or too slow at most
LATENCY_S = 0.1  # of one way to the store, at most
TIMEOUT_S = 0.8  # of an exchange with the store
LEASE = Lease(ttl_s=1.5, controller_s=20.0)
DAMPING = Damping(half_life_s=4.0, suppress=3000.0, reuse=1000.0, max_s=12.0)
CADENCE = Cadence(fall=2, rise=2, interval_s=TICK_S)
LADDER = (
    Rung(name="graceful-shutdown", hold_s=0.5),
    Rung(name="connections", connections=5, deadline_s=1.5),
    Rung(name="withdraw", announce=False, hold_s=0.5),
    Rung(name="address", announce=False, address=False),
)
SLOW = 1 + 2 * PACE  # the slowest clock beside true time, with room
KNOWN_S = STORE_TTL_S + LEASE.ttl_s * SLOW + 2 * LATENCY_S + TICK_S
APART_S = WINDOW_S - LEASE.ttl_s * SLOW - 2 * LATENCY_S
DARK_S = KNOWN_S + 4 * TICK_S * SLOW + 2 * TIMEOUT_S
KINDS = (
    "sick", "sick", "sick mates", "sick all", "cut", "cut", "away", "pause", "pause all", "crash", "die", "mute",
    "mute mates", "lone", "drain", "drain", "drain all", "plan", "plan all", "flap",
)  # fmt: skip
FAULTS_FROM_S, FAULTS_TO_S, END_S = 6.0, 44.0, 64.0
SETTLE_S = END_S - FAULTS_TO_S  # without faults, until all must be well again


class Broken(AssertionError):
    """A rule that the world saw broken: which, when, and the history of the routes until then."""


@dataclass(slots=True)
class Node:
    """A speaker: its host, supervisor and thinker."""

    name: str
    region: str
    speaker: Speaker
    pace: float
    offset_s: float
    # the truth about it
    healthy: bool = True
    up: bool = True
    thinking: bool = True
    cut: bool = False
    drained: bool = False
    region_up: bool | None = None
    sessions: bool = True
    told: bool = False  # the routers' side of it: that the route is to stand
    route: bool = False  # it is told, and there are sessions
    # its supervisor
    renewed_s: float = 0.0
    on_expiry: ExitPolicy = ExitPolicy.WITHDRAW
    # its thinker
    memory: Memory = field(default_factory=Memory.initial)
    judgement: Judgement = field(default_factory=Judgement)
    wish: Wish | None = None
    view: View | None = None
    asked_s: float | None = None
    life: int = 0
    episode: int = 0
    saved_s: float = 0.0
    # what the referee knows of it
    able_s: float = 0.0
    knows_s: float = 0.0

    def clock(self, now_s: float) -> float:
        return self.offset_s + now_s * self.pace


Mutation = Callable[[Sight], Sight]


class World:
    """One history, from a seed. The rest is for tests of the referee: `mutate` spoils what thinkers see, `spoil` what
    they wish, `believed_s` is how old a view may be that they take for the present; one that `boasts` tells of routes
    that no neighbour has.
    """

    def __init__(
        self,
        seed: int,
        *,
        mutate: Mutation | None = None,
        spoil: Callable[[Wish], Wish] | None = None,
        believed_s: float = LEASE.ttl_s,
        boasts: bool = False,
        faults: int = 14,
        kinds: tuple[str, ...] = KINDS,
    ) -> None:
        self.random = Random(seed)
        self.mutate = mutate
        self.spoil = spoil
        self.believed_s = believed_s
        self.boasts = boasts
        self.kinds = kinds
        self.now_s = 0.0
        self.store = Store()
        self.queue: list[tuple[float, int, Callable[[], None]]] = []
        self.count = 0
        self.history: list[str] = []
        self.ends: list[tuple[float, str, str]] = []  # when a route ended, whose, and why
        self.departed: tuple[float, str] | None = None
        self.dark_s: float | None = 0.0
        self.steps = 0
        self.passed: set[tuple[str, str]] = set()
        regions = "abcd"[: self.random.choice((2, 2, 3, 4))]
        self.service: Service = service(regions=tuple(regions), pool="example.com/web", local={TARGET: _CHECK})
        self.anycast: Anycast = Anycast(
            speakers={},
            services={"web": self.service},
            providers={},
            ladder=LADDER,
            guard=Guard(leave_window_s=WINDOW_S, damping=DAMPING),
            lease=LEASE,
        )
        self.nodes = [
            Node(
                name=f"{region}{index}",
                region=region,
                speaker=speaker(f"{region}{index}", region),
                pace=1 + self.random.uniform(-PACE, PACE),
                offset_s=self.random.uniform(0, 1e6),
            )
            for region in regions
            for index in range(1, self.random.choice((1, 1, 2)) + 1)
        ]
        for node in self.nodes:
            node.memory = Memory.initial(node.clock(0.0))
            self.at(self.random.uniform(0, TICK_S), partial(self.tick, node, node.life))
        for _ in range(faults):
            self.at(self.random.uniform(FAULTS_FROM_S, FAULTS_TO_S), self.fault)
        self.at(FAULTS_TO_S, self.heal)
        self.at(1.0, self.watch)

    # ------------------------------------------------------------------------------------------------------------ time

    def at(self, when_s: float, what: Callable[[], None]) -> None:
        self.count += 1
        heapq.heappush(self.queue, (when_s, self.count, what))

    def after(self, delay_s: float, what: Callable[[], None]) -> None:
        self.at(self.now_s + delay_s, what)

    def run(self) -> World:
        """The world at its end. Raises Broken."""
        while self.queue[0][0] < END_S:
            self.now_s, _, what = heapq.heappop(self.queue)
            what()
        self.settled()
        return self

    def note(self, text: str) -> None:
        self.history.append(f"{self.now_s:7.3f} {text}")

    def broken(self, rule: str, text: str) -> Broken:
        return Broken("\n".join([f"{rule} at {self.now_s:.3f}: {text}", *self.history[-60:]]))

    # --------------------------------------------------------------------------------------------------------- thinker

    def tick(self, node: Node, life: int) -> None:
        if node.life != life:
            return
        if node.thinking:
            local_s = node.clock(self.now_s)
            result = Result(at_s=local_s, ok=node.healthy, took_s=0.001, detail="" if node.healthy else "refused")
            node.judgement = fold(node.judgement, result, CADENCE)
            self.think(node)
            self.exchange(node)
        self.after(TICK_S / node.pace * self.random.uniform(0.9, 1.1), lambda: self.tick(node, life))

    def think(self, node: Node) -> None:
        sight = self.sight(node)
        before = node.memory.phase
        node.memory, wish = step(self.anycast, node.speaker, self.service, node.memory, sight)
        self.steps += 1
        for phase in wish.passed:
            self.passed.add((before, phase))
            before = phase
        if wish.passed:
            self.note(f"{node.name} {' '.join(wish.passed)}: {wish.reason}")
        if wish.leaving != (node.wish is not None and node.wish.leaving):
            node.episode += 1
        wish = wish if self.spoil is None else self.spoil(wish)
        gives_back = node.wish is not None and node.wish.wants_permit and wish.returns_permit
        node.wish = wish
        node.saved_s = sight.now_s
        node.renewed_s, node.on_expiry = self.now_s, wish.on_expiry
        if wish.announce != node.told:
            node.told = wish.announce
            self.settle(node, "decided")
        if gives_back:
            node.asked_s = None
            self.exchange(node, gives_back=True)

    def sight(self, node: Node) -> Sight:
        now_s = node.clock(self.now_s)
        view = node.view
        known = view is not None and now_s - view.sent_s <= self.believed_s
        sight = Sight(
            now_s=now_s,
            local={TARGET: node.judgement},
            region_up=node.region_up,
            controller_age_s=1.0,
            drain=_DRAIN if node.drained else None,
            connections=self.random.choice((0, 3, 20)),
            others=view.others if view is not None else (),
            store=known,
            told=known and view is not None and view.episode == node.episode,
            permit=view.permit if view is not None and known else Permit.NONE,
            permit_reason=view.reason if view is not None else None,
        )  # fmt: skip
        return sight if self.mutate is None else self.mutate(sight)

    def exchange(self, node: Node, *, gives_back: bool = False) -> None:
        """Write, then read, then hear of it, each at its own moment, with anything in between."""
        if node.asked_s is not None and self.now_s - node.asked_s < TIMEOUT_S:
            return
        node.asked_s = self.now_s
        wish, life, sent_s = node.wish, node.life, node.clock(self.now_s)
        assert wish is not None
        stands = node.told if self.boasts else node.route
        told = Told(stands, wish.leaving, wish.wants_permit, gives_back, node.episode)
        asked_s = self.now_s

        def write() -> None:
            if not (self.store.away or node.cut):
                self.store.write(node.name, node.region, told, self.now_s)
                self.after(self.random.uniform(0, LATENCY_S), read)

        def read() -> None:
            if not (self.store.away or node.cut):
                others, permit, reason = self.store.read(node.name, node.region, told, self.now_s)
                view = View(sent_s, others, permit, reason, told.episode)
                self.after(self.random.uniform(0, LATENCY_S), lambda: hear(view))

        def hear(view: View) -> None:
            if node.life != life or node.cut:
                return
            if not node.thinking:  # it lies there until somebody reads it
                self.after(TICK_S, lambda: hear(view))
            elif node.asked_s == asked_s or (node.view is not None and node.view.sent_s < view.sent_s):
                node.asked_s = None if node.asked_s == asked_s else node.asked_s
                changed = node.view is None or (node.view.others, node.view.permit) != (view.others, view.permit)
                told_now = view.episode == node.episode and wish.leaving
                node.view = view
                if changed or told_now:
                    self.think(node)
                    if node.wish is not None and node.wish.leaving and view.episode != node.episode:
                        self.exchange(node)

        self.after(self.random.uniform(0, LATENCY_S), write)

    # ---------------------------------------------------------------------------------------------------------- faults

    def fault(self) -> None:
        node = self.random.choice(self.nodes)
        mates = [each for each in self.nodes if each.region == node.region]
        for_s = self.random.choice((0.3, 1.0, 2.0, 4.0, 8.0, 16.0))
        kind = self.random.choice(self.kinds)
        self.note(f"-- {kind} {node.name} for {for_s}")
        match kind.split():
            case ["sick", *whom]:
                self.spell(self.whom(node, mates, whom), "healthy", False, True, for_s)
            case ["flap"]:
                for index in range(8):
                    self.after(index * 3 * TICK_S, partial(setattr, node, "healthy", index % 2 == 1))
            case ["cut"]:
                self.spell([node], "cut", True, False, for_s)
            case ["away"]:
                self.store.away = True
                self.after(for_s, lambda: setattr(self.store, "away", False))
            case ["pause", *whom]:
                for each in self.whom(node, mates, whom):
                    self.pause(each, for_s)
            case ["crash"]:
                self.crash(node, for_s)
            case ["die"]:
                self.die(node, for_s)
            case ["mute", *whom]:
                for each in self.whom(node, mates, whom):
                    self.mute(each, for_s)
            case ["lone"]:  # a PoP that has just left is all that there is
                self.spell(mates, "healthy", False, True, for_s)
                for each in self.nodes:
                    if each.region != node.region:
                        self.after(4 * TICK_S, partial(self.die, each, for_s))
            case ["drain", *whom]:
                self.spell(self.whom(node, mates, whom or ["mates"]), "drained", True, False, for_s)
            case ["plan", *whom]:
                self.spell(self.whom(node, mates, whom or ["mates"]), "region_up", False, True, for_s)

    def whom(self, node: Node, mates: list[Node], whom: list[str]) -> list[Node]:
        return self.nodes if whom == ["all"] else mates if whom else [node]

    def spell(self, nodes: list[Node], name: str, value: bool, after: bool, for_s: float) -> None:
        for node in nodes:
            setattr(node, name, value)
            self.after(for_s, partial(setattr, node, name, after))

    def pause(self, node: Node, for_s: float) -> None:
        """The thinker stands still (SIGSTOP, a full disk, a long collection) and later goes on where it was."""
        life = node.life
        if not (node.thinking and node.up):
            return
        node.thinking = False
        self.at(node.renewed_s + LEASE.ttl_s / node.pace, lambda: self.expire(node, life))
        self.after(for_s, lambda: self.go_on(node, life))

    def go_on(self, node: Node, life: int) -> None:
        if node.life == life:
            node.thinking = True

    def expire(self, node: Node, life: int) -> None:
        """The supervisor's part: nobody has renewed the lease."""
        late = self.now_s - node.renewed_s >= LEASE.ttl_s / node.pace - 1e-9
        if node.life == life and node.up and late and node.told and node.on_expiry is ExitPolicy.WITHDRAW:
            node.told = False
            self.settle(node, "expired")

    def crash(self, node: Node, for_s: float) -> None:
        """The thinker ends and is started again, with the memory that it had saved."""
        if not node.up:
            return
        node.life += 1
        node.thinking = False
        life = node.life
        self.at(node.renewed_s + LEASE.ttl_s / node.pace, lambda: self.expire(node, life))
        self.after(for_s, lambda: self.start(node, life))

    def mute(self, node: Node, for_s: float) -> None:
        """All of its sessions end; it thinks on, and knows that nobody hears it."""

        def again() -> None:
            node.sessions = True
            self.settle(node, "heard again")

        node.sessions = False
        self.settle(node, "died")
        self.after(for_s, again)

    def die(self, node: Node, for_s: float) -> None:
        """The host ends: its routes with it. It comes back with another beginning of time, half of the times."""
        if not node.up:
            return
        node.life += 1
        node.thinking = node.up = False
        life = node.life
        node.told = False
        self.settle(node, "died")
        boots = self.random.random() < 0.5

        def boot() -> None:
            node.up = True
            if boots:
                node.offset_s = -self.now_s * node.pace
            self.start(node, life)

        self.after(for_s, boot)

    def start(self, node: Node, life: int) -> None:
        if node.life != life:
            return
        saved = Memory.from_dict(node.memory.to_dict())
        node.thinking = True
        node.judgement, node.view, node.asked_s, node.wish = Judgement(), None, None, None
        now_s = node.clock(self.now_s)
        node.memory = resumed(saved, saved_s=node.saved_s, now_s=now_s, age_max_s=LEASE.controller_s)
        self.tick(node, life)

    def heal(self) -> None:
        """No faults from here on. What is under way ends by itself within its spell, or now."""
        self.note("-- healed")
        self.store.away = False
        for node in self.nodes:
            node.healthy, node.cut, node.drained = True, False, False
            node.region_up = True if node.region_up is not None else None

    # --------------------------------------------------------------------------------------------------------- referee

    def settle(self, node: Node, why: str) -> None:
        """The route is what it is told to be, as far as there are sessions; those that end take it as a death does."""
        if node.route != (node.told and node.sessions):
            self.route(node, up=not node.route, why=why)

    def route(self, node: Node, *, up: bool, why: str) -> None:
        node.route = up
        self.note(f"{node.name} {'announces' if up else 'gone'} ({why})")
        if up:
            self.dark_s = None
            return
        self.ends.append((self.now_s, node.name, why))
        standing = [each for each in self.nodes if each.route]
        if not standing:
            self.dark_s = self.now_s
            if why != "died":
                self.check_last(node, why)
        if why == "decided" and not any(each.region == node.region for each in standing):
            self.check_together(node)

    def check_last(self, node: Node, why: str) -> None:
        excuses = {"decided": ("died", "expired"), "expired": ("died", "decided")}[why]
        since_s = self.now_s - KNOWN_S - (LEASE.ttl_s * SLOW if why == "expired" else 0.0)
        if not any(at_s >= since_s and how in excuses and name != node.name for at_s, name, how in self.ends):
            raise self.broken("LAST", f"{node.name} {why}")

    def check_together(self, node: Node) -> None:
        since_s = self.now_s - KNOWN_S
        if any(
            at_s >= since_s and how != "decided" and name != node.name and name[0] == node.region
            for at_s, name, how in self.ends
        ):
            return
        before, self.departed = self.departed, (self.now_s, node.region)
        if before is not None and before[1] != node.region and self.now_s - before[0] < APART_S:
            raise self.broken("TOGETHER", f"{node.name}, {self.now_s - before[0]:.3f} s after {before[1]}")

    def watch(self) -> None:
        """What has been so for how long, looked at ten times a second."""
        for node in self.nodes:
            if not (node.up and node.thinking):
                node.knows_s = node.able_s = self.now_s
            if self.store.away or node.cut or not node.memory.announced:
                node.knows_s = self.now_s
            if not node.healthy or node.drained or node.region_up is False:
                node.able_s = self.now_s
            if not node.sessions:
                node.able_s = node.knows_s = self.now_s
            if self.dark_s is not None:
                self.check_dark(node)
        self.after(0.1, self.watch)

    def check_dark(self, node: Node) -> None:
        assert self.dark_s is not None
        able_s = self.now_s - max(self.dark_s, node.able_s)
        knows_s = self.now_s - max(self.dark_s, node.knows_s)
        if knows_s > DARK_S or able_s > DARK_S + DAMPING.max_s * SLOW:
            raise self.broken("DARK", f"since {self.dark_s:.3f}, {node.name} {node.memory.phase} {node.memory.reason}")

    def settled(self) -> None:
        """After the last fault all are UP again, but for those that died too late to have risen."""
        for node in self.nodes:
            if self.now_s - node.able_s > DARK_S + DAMPING.max_s * SLOW and not node.route:
                raise self.broken("SETTLED", f"{node.name} {node.memory.phase} {node.memory.reason}")


_CHECK = Check(name="web", probe=next(iter(service().local.values())).probe, cadence=CADENCE)
_DRAIN: Override = replace(DRAIN)
