"""Effective health: what checks say, unless people said otherwise.

Rules, first that applies: forced down, draining, forced up (on the instance, its pool or its region), no check, the
checks' verdict. Down beats up because an order to keep traffic away must not be undone by another order's breadth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gtm.model.check import Target
from gtm.model.health import Health, Judgement
from gtm.model.override import Action, Override
from gtm.model.pool import Instance, Pool

_PRECEDENCE = (
    (Action.FORCE_DOWN, Health.FORCED_DOWN, "forced down"),
    (Action.DRAIN, Health.DRAINING, "drained"),
    (Action.FORCE_UP, Health.FORCED_UP, "forced up"),
)


def effective(
    pool: Pool, instance: Instance, judgements: Mapping[Target, Judgement], overrides: Sequence[Override]
) -> tuple[Health, str]:
    """An instance's health and the reason for it; `overrides` are those that are active."""
    mine = [override for override in overrides if covers(override, pool, instance)]
    for action, health, word in _PRECEDENCE:
        for override in mine:
            if override.action is action:
                return health, f"{word} by {override.owner} at {override.subject}: {override.reason}"
    target = pool.target(instance)
    if target is None:
        return Health.UP, "not checked"
    health = judgements.get(target, Judgement()).health
    return health, f"check {target} says {health}"


def covers(override: Override, pool: Pool, instance: Instance) -> bool:
    """Whether an override is about this instance of this pool."""
    subject = override.subject
    return (
        (subject.kind == "region" and subject.name == instance.region)
        or (subject.kind == "pool" and subject.name == pool.name)
        or (subject.kind == "instance" and subject.name == f"{instance.region}/{instance.label}")
    )
