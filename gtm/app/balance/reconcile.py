"""The kernel's tables brought to a plan: what is right already is left alone, and at no moment is a flow without owner.

New backends are written before slots point to them, and taken away when none does any more. A ring that changes is
swapped as a whole; each of its slots stays in transition until the flows of those that had it have had their time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gtm.app.balance import memory
from gtm.app.balance.keys import Keys
from gtm.app.balance.numbers import Numbers
from gtm.app.balance.plan import Plan, ServerKey, ServicePlan
from gtm.decide.balance import SLOT_PREVIOUS_SHIFT
from gtm.decide.maglev import Member
from gtm.model.balance import Affinity, Service
from gtm.model.balancing import Standing
from gtm.model.errors import PublishError
from gtm.publish.dataplane import layout, maglev, transition
from gtm.publish.dataplane.inheritance import Change, Inheritance
from gtm.publish.dataplane.jiffies import Jiffies
from gtm.publish.dataplane.maps import Balancer
from gtm.publish.dataplane.servers import Full

BACKENDS, RINGS = "backends", "rings"


@dataclass(slots=True, kw_only=True)
class Ring:
    """A service's table: what it holds, who it was made of, and when some slot's change is over (boot clock).

    `adopted` are the slots of an earlier manager, until it is known which backends live; `inherited` those that another
    instance has in transition.
    """

    number: int
    generation: int = 0
    table: transition.Ring | None = None
    adopted: transition.Slots | None = None
    inherited: tuple[Inheritance, ...] = ()
    members: tuple[Member, ...] | None = None
    settles_s: float | None = None

    @property
    def slots(self) -> int:
        """How many there are."""
        return 0 if self.table is None else len(self.table.slots)

    @property
    def moving(self) -> int:
        """How many are in transition."""
        return 0 if self.table is None else int(np.count_nonzero(self.table.moving))


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What was written: backends, rings, and whether VIPs."""

    backends: tuple[str, ...] = ()
    rings: tuple[str, ...] = ()
    vips: bool = False

    def __bool__(self) -> bool:
        return bool(self.backends or self.rings or self.vips)


