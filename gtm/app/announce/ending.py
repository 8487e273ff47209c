"""How an announcer ends: withdraw, read back that it is gone, wait for connections, and only then take addresses off.

A thinker that ends looks all the while whether another one has come up: that one goes on, and this one leaves at once.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable

import structlog

from gtm.app.announce.engine import Engine
from gtm.app.announce.tenure import Tenure
from gtm.app.announce.thinker import Thinker
from gtm.model.anycast import Anycast, ExitPolicy, Service

log = structlog.get_logger()

GONE_S = 1.0  # for ExaBGP to take the last withdrawals; the supervisor has not much more
ENGINE_S = 10.0  # for ExaBGP to end, where it said that it would
HEIR_S = 10.0  # for ExaBGP to start another announcer
TERM_S = 2.0
LOOK_S = 0.02
COUNT_S = 0.2
CONNECTIONS_S = 30.0  # where no rung says how long to wait for them


class Ending:
    """The end of one thinker, which has stopped to think."""

    def __init__(self, thinker: Thinker, tenure: Tenure, anycast: Anycast, engine: Engine, supervisor: Engine) -> None:
        """Nothing is done yet."""
        self._thinker = thinker
        self._tenure = tenure
        self._anycast = anycast
        self._engine = engine
        self._supervisor = supervisor

    async def run(self) -> None:
        """All that is left to do, in its order."""
        if self._thinker.orphaned:
            await self._succession()
        elif self._thinker.stop is not None:
            await self._withdraw(engine_ends=self._thinker.stop.exabgp_ends)
        else:  # another thinker is to begin where this one was
            return
        if not self._tenure.heir():
            await self._clear()
        self._thinker.save(gone=True)

    async def _succession(self) -> None:
        """The supervisor is gone, or is ended since it is silent: another one must come, or ExaBGP ends."""
        if os.getppid() == self._supervisor.pid:
            self._supervisor.send(signal.SIGKILL)
        if not await self._until(lambda: self._tenure.heir() or self._engine.gone, HEIR_S):
            await self._end_engine("nobody can withdraw")

    async def _withdraw(self, *, engine_ends: bool) -> None:
        policies = {service.name: policy for service, policy in self._thinker.services}
        going = [name for name, policy in policies.items() if policy is ExitPolicy.WITHDRAW]
        if not engine_ends:
            self._thinker.withdraw(going)
            gone = await self._until(self._told_to_end_or(going), GONE_S)
            log.info("withdrawn", services=going, read_back=gone)
        self._thinker.leave()
        hands_over = ExitPolicy.HAND_OVER in policies.values()
        patience_s = max(ENGINE_S, self._anycast.lease.controller_s) if hands_over else ENGINE_S
        # Alone or with ExaBGP: which of the two it is may show only now, since both are often told at once.
        succeeded = await self._until(lambda: self._tenure.heir() or self._engine.gone, patience_s)
        if hands_over and not succeeded:
            await self._end_engine("nobody has taken over")

    def _told_to_end_or(self, going: list[str]) -> Callable[[], bool]:
        return lambda: self._engine_ends() or all(map(self._thinker.readback.gone, going))

    def _engine_ends(self) -> bool:
        return self._thinker.stop is not None and self._thinker.stop.exabgp_ends

    async def _end_engine(self, why: str) -> None:
        """End ExaBGP, unless everything is to be kept."""
        if all(policy is ExitPolicy.KEEP for _, policy in self._thinker.services):
            return
        log.error("ending_exabgp", pid=self._engine.pid, reason=why)
        self._engine.send(signal.SIGTERM)
        if not await self._until(lambda: self._engine.gone, TERM_S):
            self._engine.send(signal.SIGKILL)
            await self._until(lambda: self._engine.gone, TERM_S)

    async def _clear(self) -> None:
        """Take off the addresses of services whose routes are gone, once their connections are too."""
        readback = self._thinker.readback
        services = [
            service
            for service, _ in self._thinker.services
            if service.interface is not None and (self._engine.gone or readback.gone(service.name))
        ]
        if not services:
            return
        fewest, wait_s = self._patience()
        ends_s = time.monotonic() + wait_s
        while time.monotonic() < ends_s and not self._tenure.heir():
            await self._thinker.attendance.count()
            if all(self._few(service, fewest) for service in services):
                break
            await asyncio.sleep(COUNT_S)
        if self._tenure.heir():
            return
        for service in services:
            self._thinker.attendance.take_off(service)
        log.info("addresses_off", services=[service.name for service in services])

    def _few(self, service: Service, fewest: int) -> bool:
        count = self._thinker.attendance.connections.get(service.name)
        return count is not None and count <= fewest

    def _patience(self) -> tuple[int, float]:
        """How few connections are waited for, and how long: as on the ladder."""
        for rung in self._anycast.ladder:
            if rung.connections is not None:
                return rung.connections, CONNECTIONS_S if rung.deadline_s is None else rung.deadline_s
        return 0, CONNECTIONS_S

    async def _until(self, condition: Callable[[], bool], deadline_s: float) -> bool:
        """Whether something came true in time. It is looked at often, since parts of it are files and processes."""
        ends_s = time.monotonic() + deadline_s
        while not condition():
            if time.monotonic() >= ends_s:
                return False
            self._thinker.changed.clear()
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._thinker.changed.wait()
            except TimeoutError:
                continue
        return True
