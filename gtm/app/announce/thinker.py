"""The thinker: looks, decides, tells the supervisor.

Whatever is new (a result of a check, the plan, an order, the store, an answer of ExaBGP) comes to one step of each
service, in the same turn of the loop. Nothing on the way from a failed check to a withdrawal waits or looks in turns.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from gtm.app.announce import report
from gtm.app.announce.attendance import Attendance
from gtm.app.announce.follow import Follow
from gtm.app.announce.link import Link
from gtm.app.announce.local import Local
from gtm.app.announce.peer_view import PeerViews
from gtm.app.announce.pipe import (
    Ask,
    Beat,
    Expired,
    Hail,
    Leaving,
    Lost,
    Order,
    Owned,
    Renew,
    Stop,
    Version,
    Want,
    Word,
)
from gtm.app.announce.readback import Readback, states
from gtm.app.announce.share import Share
from gtm.app.announce.speaker import Announcing
from gtm.app.announce.vrps import Validator
from gtm.app.clock import boot_s
from gtm.decide.announce.memory import Memory, resumed
from gtm.decide.announce.routes import routes
from gtm.decide.announce.sight import Sight
from gtm.decide.announce.step import step
from gtm.decide.announce.wish import Wish
from gtm.model.announcing import AnnouncerReport, ServiceReport
from gtm.model.anycast import ExitPolicy, Service
from gtm.model.errors import StoreError
from gtm.wire.exabgp.dialect import SHOW_RIB, Dialect, show_neighbours
from gtm.wire.exabgp.reply import NeighbourState
from gtm.wire.exabgp.session import Accepted, Answer, Refused

log = structlog.get_logger()

RENEWALS = 3  # in a lease
READ_S = 5.0  # between two looks at ExaBGP's table where nothing changes, and for each route in it
READ_EACH_S = 0.002
SILENT_S = 2.0  # at least, before the supervisor counts as hanging; it beats each 0.25 s
VALIDATE_S = 10.0
REPORT_S = 0.02  # after a change, so that a burst of them is one report
REPORT_LAZY_S = 1.0  # after nothing but another good result


@dataclass(slots=True, kw_only=True)
class _Part:
    """A service and where it stands."""

    service: Service
    memory: Memory
    wish: Wish | None = None
    sight: Sight | None = None


class Thinker:
    """One speaker's services, thought about until told to stop. `hail` and `owned` are the supervisor's first words."""

    def __init__(
        self, found: Announcing, folder: Path, state: Path, sock: socket.socket, hail: Hail, owned: Iterable[Owned]
    ) -> None:
        """Nothing is told before `run`; must be made in the loop."""
        self._anycast, self._speaker = found.anycast, found.speaker
        self._state = state
        self._hail = hail
        owned = tuple(owned)
        self.readback = Readback(self._speaker.neighbours, owned)
        self._parts = self._remembered({each.group for each in owned})
        checks = {target: check for part in self._parts.values() for target, check in part.service.local.items()}
        self._local = Local(self._speaker.node, checks, self.think)
        self._follow = Follow(state, self._anycast, self._speaker, on_change=self.think)
        cluster = found.deployment.node.cluster
        self._share = Share(cluster, self._anycast, self._speaker, folder=folder, on_change=self.think, clock=boot_s)
        self.attendance = Attendance([part.service for part in self._parts.values()], self.think)
        self._validator = Validator(self._anycast.guard, folder)
        self._views = PeerViews(self._speaker.neighbours, self._report_soon)
        self._link = Link(sock, self._heard)
        self._dialect = Dialect.V5
        self._version: str | None = None
        self._renewed: dict[str, float | None] = {}
        self._wake: asyncio.TimerHandle | None = None
        self._report_due: asyncio.TimerHandle | None = None
        self._started_s = time.time()
        self._steps = 0
        self.beats = 0
        self.changed = asyncio.Event()  # something was heard of ExaBGP
        self.stop: Stop | None = None
        self.orphaned = False
        self.fault: str | None = None
        self.ending = asyncio.Event()  # told to stop, or left alone, or at fault
        asyncio.get_running_loop().set_exception_handler(self._failed)

    def _remembered(self, standing: set[str]) -> dict[str, _Part]:
        """Each service with what was known of it; one whose routes stand is announced, whatever is remembered."""
        now_s = boot_s()
        memories = report.load_memory(self._state)
        parts = {}
        for service in self._anycast.served_by(self._speaker):
            memory = resumed(
                memories.services.get(service.name, Memory.initial(now_s)),
                saved_s=memories.saved_s,
                now_s=now_s,
                age_max_s=self._anycast.lease.controller_s,
            )
            if service.name in standing and not memory.announcing:
                memory = replace(memory, announcing=True, announced=True)
            parts[service.name] = _Part(service=service, memory=memory)
        return parts

    async def _validate(self) -> None:
        """Follow the validator's export."""
        while True:
            if await asyncio.to_thread(self._validator.look):
                self.think()
            await asyncio.sleep(VALIDATE_S)

    async def run(self) -> None:
        """Think until told to stop, or until the supervisor is gone."""
        await self._follow.look()
        await asyncio.to_thread(self._validator.look)
        tasks = [
            asyncio.create_task(each, name=name)
            for name, each in (
                ("local", self._local.run()),
                ("follow", self._follow.run()),
                ("share", self._share.run()),
                ("attendance", self.attendance.run()),
                ("validator", self._validate()),
                ("renew", self._renew()),
                ("read", self._read()),
                ("views", self._views.run(lambda: [route.prefix for route in self.readback.routes()])),
                ("ending", self.ending.wait()),
            )
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.save()

    # ------------------------------------------------------------------------------------------------------ thinking

    def think(self) -> None:
        """One step of each service, and what it comes to, told at once."""
        if self.ending.is_set():
            return
        now_s, wall_s = boot_s(), time.time()
        wants: list[Want] = []
        moved: list[tuple[_Part, Memory]] = []
        for part in self._parts.values():
            before = part.memory
            self._step(part, now_s)
            if part.memory.phase is not before.phase or part.memory.rung != before.rung:
                moved.append((part, before))
            assert part.wish is not None
            if part.wish.announce:
                self.attendance.put_on(part.service)
            wants += self.readback.wish(
                part.service.name, routes(self._anycast, self._speaker, part.service, part.wish), wall_s
            )
            if not part.wish.address and self.readback.gone(part.service.name):
                self.attendance.take_off(part.service)
        for name in self.readback.services - self._parts.keys():  # no more in bgp/anycast.yaml
            wants += self.readback.wish(name, (), wall_s)
        self._steps += 1
        # Leases first: what is announced must have one.
        leases = self._leases()
        orders: list[Order] = [] if leases == self._renewed and not wants else [Renew(groups=leases)]
        orders += wants
        if wants:
            orders.append(Ask(question=SHOW_RIB))
        self._renewed = leases
        self._link.send(orders)
        for part in self._parts.values():
            assert part.wish is not None
            self._share.tell(part.service.name, part.wish, stands=self.readback.stands(part.service.name))
        for part, before in moved:
            self._say(part, before)
        self._sleep_until(now_s)
        self._report_within(REPORT_S if wants or moved else REPORT_LAZY_S)

    def _step(self, part: _Part, now_s: float) -> None:
        service = part.service
        followed, shared = self._follow.seen(service.name), self._share.seen(service.name)
        part.sight = Sight(
            now_s=now_s,
            local=self._local.judgements(),
            region_up=followed.region_up,
            controller_age_s=followed.controller_age_s,
            drain=followed.drain,
            disabled=_disabled(service),
            connections=self.attendance.connections.get(service.name),
            others=shared.others,
            store=shared.store,
            told=shared.told,
            permit=shared.permit,
            permit_reason=shared.permit_reason,
            rpki=self._validator.verdicts(self._speaker, service, time.time()),
        )
        part.memory, part.wish = step(self._anycast, self._speaker, service, part.memory, part.sight)

    def _say(self, part: _Part, before: Memory) -> None:
        """Log a service's move, once it has been told."""
        assert part.wish is not None
        self.attendance.watch(part.service.name, counting=part.wish.rung is not None)
        log.info(
            "phase",
            service=part.service.name,
            was=str(before.phase),
            now=str(part.memory.phase),
            why=part.memory.reason,
            announce=part.wish.announce,
            **({} if part.wish.rung is None else {"rung": part.wish.rung}),
        )

    def _leases(self) -> dict[str, float | None]:
        """How long each group's routes may stand if nothing more is heard of us."""
        ttl_s = self._anycast.lease.ttl_s
        leases: dict[str, float | None] = dict.fromkeys(self.readback.services, ttl_s)
        for name, part in self._parts.items():
            match part.wish.on_expiry if part.wish is not None else ExitPolicy.WITHDRAW:
                case ExitPolicy.WITHDRAW:
                    leases[name] = ttl_s
                case ExitPolicy.KEEP:
                    leases[name] = None
                case ExitPolicy.HAND_OVER:
                    leases[name] = self._anycast.lease.controller_s
        return leases

    def _sleep_until(self, now_s: float) -> None:
        """Have the next step at the first moment at which time alone may change something."""
        if self._wake is not None:
            self._wake.cancel()
        moments = [part.wish.wake_s for part in self._parts.values() if part.wish and part.wish.wake_s is not None]
        delay_s = max(0.0, min(moments) - now_s) + 0.001 if moments else None
        self._wake = None if delay_s is None else asyncio.get_running_loop().call_later(delay_s, self.think)

    async def _renew(self) -> None:
        """Renew the leases for as long as this loop can think; and look whether the supervisor lives."""
        pause_s = self._anycast.lease.ttl_s / RENEWALS
        silent = 0
        while silent * pause_s < max(self._anycast.lease.ttl_s - pause_s / 2, SILENT_S):
            self.think()
            self._link.send([Renew(groups=self._leases())])
            beats = self.beats
            await asyncio.sleep(pause_s)
            silent = silent + 1 if self.beats == beats else 0
        log.error("supervisor_silent", pid=self._hail.supervisor_pid)
        self.orphaned = True

    # ------------------------------------------------------------------------------------------------------- hearing

    def _heard(self, words: list[Word] | None) -> None:
        """Take in what the supervisor says; None: it is gone."""
        if words is None:
            self.orphaned = True
            self.ending.set()
            self.changed.set()
            return
        again = False
        for word in words:
            again |= self._take(word)
        self.changed.set()
        if again:
            self.think()
        if any(not isinstance(word, Beat) for word in words):
            self._report_soon()

    def _take(self, word: Word) -> bool:
        """Take in a word; whether it may change what is to be done."""
        now_s = time.time()
        match word:
            case Beat():
                self.beats += 1
            case Accepted() | Refused():
                self.readback.answered(word)
            case Answer(question=question, ok=True, replies=replies):
                if question == SHOW_RIB:
                    self.readback.read(replies, now_s)
                    return True
                return self._note_neighbours(states(replies), now_s)
            case NeighbourState():
                self._link.send([Ask(question=SHOW_RIB)])
                return self._note_neighbours([word], now_s)
            case Expired(groups=groups):
                log.warning("lease_was_over", services=list(groups))
                self.readback.forget(groups)
                return True
            case Lost():
                self.readback.forget(self.readback.services)
                return True
            case Version(text=text):
                self._note_version(text)
            case Stop():
                self.stop = word
                self.ending.set()
            case _:
                pass
        return False

    def _note_neighbours(self, found: Iterable[NeighbourState], now_s: float) -> bool:
        """Whether any session is another than it was: then others can rely on our routes, or no more."""
        changed = self.readback.heard(found, now_s)
        for each in changed:
            log.info("neighbour", name=each.name, address=str(each.address), up=each.up, reason=each.reason)
        return bool(changed)

    def _note_version(self, text: str) -> None:
        self._version = text
        try:
            self._dialect = Dialect.of(text)
        except ValueError as error:
            log.warning("exabgp_unknown", reason=str(error))

    async def _read(self) -> None:
        """Look at ExaBGP's table and its neighbours now and then, whatever was heard."""
        while True:
            questions = [SHOW_RIB, show_neighbours(self._dialect)]
            self._link.send([Ask(question=each) for each in questions if each is not None])
            await asyncio.sleep(READ_S + self.readback.size * READ_EACH_S)

    # ----------------------------------------------------------------------------------------------------- the ending

    @property
    def services(self) -> tuple[tuple[Service, ExitPolicy], ...]:
        """Each service, with what becomes of it at the end."""
        return tuple(
            (part.service, part.wish.on_expiry if part.wish is not None else self._anycast.lease.exit)
            for part in self._parts.values()
        )

    def withdraw(self, services: Iterable[str]) -> None:
        """Have all routes of services withdrawn, whatever a step would say: it is the end."""
        now_s = time.time()
        wants = [want for name in services for want in self.readback.wish(name, (), now_s)]
        self._link.send([*wants, Ask(question=SHOW_RIB)])

    def hold(self, least_s: float) -> None:
        """Renew the leases for as long as another thinker may take to come up."""
        leases = {name: None if end_s is None else max(end_s, least_s) for name, end_s in self._leases().items()}
        self._link.send([Renew(groups=leases)])

    def leave(self) -> None:
        """Tell the supervisor that it is needed no more."""
        self._link.send([Leaving()])

    def _failed(self, _loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """What a callback raises is a fault here, and thinking on would be guessing: another thinker begins anew."""
        self.fault = f"{context.get('message')}: {context.get('exception')!r}"
        self.ending.set()

    # ------------------------------------------------------------------------------------------------------ reporting

    def _report_soon(self) -> None:
        self._report_within(REPORT_S)

    def _report_within(self, delay_s: float) -> None:
        loop = asyncio.get_running_loop()
        if self._report_due is not None:
            if self._report_due.when() <= loop.time() + delay_s:
                return
            self._report_due.cancel()
        self._report_due = loop.call_later(delay_s, self.save)

    def save(self, *, gone: bool = False) -> None:
        """Write the report and the memory; what cannot be written is logged, and announcing goes on."""
        self._report_due = None
        if any(part.wish is None for part in self._parts.values()):
            return  # it ended before its first step, and has nothing to say
        try:
            report.save(self._state, self._report(gone=gone))
            memories = {name: part.memory for name, part in self._parts.items()}
            report.save_memory(self._state, report.Memories(saved_s=boot_s(), services=memories))
        except StoreError as error:
            log.error("report_not_written", reason=str(error))

    def _report(self, *, gone: bool) -> AnnouncerReport:
        offset_s = time.time() - boot_s()
        shared = [part.sight.store for part in self._parts.values() if part.sight is not None]
        ages = [part.sight.controller_age_s for part in self._parts.values() if part.sight is not None]
        return AnnouncerReport(
            node=self._speaker.node,
            region=self._speaker.region,
            at_s=time.time(),
            started_s=self._started_s,
            ttl_s=self._anycast.lease.ttl_s,
            pid=0 if gone else os.getpid(),
            supervisor_pid=self._hail.supervisor_pid,
            exabgp_pid=self._hail.exabgp_pid,
            exabgp=self._version,
            services=tuple(self._service(part, offset_s) for part in self._parts.values()),
            neighbours=tuple(self.readback.neighbours.values()),
            routes=tuple(map(self._views.told, self.readback.routes())),
            store=shared[0] if shared else None,
            controller_age_s=ages[0] if ages else None,
            problem=self._problem(),
            counters={
                "steps": self._steps,
                "refused": self.readback.refused,
                "amended": self.readback.amended,
                "beats": self.beats,
            },
        )

    def _problem(self) -> str | None:
        """The first thing that is wrong, the worst first."""
        faults = (f"{target}: {why}" for target, why in self._local.faults.items())
        return (
            self.readback.problem
            or self.attendance.problem
            or self._views.problem
            or self._follow.problem
            or self._share.problem
            or self._validator.problem(time.time())
            or next(faults, None)
        )

    def _service(self, part: _Part, offset_s: float) -> ServiceReport:
        memory, wish, sight = part.memory, part.wish, part.sight
        assert wish is not None
        assert sight is not None
        return ServiceReport(
            name=part.service.name,
            phase=memory.phase,
            reason=memory.reason,
            since_s=memory.since_s + offset_s,
            announcing=wish.announce,
            rung=wish.rung,
            rung_since_s=None if wish.rung is None else memory.rung_since_s + offset_s,
            rungs=wish.rungs,
            rungs_left=wish.rungs_left,
            eta_s=wish.eta_s,
            present=self.attendance.present(part.service),
            connections=sight.connections,
            permit=str(sight.permit),
            permit_reason=sight.permit_reason,
            on_expiry=wish.on_expiry,
            penalty=memory.penalty,
            suppressed=memory.suppressed,
            warnings=wish.warnings,
        )


def _disabled(service: Service) -> str | None:
    if service.disable_file is None or not Path(service.disable_file).exists():
        return None
    return f"there is a file {service.disable_file}"
