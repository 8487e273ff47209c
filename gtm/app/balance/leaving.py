"""Which backends orders take out of balancing, who is left then, and the guard against taking the last one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gtm.model.address import IPAddress
from gtm.model.balance import Backend, Dataplane, Service
from gtm.model.errors import Refused
from gtm.model.override import Action, Override

GUARD = "last-backend"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendsLeft:
    """The backends of a service that take new flows in a region, by name."""

    region: str
    backends: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeavingBackend:
    """A backend that takes no new flows any more, and keeps those that it has for `drain_s`; who is `left` beside it.

    Health is not asked: those that are left may be down.
    """

    service: str
    backend: str
    address: IPAddress
    drain_s: float
    left: tuple[BackendsLeft, ...]


def leaving(
    dataplane: Dataplane | None, before: Iterable[Override], after: Iterable[Override]
) -> tuple[LeavingBackend, ...]:
    """The backends that one set of orders drains and another one did not, in file order."""
    if dataplane is None:
        return ()
    then, now = tuple(before), tuple(after)
    return tuple(
        LeavingBackend(
            service=service.name,
            backend=backend.name,
            address=backend.address,
            drain_s=service.drain_s,
            left=tuple(
                BackendsLeft(region=region, backends=_taking(service, region, now))
                for region in _regions(dataplane, service)
                if backend in service.backends_of(region)
            ),
        )
        for service in dataplane.services.values()
        for backend in service.backends
        if backend.weight and drained(service, backend, now) and not drained(service, backend, then)
    )


def drained(service: Service, backend: Backend, orders: Iterable[Override]) -> bool:
    """Whether an order drains a backend: one on itself, or on the instance of its region and address."""
    names = {("backend", service.key(backend)), ("instance", f"{backend.region}/{backend.address}")}
    return any(one.action is Action.DRAIN and (one.subject.kind, one.subject.name) in names for one in orders)


def guard(found: Iterable[LeavingBackend]) -> None:
    """Raises Refused if a service would have no backend left in a region whose instances balance it."""
    emptied = [f"{one.service} in {left.region}" for one in found for left in one.left if not left.backends]
    if emptied:
        names = ", ".join(dict.fromkeys(emptied))
        raise Refused(f"{names} would have no backend left; --force does it all the same", guard=GUARD)


def _regions(dataplane: Dataplane, service: Service) -> tuple[str, ...]:
    """The regions whose instances balance a service."""
    regions = dict.fromkeys(instance.region for instance in dataplane.instances.values())
    return tuple(region for region in regions if service.backends_of(region))


def _taking(service: Service, region: str, orders: tuple[Override, ...]) -> tuple[str, ...]:
    backends = service.backends_of(region)
    return tuple(each.name for each in backends if each.weight and not drained(service, each, orders))
