"""Pace: what the TTLs hang on of names that have a range of them; empty in deployments without such names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import is_

from gtm.decide.flip import flip_s, left_s, probed
from gtm.decide.part import Part
from gtm.model.check import Check, Target
from gtm.model.deployment import Deployment
from gtm.model.health import Judgement
from gtm.model.override import Override

_UNJUDGED = Judgement()
_Judged = Mapping[Target, Judgement]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The parts whose flips matter.

    horizon_of  the longest TTL that a name with a range has on a part: what is farther off does not matter there
    horizon_s   the longest of these, 0 if there is none
    of_target   the parts with a horizon whose flips follow from a probed target's, by way of composed checks too
    checks, own the deployment's checks, and the name of this node's vantage point
    """

    horizon_of: Mapping[Part, int]
    horizon_s: int
    of_target: Mapping[Target, tuple[Part, ...]]
    checks: Mapping[str, Check]
    own: str

    @classmethod
    def of(cls, deployment: Deployment, parts: Mapping[str, tuple[Part, ...]]) -> Pace:
        """The pace of a deployment whose pools have these parts."""
        horizons: dict[Part, int] = {}
        for pool, horizon_s in horizons_of(deployment).items():
            for part in parts[pool]:
                horizons[part] = max(horizon_s, horizons.get(part, 0))
        targets: defaultdict[Target, dict[Part, None]] = defaultdict(dict)
        for part in horizons:
            for _, target in part.members:
                if target is not None:
                    for each in probed(target, deployment.checks):
                        targets[each][part] = None
        return cls(
            horizon_of=horizons,
            horizon_s=max(horizons.values(), default=0),
            of_target={target: tuple(found) for target, found in targets.items()},
            checks=deployment.checks,
            own=deployment.node.name,
        )

    def moved(self, target: Target, was: Judgement | None, now: Judgement | None) -> bool:
        """Whether a TTL may be another one because of what is known of a probed target, whatever its health is."""
        was, now = was or _UNJUDGED, now or _UNJUDGED
        if not self.horizon_s or _alike(was, now) or target not in self.of_target:
            return False
        check = self.checks[target.check]
        before_s, after_s = flip_s(was, check, self.own), flip_s(now, check, self.own)
        return before_s != after_s and min(before_s, after_s) < self.horizon_s

    def targets_moved(self, before: _Judged, after: _Judged) -> list[Target]:
        """The targets for which that is so between two snapshots."""
        if not self.horizon_s:
            return []
        if len(before) == len(after) and all(map(is_, before, after)):  # then no target has to be hashed
            pairs = zip(before.items(), after.values(), strict=True)
            return [target for (target, was), now in pairs if was is not now and self.moved(target, was, now)]
        return [target for target in self.of_target if self.moved(target, before.get(target), after.get(target))]

    def ends_moved(self, orders: Iterable[Override], before_s: float, after_s: float) -> set[Override]:
        """The orders whose end bounds a TTL by another number of seconds at one moment than at the other."""
        if not self.horizon_s:
            return set()
        return {
            order
            for order in orders
            if order.until_s is not None
            and min(self.horizon_s, left_s(order, before_s)) != min(self.horizon_s, left_s(order, after_s))
        }


def horizons_of(deployment: Deployment) -> dict[str, int]:
    """By pool, the longest TTL of the names on it that have a range."""
    horizons: dict[str, int] = {}
    for name in deployment.names:
        if name.ttl_min_s is not None:
            horizons[name.pool] = max(name.ttl_s, horizons.get(name.pool, 0))
    return horizons


def _alike(was: Judgement, now: Judgement) -> bool:
    """Whether two judgements are equal in all that a flip follows from; of most probes this is so."""
    return (
        was.health is now.health
        and was.streak == now.streak
        and was.failures == now.failures
        and (was.votes is now.votes or was.votes == now.votes)
    )
