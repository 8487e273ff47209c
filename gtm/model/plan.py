"""All outputs of the decision, with their reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gtm.model.health import Health
from gtm.model.pool import Instance


@dataclass(frozen=True, slots=True, kw_only=True)
class InstancePlan:
    """An instance with its effective health, whether it may be answered, and why."""

    instance: Instance
    health: Health
    available: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionPlan:
    """A pool's part in one region: up or not, how many of its instances are healthy, and why."""

    region: str
    available: bool
    healthy: int
    total: int
    reason: str
    instances: tuple[InstancePlan, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolPlan:
    """A pool by region, in the deployment's region order; `all_down` when no region of it is available.

    `last_good` are the regions as they were when one was last available (for the `last_good` rule), if that is known.
    """

    name: str
    regions: Mapping[str, RegionPlan]
    all_down: bool
    last_good: Mapping[str, RegionPlan] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The decision of one revision."""

    revision: int
    pools: Mapping[str, PoolPlan]