@dataclass(slots=True)
class Reconciler:
    """Keeps one balancer's tables; to be called by one thread at a time."""

    balancer: Balancer
    keys: Keys
    jiffies: Jiffies
    state: Path
    boot_offset_s: float  # CLOCK_BOOTTIME less CLOCK_MONOTONIC, in which jiffies are counted
    write: bool = True  # numbers that are given out
    rings: dict[str, Ring] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    servers: dict[ServerKey, int] | None = None
    _backends: Numbers = field(init=False)
    _rings: Numbers = field(init=False)

    def __post_init__(self) -> None:
        """Only the state folder is read."""
        folder = self.state / memory.FOLDER
        self._backends = Numbers(folder / BACKENDS, range(1, layout.BACKENDS), write=self.write)
        self._rings = Numbers(folder / RINGS, range(layout.RINGS), write=self.write)

    def adopt(self, services: Iterable[str]) -> None:
        """Take over the rings that the kernel has of these services. Needs CAP_SYS_ADMIN."""
        for name, number in self._rings.of(services).items():
            held = self.balancer.ring(number)
            ring = self.rings[name] = Ring(number=number)
            if held is not None:
                ring.generation, slots = held
                ring.adopted = slots if len(slots) else None

    def apply(self, plan: Plan, now_s: float) -> Applied:
        """Write what differs. Raises PublishError, OSError and StoreError; what was written until then stands."""
        names = {each.key for service in plan.services for each in service.backends}
        self.numbers = self._backends.of(sorted(names), meant=self._meant)
        for name, number in self._rings.of(service.service.name for service in plan.services).items():
            self.rings.setdefault(name, Ring(number=number))
        written = self._write_backends(plan)
        turned_rings = tuple(
            service.service.name
            for service in plan.services
            if self._turn(service, self.rings[service.service.name], now_s)
        )
        rings = self.ring_numbers(plan)
        servers = plan.servers(rings, self.numbers)
        try:
            if servers != self.servers:
                self.balancer.set_servers(servers, self.keys.seed)
                self.servers = servers
            vips = self.balancer.set_vips(plan.vips(rings), self.keys.seed)
        except Full as error:
            raise PublishError("no room for so many addresses and ports", target="vips", change="write") from error
        for name in self.rings.keys() - {service.service.name for service in plan.services}:
            self._empty(self.rings.pop(name))
        return Applied(backends=(*written, *self._take_away(plan)), rings=turned_rings, vips=vips)

    def number(self, names: Iterable[str]) -> dict[str, int]:
        """The numbers of backends, whether or not they are in a table; from any thread. Raises StoreError."""
        wanted = frozenset(names)
        held = self._backends.held(wanted)
        return held if len(held) == len(wanted) else self._backends.of(sorted(wanted), meant=self._meant)

    def _meant(self) -> set[int]:
        """The numbers of backends that slots or flows hold."""
        tables = [ring.table.numbers() for ring in self.rings.values() if ring.table is not None]
        adopted = [ring.adopted for ring in self.rings.values() if ring.adopted is not None]
        tables += [transition.Ring.fresh(slots).numbers() for slots in adopted]
        flows = np.unique(self.balancer.flows["flow"] & np.uint64(layout.FLOW_BACKEND))
        return set(flows.tolist()).union(*tables)

    def changes(self, now_s: float) -> Iterator[Change]:
        """What is in transition in each service's table: for instances that join."""
        for name, ring in tuple(self.rings.items()):
            table = ring.table
            if table is not None:
                yield Change(
                    service=name,
                    size=len(table.slots),
                    slots=table.rows,
                    previous=table.slots[table.rows] >> np.uint32(SLOT_PREVIOUS_SHIFT),
                    left_s=np.where(table.owner != transition.NOBODY, table.until_s, now_s).max(axis=0) - now_s,
                )

    def inherit(self, inherited: Iterable[Inheritance]) -> None:
        """Has the next `apply` put slots into transition that are so at another instance."""
        for each in inherited:
            ring = self.rings.get(each.service)
            if ring is not None:
                ring.inherited = (*ring.inherited, each)

    def ring_numbers(self, plan: Plan) -> dict[str, int]:
        """The ring of each service of a plan."""
        return {service.service.name: self.rings[service.service.name].number for service in plan.services}

    def settles_s(self) -> float | None:
        """When the first change is over, by the boot clock."""
        return min((ring.settles_s for ring in self.rings.values() if ring.settles_s is not None), default=None)

    def _write_backends(self, plan: Plan) -> list[str]:
        """Write those that are to get something; which were not there so."""
        written = []
        for service in plan.services:
            for each in service.backends:
                if each.record is None:
                    continue
                until_s = each.until_s
                deadline = 0 if until_s is None else self.jiffies.at(until_s - self.boot_offset_s)
                number = self.numbers[each.key]
                standing = int(self.balancer.backends[number]["deadline"])
                if deadline and standing > 1 and abs(standing - deadline) <= self.jiffies.rate_per_s:
                    deadline = standing  # the same moment, as an earlier manager worked it out
                if self.balancer.set_backend(number, each.record, deadline=deadline):
                    written.append(each.key)
        return written

    def _take_away(self, plan: Plan) -> list[str]:
        """Make every other number none; which were taken away, by name as far as that is known."""
        keep = {self.numbers[each.key] for service in plan.services for each in service.backends if each.record}
        there = set(np.flatnonzero(self.balancer.backends["wrap"]).tolist()) - keep
        names = {number: name for name, number in self.numbers.items()}
        for number in there:
            self.balancer.set_backend(number, None)
        return [names.get(number, str(number)) for number in sorted(there)]

    def _turn(self, plan: ServicePlan, ring: Ring, now_s: float) -> bool:
        """Bring a ring to its service's backends; whether it was swapped."""
        service = plan.service
        members = tuple(
            Member(name=each.key, number=self.numbers[each.key], weight=each.backend.weight) for each in plan.taking
        )
        living = {self.numbers[each.key]: each.until_s for each in plan.backends if each.record is not None}
        if ring.adopted is not None:
            ring.table = transition.Ring.resumed(ring.adopted, living, now_s=now_s, drain_s=service.drain_s)
        before = ring.table if ring.slots == service.table_size else None
        if before is not None and ring.members == members:
            after = transition.settle(before, living, now_s=now_s)
        else:
            wanted = maglev.table(members, secret=self.keys.maglev, size=service.table_size)
            if before is None:
                after = transition.change(
                    self._past(plan, members), wanted, living, now_s=now_s, drain_s=service.drain_s
                )
            else:
                same = {each.number for each in set(ring.members or ()) & set(members)}
                after = transition.change(before, wanted, living, now_s=now_s, drain_s=service.drain_s, bystanders=same)
        for each in ring.inherited:
            after = transition.inherited(after, each.slots, each.previous, until_s=now_s + each.left_s)
            after = transition.settle(after, living, now_s=now_s)
        written = before is None or not np.array_equal(before.slots, after.slots)
        if written:
            self.balancer.set_ring(ring.number, after.slots, generation=ring.generation + 1)
            ring.generation += 1
            if before is not None and self.write and not _tracks(service):
                numbers = {self.numbers[each.key] for each in plan.backends} | before.numbers()
                transition.forget(self.balancer.flows["flow"], transition.over(before, after), after, numbers)
        ring.inherited = ()  # not before it is in the kernel
        ring.table, ring.adopted, ring.members, ring.settles_s = after, None, members, after.due_s(living)
        return written

    def _past(self, plan: ServicePlan, members: tuple[Member, ...]) -> transition.Ring:
        """The table that the other instances had before they began the drains that are going on.

        A machine that comes in the middle of one has no table of before, and the flows of who drains are its too: they
        are its peers' that left, or what state sync gave it.
        """
        draining = tuple(
            Member(name=each.key, number=self.numbers[each.key], weight=each.backend.weight)
            for each in plan.backends
            if each.standing is Standing.DRAINING and each.record is not None and each.backend.weight
        )
        every = tuple(sorted((*members, *draining), key=lambda member: member.name))
        size = plan.service.table_size
        return transition.Ring.fresh(maglev.table(every, secret=self.keys.maglev, size=size))

    def _empty(self, ring: Ring) -> None:
        """Leave a ring that no VIP has any more without slots."""
        self.balancer.set_ring(ring.number, [], generation=ring.generation + 1)


def _tracks(service: Service) -> bool:
    """Whether some port's flows are known in every slot, in transition or not."""
    return any(port.affinity is Affinity.TRACK for port in service.ports)
