"""What a machine does for services beside announcing them: their addresses on interfaces, their connections counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import structlog

from gtm.app.announce import addresses
from gtm.app.announce.connections import count
from gtm.model.address import IPAddress
from gtm.model.anycast import Service
from gtm.model.errors import GtmError

log = structlog.get_logger()

COUNT_S, COUNT_FAST_S = 10.0, 0.5  # between two counts; while a drain may wait for them


class Attendance:
    """The addresses and connections of services. `on_change` is called in the loop when a count has changed."""

    def __init__(self, services: Sequence[Service], on_change: Callable[[], None]) -> None:
        """What is on the interfaces now is looked up; nothing is changed."""
        self._services = tuple(services)
        self._on_change = on_change
        self._counting: set[str] = set()
        self._hurry = asyncio.Event()
        self._there: dict[tuple[str, IPAddress], bool] = {}
        self.connections: dict[str, int | None] = {}
        self.problem: str | None = None
        self.refresh()

    def refresh(self) -> None:
        """Look up which addresses are there."""
        for service in self._services:
            if service.interface is None or not service.addresses:
                continue
            try:
                found = addresses.present(service.interface)
            except GtmError as error:
                self._fault(error)
                continue
            for address in service.addresses:
                self._there[service.interface, address] = address in found

    def present(self, service: Service) -> Mapping[IPAddress, bool]:
        """Whether each of a service's addresses is on its interface, as far as that is ours to say."""
        if service.interface is None:
            return {}
        return {each: self._there.get((service.interface, each), False) for each in service.addresses}

    def put_on(self, service: Service) -> None:
        """Have a service's addresses on its interface."""
        self._change(service, wanted=True)

    def take_off(self, service: Service) -> None:
        """Have a service's addresses not on its interface."""
        self._change(service, wanted=False)

    def _change(self, service: Service, *, wanted: bool) -> None:
        interface = service.interface
        if interface is None:
            return
        for address in service.addresses:
            if self._there.get((interface, address)) is wanted:
                continue
            try:
                (addresses.put_on if wanted else addresses.take_off)(interface, address)
            except GtmError as error:
                self._fault(error)
                continue
            self._there[interface, address] = wanted
            self.problem = None
            log.info("address", address=str(address), interface=interface, present=wanted)

    def watch(self, service: str, *, counting: bool) -> None:
        """Count a service's connections often, or not."""
        if counting and service not in self._counting:
            self._counting.add(service)
            self._hurry.set()
        elif not counting:
            self._counting.discard(service)

    async def count(self) -> bool:
        """Count connections; whether any figure changed."""
        before = dict(self.connections)
        for service in self._services:
            try:
                self.connections[service.name] = await asyncio.to_thread(count, service)
            except GtmError as error:
                self.connections[service.name] = None
                self._fault(error)
        return before != self.connections

    async def run(self) -> None:
        """Count, and look after addresses that somebody else took off or put on, until cancelled."""
        while True:
            if await self.count():
                self._on_change()
            self._hurry.clear()
            try:
                async with asyncio.timeout(COUNT_FAST_S if self._counting else COUNT_S):
                    await self._hurry.wait()
            except TimeoutError:
                before = dict(self._there)
                self.refresh()
                if before != self._there:
                    self._on_change()

    def _fault(self, error: GtmError) -> None:
        if str(error) != self.problem:
            log.error("attendance", reason=str(error))
        self.problem = str(error)
