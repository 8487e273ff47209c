"""The manager: whatever is new (a verdict, an order, a MAC, a file, a moment) comes to one plan, and that is written.

Nothing here is on the way of packets. When it ends, however it ends, the kernel goes on with the tables as they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from gtm.app.balance import memory, standing
from gtm.app.balance.drain import Counted, Orders, count
from gtm.app.balance.health import BackendHealth, checks_of
from gtm.app.balance.instance import Balancing, find_instance
from gtm.app.balance.memory import Memory
from gtm.app.balance.peering import Peering
from gtm.app.balance.plan import Plan, Planned, ServicePlan, Sight, next_hops, plan
from gtm.app.balance.protect import Protector
from gtm.app.balance.ready import PULSE_S, Ready
from gtm.app.balance.reconcile import Reconciler, Ring
from gtm.app.balance.sync import PeerStatus
from gtm.app.balance.through import Way, Ways
from gtm.app.clock import boot_s
from gtm.config.watch import watch_signature
from gtm.model.address import IPAddress
from gtm.model.balancing import BackendReport, BalancerCounts, BalancerReport, PeerReport, ServiceReport, Standing
from gtm.model.check import Check, Target
from gtm.model.errors import GtmError, PublishError, StoreError
from gtm.publish.dataplane.inheritance import Inheritance
from gtm.publish.dataplane.neighbours import Neighbours
from gtm.publish.dataplane.pins import Pins
from gtm.publish.dataplane.readings import Readings

log = structlog.get_logger()

LOOK_S = 0.25  # between two looks at the store of orders: SQLite tells by one number whether there is anything
FILES_S = 1.0
NEIGHBOURS_S = 10.0  # between two looks at hops that nothing was heard of
RESOLVE_S = 3.0  # for the first look at hops
REPORT_S = 1.0
COUNT_S = 5.0  # between two readings of the counters: 30 ms where the flow table is full
AGAIN_S = 1.0  # after something could not be written


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What `run` hands over: programs attached, tables open, the folders."""

    folder: Path
    state: Path
    balancing: Balancing
    pins: Pins
    reconciler: Reconciler
    neighbours: Neighbours
    protector: Protector
    ways: Ways


