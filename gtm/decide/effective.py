"""Effective health: what checks say, unless people said otherwise.

Rules, first that applies: forced down, draining, forced up (on the instance, its pool or its region), no check, the
checks' verdict. Down beats up because an order to keep traffic away must not be undone by another order's breadth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gtm.model.check import Target
from gtm.model.health import Health, Judgement
from gtm.model.override import Action, Override
from gtm.model.plan import Cause
from gtm.model.pool import Instance

_PRECEDENCE = (
    (Action.FORCE_DOWN, Health.FORCED_DOWN),
    (Action.DRAIN, Health.DRAINING),
    (Action.FORCE_UP, Health.FORCED_UP),
)
_UNCHECKED: tuple[Health, Cause] = (Health.UP, None)
_UNKNOWN = Health.UNKNOWN


def effective(
    instance: Instance, target: Target | None, judgements: Mapping[Target, Judgement], orders: Sequence[Override]
) -> tuple[Health, Cause]:
    """An instance's health and what it follows from.

    `target` is what its pool's check probes for it; `orders` are the active overrides of its pool and its region, and
    of instances there.
    """
    if orders:
        found = _ordered(instance, orders)
        if found is not None:
            return found
    if target is None:
        return _UNCHECKED
    judgement = judgements.get(target)
    return _UNKNOWN if judgement is None else judgement.health, target


def _ordered(instance: Instance, orders: Sequence[Override]) -> tuple[Health, Override] | None:
    mine = [order for order in orders if order.subject.kind != "instance" or _names(order, instance)]
    for action, health in _PRECEDENCE:
        for order in mine:
            if order.action is action:
                return health, order
    return None


def _names(order: Override, instance: Instance) -> bool:
    return order.subject.name == f"{instance.region}/{instance.label}"


def orders_on(overrides: Sequence[Override], region: str, pool: str | None = None) -> tuple[Override, ...]:
    """Those overrides that are about a region or instances in it, or about a pool, in the order in which they stand."""
    return tuple(order for order in overrides if _concerns(order, region, pool))


def _concerns(order: Override, region: str, pool: str | None) -> bool:
    kind, name = order.subject.kind, order.subject.name
    match kind:
        case "pool":
            return name == pool
        case "region":
            return name == region
        case "instance":
            return name.startswith(f"{region}/")
        case _:
            return False
