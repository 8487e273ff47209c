"""Parts: what the pools have in each region, worked out once per deployment so that a decision need not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from gtm.model.check import Target
from gtm.model.pool import Instance, Pool
from gtm.model.region import Region

Member = tuple[Instance, Target | None]
_Content = tuple[str, float, tuple[Member, ...]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """A pool's instances in a region, with what is probed for each, and the least share of them that makes it up.

    Pools that have the same there share one part. Parts are told apart by identity, which hashes at once.
    """

    region: str
    threshold: float
    members: tuple[Member, ...]


class Parts:
    """Makes parts; equal ones are one object."""

    def __init__(self, regions: Mapping[str, Region]) -> None:
        """For the regions of a deployment, in its order."""
        self._regions = regions
        self._made: dict[_Content, Part] = {}

    def of(self, pool: Pool) -> tuple[Part, ...]:
        """A pool's parts, in the order of the regions."""
        members: defaultdict[str, list[Member]] = defaultdict(list)
        for instance in pool.instances:
            members[instance.region].append((instance, pool.target(instance)))
        return tuple(
            self._part((name, region.threshold if pool.threshold is None else pool.threshold, tuple(members[name])))
            for name, region in self._regions.items()
            if name in members
        )

    def _part(self, content: _Content) -> Part:
        part = self._made.get(content)
        if part is None:
            region, threshold, members = content
            part = self._made[content] = Part(region=region, threshold=threshold, members=members)
        return part