@dataclass(slots=True)
class Manager:
    """One instance's tables kept to what they should be, until told to stop."""

    loaded: Loaded
    ready: Ready
    _orders: Orders = field(init=False)
    _health: BackendHealth = field(init=False)
    _memory: Memory = field(init=False)
    _saved: Memory = field(init=False)
    _peering: Peering = field(init=False)
    _inherited: list[Inheritance] = field(default_factory=list)
    _inheriting: bool = False
    _balancing: Balancing = field(init=False)
    _macs: Mapping[IPAddress, bytes] = field(default_factory=dict)
    _plan: Plan | None = None
    _numbers: Mapping[str, int] = field(default_factory=dict)  # of the plan: `apply` may be at the next
    _rings: Mapping[str, Ring] = field(default_factory=dict)  # likewise
    _readings: Readings = field(init=False)
    _counts: BalancerCounts | None = None
    _counted: tuple[Counted | None, Counted | None] = (None, None)
    _problems: dict[str, str] = field(default_factory=dict)
    _dirty: asyncio.Event = field(default_factory=asyncio.Event)
    _told: asyncio.Event = field(default_factory=asyncio.Event)
    _settled: asyncio.Event = field(default_factory=asyncio.Event)
    _ending: asyncio.Event = field(default_factory=asyncio.Event)
    _wake: asyncio.TimerHandle | None = None
    _started_s: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        """To be made in the loop; nothing is probed or written before `run`."""
        self._balancing = self.loaded.balancing
        node = self._balancing.deployment.node
        self._orders = Orders(self.loaded.state, node.cluster)
        self._health = BackendHealth(node.name, self._checks(), self._dirty.set, self._ways(self._balancing))
        self._memory = memory.load(self.loaded.state)
        self._saved = self._memory
        self._macs = self._memory.macs
        self._readings = Readings(self.loaded.pins)
        reconciler = self.loaded.reconciler
        self._peering = Peering(
            reconciler.balancer,
            reconciler.keys.sync,
            changes=lambda: reconciler.changes(boot_s()),
            inherit=self._inherits,
            problem=partial(self._problem, "sync"),
        )
        self._peering.follow(self._balancing)

    async def run(self, *, once: bool) -> None:
        """Keep the tables until SIGTERM or SIGINT; with `once` until they are right for the first time."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ending.set)
        loop.add_signal_handler(signal.SIGHUP, self._told.set)
        loop.add_reader(self.loaded.neighbours.fileno(), self._heard_neighbours)
        self.ready.against("tables", "not written yet")
        self._look_at_neighbours()
        parts: list[Coroutine[Any, Any, object]] = [
            self._health.run(),
            self._follow_orders(),
            self._follow_files(),
            self._follow_neighbours(),
        ]
        if not once:
            self.ready.gate("sync", self._not_synced)
            parts.append(self._peering.run())
        parts += [self._write(), self._beat(), self._ending.wait()]
        if once:
            parts.append(self._settled.wait())
        tasks = [asyncio.ensure_future(part) for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            loop.remove_reader(self.loaded.neighbours.fileno())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._orders.close()
            self._report(gone=True)

    # ----------------------------------------------------------------------------------------------------- following

    async def _follow_orders(self) -> None:
        while True:
            if await asyncio.to_thread(self._orders.look):
                self._dirty.set()
            self._problem("orders", self._orders.problem)
            await asyncio.sleep(LOOK_S)

    async def _follow_files(self) -> None:
        known = await asyncio.to_thread(watch_signature, self.loaded.folder, self._lists())
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FILES_S):
                    await self._told.wait()
            found = await asyncio.to_thread(watch_signature, self.loaded.folder, self._lists())
            if found != known or self._told.is_set():
                known = found
                self._told.clear()
                await self._reread()

    async def _reread(self) -> None:
        """Take the deployment as it is now; a faulty one changes nothing."""
        try:  # a large one takes a second, in which probes must go on
            found = await asyncio.to_thread(find_instance, self.loaded.folder)
            ways = self._ways(found)
        except GtmError as error:
            self._problem("files", str(error))
            return
        was = self._balancing
        fixed = [
            name
            for name, before, after in (
                ("interface", was.instance.interface, found.instance.interface),
                ("mode", was.instance.mode, found.instance.mode),
                ("secret", was.dataplane.secret, found.dataplane.secret),
                ("ready_file", was.instance.ready_file, found.instance.ready_file),
            )
            if before != after
        ]
        if ways and self.loaded.ways.program is None:
            fixed.append("through: vip")
        self._problem("files", f"{', '.join(fixed)}: changed, and taken when this is started again" if fixed else None)
        self._balancing = found
        self._health.update(self._checks(), ways)
        self._peering.follow(found)
        self._look_at_neighbours()
        self._dirty.set()
        log.info("deployment", services=len(found.dataplane.services))

    async def _follow_neighbours(self) -> None:
        while True:
            self._look_at_neighbours()
            await asyncio.sleep(NEIGHBOURS_S)

    def _heard_neighbours(self) -> None:
        if self.loaded.neighbours.happened(self._hops()):
            self._look_at_neighbours()

    def _look_at_neighbours(self) -> None:
        """Take the MACs that are known; one that was known stays, since whoever forgot it did not say it is wrong."""
        hops = self._hops()
        try:
            found = self.loaded.neighbours.find(hops)
        except GtmError as error:
            self._problem("neighbours", str(error))
            return
        macs = {hop: mac for hop, mac in {**self._macs, **found}.items() if hop in hops}
        missing = sorted(str(hop) for hop in hops - macs.keys())
        self._problem("neighbours", f"no MAC for {', '.join(missing)}" if missing else None)
        if macs != self._macs:
            self._macs = macs
            self._dirty.set()
        try:
            self.loaded.ways.write(self._balancing.dataplane, self._balancing.instance, macs)
        except GtmError as error:
            self._problem("checks", str(error))
        else:
            self._problem("checks", None)

    def _ways(self, found: Balancing) -> dict[Target, Way]:
        return self.loaded.ways.of(found.dataplane, found.instance)

    def _hops(self) -> frozenset[IPAddress]:
        return next_hops(self._balancing.dataplane, self._balancing.instance)

    def _checks(self) -> dict[Target, Check]:
        found = self._balancing
        return checks_of(found.deployment, found.dataplane, found.instance)

    def _lists(self) -> tuple[Path, ...]:
        """Files elsewhere that matter: lists of networks."""
        protection = self._balancing.dataplane.protection
        return tuple(map(Path, (*protection.allow_files, *protection.deny_files)))

    # ------------------------------------------------------------------------------------------------------- writing

    async def _write(self) -> None:
        """Write each plan, one after the other, the first when every backend has been probed once."""
        await self._health.first_round()
        await asyncio.to_thread(self._orders.look)
        with contextlib.suppress(PublishError):  # the next look says so
            await asyncio.to_thread(self.loaded.neighbours.find_all, self._hops(), RESOLVE_S)
        self._look_at_neighbours()
        self._dirty.set()
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            now_s = boot_s()
            planned = self._think(now_s)
            try:
                inherited, self._inherited = self._inherited, []
                self._inheriting |= bool(inherited)  # that of a plan that was not written is still to be
                self.loaded.reconciler.inherit(inherited)
                applied = await asyncio.to_thread(self.loaded.reconciler.apply, planned, now_s)
                self._inheriting = False
                kept = self._keep(planned)
                protected = await self._protect()
            except (GtmError, OSError) as error:
                if str(error) != self._problems.get("tables"):
                    log.error("tables_not_written", reason=str(error))
                self._problem("tables", str(error))
                self._sleep_until(now_s + AGAIN_S)
                continue
            self._problem("tables", None)
            self._peering.set_numbers(self.loaded.reconciler.numbers)
            self._say(planned)
            self._plan = planned
            self._numbers, self._rings = self.loaded.reconciler.numbers, dict(self.loaded.reconciler.rings)
            if applied:
                log.info("tables", backends=applied.backends, rings=applied.rings, vips=applied.vips)
            self.ready.against("tables", None)
            self._sleep_until(self._next_s(planned) if kept and protected else now_s + AGAIN_S)
            self._settled.set()

    async def _protect(self) -> bool:
        """Bring the guard to what the files say; lists that cannot be read leave it as it is.

        False where the kernel would not take it, which may be otherwise soon; files are followed anyway.
        """
        try:
            if await asyncio.to_thread(self.loaded.protector.apply, self._balancing.dataplane):
                log.info("protection")
        except GtmError as error:
            self._problem("protection", str(error))
            return not isinstance(error, PublishError)
        self._problem("protection", None)
        return True

    def _not_synced(self) -> str | None:
        unwritten = self._inherited or self._inheriting
        return self._peering.why_not() or ("a peer's change is still to be written" if unwritten else None)

    def _inherits(self, inherited: Inheritance) -> None:
        self._inherited.append(inherited)
        self._dirty.set()

    def _think(self, now_s: float) -> Plan:
        found = self._balancing
        return plan(
            found.dataplane,
            found.instance,
            Sight(
                now_s=now_s,
                judgements=self._health.judgements,
                orders=self._orders.standing,
                macs=self._macs,
                active=self._memory.active,
                left=self._memory.left,
            ),
        )

    def _keep(self, planned: Plan) -> bool:
        """Remember what a successor must know; False where it would not be told, though this one goes by it."""
        self._memory = Memory(active=planned.active, left=planned.left, macs=self._macs)
        if self._memory == self._saved:
            return True
        try:
            memory.save(self.loaded.state, self._memory)
        except StoreError as error:
            self._problem("memory", str(error))
            return False
        self._problem("memory", None)
        self._saved = self._memory
        return True

    def _next_s(self, planned: Plan) -> float | None:
        moments = [planned.wake_s(), self.loaded.reconciler.settles_s()]
        return min((moment for moment in moments if moment is not None), default=None)

    def _sleep_until(self, moment_s: float | None) -> None:
        """Have the next plan at a moment of the boot clock, whatever happens."""
        if self._wake is not None:
            self._wake.cancel()
        loop = asyncio.get_running_loop()
        delay_s = None if moment_s is None else max(0.0, moment_s - boot_s()) + 0.001
        self._wake = None if delay_s is None else loop.call_later(delay_s, self._dirty.set)

    def _say(self, planned: Plan) -> None:
        """Log what has changed of any backend."""
        before = _standings(self._plan)
        for key, each in _standings(planned).items():
            was = before.get(key)
            if was is None or was.standing is not each.standing:
                log.info(
                    "backend",
                    name=key,
                    was=None if was is None else str(was.standing),
                    now=str(each.standing),
                    why=each.reason or None,
                )

    # ------------------------------------------------------------------------------------------------------- showing

    async def _beat(self) -> None:
        """Say that this lives, and how it stands."""
        while True:
            try:
                self.ready.pulse()
                self._problem("ready", None)
            except StoreError as error:
                self._problem("ready", str(error))
            drains = self._plan is not None and self._plan.wake_s() is not None
            if drains:
                counted = await asyncio.to_thread(count, self.loaded.reconciler.balancer, boot_s())
                self._counted = self._counted[1], counted
            else:
                self._counted = None, None
            await asyncio.to_thread(self._read_counters)
            self._report()
            await asyncio.sleep(min(PULSE_S, REPORT_S))

    def _read_counters(self) -> None:
        """Read the kernel's counters for the report, every few seconds; before there is a plan there are no names."""
        now_s = time.time()
        if self._plan is None or (self._counts is not None and 0 <= now_s - self._counts.at_s < COUNT_S):
            return
        known = [self._numbers[each.key] for service in self._plan.services for each in service.backends]
        self._counts = self._readings.read(known, now_s)

    def _problem(self, about: str, reason: str | None) -> None:
        if reason is None:
            self._problems.pop(about, None)
        elif self._problems.get(about) != reason:
            self._problems[about] = reason
            log.warning("problem", about=about, reason=reason)

    def _report(self, *, gone: bool = False) -> None:
        found, loaded = self._balancing, self.loaded
        instance = found.instance
        faults = [f"{target}: {why}" for target, why in self._health.faults.items()]
        offset_s = time.time() - boot_s()
        synced = self._peering.status()
        report = BalancerReport(
            node=instance.node,
            region=instance.region,
            interface=instance.interface,
            mode=instance.mode,
            at_s=time.time(),
            started_s=self._started_s,
            pid=0 if gone else os.getpid(),
            pins=str(loaded.pins.folder),
            layout=loaded.pins.version,
            services=() if self._plan is None else tuple(self._service(each, offset_s) for each in self._plan.services),
            neighbours={hop: self._macs.get(hop) for hop in sorted(self._hops(), key=str)},
            ready=self.ready.told is None,
            unready=self.ready.told,
            problem=next(iter([*self._problems.values(), *faults]), None),
            peers=() if synced is None else tuple(map(_peer, synced.peers)),
            counts=self._counts,
        )
        try:
            standing.save(loaded.state, report)
        except StoreError as error:
            log.error("report_not_written", reason=str(error))

    def _service(self, planned: ServicePlan, offset_s: float) -> ServiceReport:
        ring = self._rings[planned.service.name]
        return ServiceReport(
            name=planned.service.name,
            ring=ring.number,
            generation=ring.generation,
            slots=ring.slots,
            moving=ring.moving,
            backends=tuple(self._backend(each, offset_s) for each in planned.backends),
        )

    def _backend(self, each: Planned, offset_s: float) -> BackendReport:
        number = self._numbers[each.key]
        before, now = self._counted
        counted = now if each.standing is Standing.DRAINING else None
        return BackendReport(
            name=each.backend.name,
            number=number,
            address=each.backend.address,
            wrap=each.backend.wrap,
            standing=each.standing,
            reason=each.reason,
            until_s=None if each.until_s is None else each.until_s + offset_s,
            flows=None if counted is None else int(counted.flows[number]),
            packets_per_s=None if counted is None else counted.packets_per_s(before, number),
            drained=each.left is not None,
        )


def _peer(status: PeerStatus) -> PeerReport:
    return PeerReport(
        node=status.node,
        established=status.established,
        ready=status.ready,
        complete=status.complete,
        heard_s=status.heard_s,
    )


def _standings(planned: Plan | None) -> dict[str, Planned]:
    services = () if planned is None else planned.services
    return {each.key: each for service in services for each in service.backends}
