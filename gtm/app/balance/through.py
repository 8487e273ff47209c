"""Checks through a VIP: where each goes, and the program that takes it there, held by the manager that asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gtm.app.balance.plan import mac_of, record, target_of
from gtm.model.address import IPAddress
from gtm.model.balance import Backend, Dataplane, Instance, Service, Through
from gtm.model.check import Target
from gtm.publish.dataplane import checker
from gtm.publish.dataplane.checker import Checker


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a backend is asked through the VIP: at that address, by packets with its mark."""

    vip: IPAddress
    mark: int


@dataclass(frozen=True, slots=True)
class Ways:
    """The program, if checks of this instance go through VIPs, and the numbers that it knows backends by."""

    number: Callable[[Iterable[str]], Mapping[str, int]]
    program: Checker | None

    def of(self, dataplane: Dataplane, instance: Instance) -> dict[Target, Way]:
        """The way to each target that is asked through its VIP. Raises StoreError."""
        pairs = list(_asked(dataplane, instance))
        numbers = self._numbers(pairs)
        found = {}
        for service, backend in pairs:
            target = target_of(service, backend)
            if target is not None:
                found[target] = Way(vip=service.vips[0], mark=checker.mark(numbers[service.key(backend)]))
        return found

    def write(self, dataplane: Dataplane, instance: Instance, macs: Mapping[IPAddress, bytes]) -> None:
        """Bring the program's table to the backends whose next hop is known, whatever is thought of them."""
        if self.program is None:
            return
        pairs = list(_asked(dataplane, instance))
        numbers = self._numbers(pairs)
        self.program.write(
            {
                numbers[service.key(backend)]: record(backend, instance, mac)
                for service, backend in pairs
                if (mac := mac_of(backend, instance, macs)) is not None
            }
        )

    def _numbers(self, pairs: list[tuple[Service, Backend]]) -> Mapping[str, int]:
        return self.number(service.key(backend) for service, backend in pairs) if pairs else {}


@contextmanager
def attached(object_file: Path, interface: str) -> Iterator[Checker]:
    """The program, on the interface until this is left. Raises PublishError and OSError."""
    with Checker(object_file) as program:
        program.attach(interface)
        try:
            yield program
        finally:
            checker.detach(interface)


def _asked(dataplane: Dataplane, instance: Instance) -> Iterator[tuple[Service, Backend]]:
    for service in dataplane.services.values():
        if service.check is not None and service.through is Through.VIP:
            yield from ((service, backend) for backend in service.backends_of(instance.region))
