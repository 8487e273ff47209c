"""Quorum: what several vantage points that look at one target make of it together.

A vantage point that has lost its own uplink sees everything down. It is recognised by just that, and its votes are not
counted, as long as it is not one of a majority: when most of them see everything down, everything is.

Targets are not probed all at once, so the first of them may be down before the others have failed. While others are
heard they outvote that; where its own vote is the only one, it counts once something else has been reached since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import ceil, floor, inf

from gtm.model.check import QUORUM_DEFAULT, Check, Target
from gtm.model.health import Health, Judgement, Vote

CUT_OFF_SHARE = 0.9
CUT_OFF_TARGETS_MIN = 3
BLIND = "it sees almost everything down and is taken to be cut off itself"
SILENT = "it has not been heard of lately"
STALE = "its check has not run lately"
UNPROVEN = "it is alone with this and has reached too little else since to know that it is not cut off itself"

_SERVING = frozenset({Health.UP, Health.DEGRADED})
_VOICED = _SERVING | {Health.DOWN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Vantage:
    """A vantage point and its own judgements (of others only health, since and stale are known).

    `fresh`: it has been heard of lately.
    """

    name: str
    opinions: Mapping[Target, Judgement]
    fresh: bool = True


def agree(votes: Iterable[Vote], share: float = QUORUM_DEFAULT) -> Health:
    """What the counted votes come to; UNKNOWN if there is none that says anything.

    DOWN when at least `share` of them say so (and at least one does), else DEGRADED when at least `share` say DOWN or
    DEGRADED, else UP. Votes that say UNKNOWN are no votes.
    """
    voiced = [vote.health for vote in votes if vote.counted and vote.health in _VOICED]
    if not voiced:
        return Health.UNKNOWN
    need = max(1, ceil(share * len(voiced) - 1e-9))
    down = voiced.count(Health.DOWN)
    if down >= need:
        return Health.DOWN
    return Health.DEGRADED if down + voiced.count(Health.DEGRADED) >= need else Health.UP


def fails(one: Judgement) -> bool:
    """Whether a target is down, or its last results say that it will be: of others' targets only the former is known.

    Who loses its uplink sees that at the first round of probes, not only when `fall` have failed. By then others
    may be silent already, and the first of its targets to be down would be so by its voice alone.
    """
    return one.health is Health.DOWN or one.failures > 0


def sees_nothing(vantage: Vantage) -> bool:
    """Whether almost everything fails for a vantage point: CUT_OFF_SHARE of at least CUT_OFF_TARGETS_MIN targets."""
    voiced = [fails(one) for one in vantage.opinions.values() if not one.stale and one.health in _VOICED]
    return len(voiced) >= CUT_OFF_TARGETS_MIN and voiced.count(True) >= CUT_OFF_SHARE * len(voiced)


def cut_off(vantages: Sequence[Vantage]) -> frozenset[str]:
    """The vantage points taken to be cut off: those that see nothing, if they are at most half of all that are known.

    All that are known count, not only those heard of lately: one that is left alone and sees nothing is cut off.
    """
    blind = [one.name for one in vantages if one.fresh and sees_nothing(one)]
    return frozenset(blind) if 2 * len(blind) <= len(vantages) else frozenset()


def proved_s(vantage: Vantage) -> float:
    """Until when a vantage point is known not to have seen nothing: enough of its targets succeeded then or later.

    -inf if too few have, inf where there are too few targets to tell. It is asked of own judgements, with their last
    results.
    """
    voiced = [one for one in vantage.opinions.values() if not one.stale and one.health in _VOICED]
    if len(voiced) < CUT_OFF_TARGETS_MIN:
        return inf
    good = sorted((one.last.at_s for one in voiced if one.last is not None and one.last.ok), reverse=True)
    needed = floor(len(voiced) - CUT_OFF_SHARE * len(voiced) + 1e-9) + 1
    return good[needed - 1] if needed <= len(good) else -inf


def judge(
    targets: Iterable[Target],
    checks: Mapping[Target, Check],
    own: Vantage,
    others: Sequence[Vantage],
    blind: frozenset[str],
    before: Mapping[Target, Judgement],
) -> Iterator[tuple[Target, Judgement]]:
    """The judgement of each of these targets by all vantage points; `own` is this node's, with its own judgements.

    `blind` are those that `cut_off` names; it looks at all that they see, so it is asked only when that has changed.
    Without others a target's judgement is this node's own. Where its own vote is the only one, what it newly calls DOWN
    waits until `proved_s` is later than that; the vote says UNPROVEN until then. Where no vote counts (this node is cut
    off and nobody else is heard) the judgement before stands. A target that this node does not probe is judged by those
    that do.
    """
    if not others:
        yield from ((target, own.opinions.get(target) or Judgement()) for target in targets)
        return
    vantages = sorted((own, *others), key=lambda vantage: vantage.name)
    proved = cache(lambda: proved_s(own))
    for target in targets:
        yield target, _judged(target, checks[target], vantages, blind, own, before.get(target), proved)


def _judged(
    target: Target,
    check: Check,
    vantages: Sequence[Vantage],
    blind: frozenset[str],
    own: Vantage,
    before: Judgement | None,
    proved: Callable[[], float],
) -> Judgement:
    votes = tuple(
        _vote(vantage, opinion, blind=vantage.name in blind)
        for vantage in vantages
        if (opinion := vantage.opinions.get(target)) is not None
    )
    mine = own.opinions.get(target) or Judgement()
    if before is not None and before.health in _SERVING and mine.health is Health.DOWN:
        counted = [vote.vantage for vote in votes if vote.counted]
        if counted == [own.name] and mine.since_s > proved():
            votes = tuple(replace(vote, counted=False, why=UNPROVEN) if vote.counted else vote for vote in votes)
    health = agree(votes, check.quorum)
    if health is Health.UNKNOWN and before is not None:
        health = before.health
    since_s = _since_s(target, health, vantages, before)
    stale = bool(votes) and all(vote.why == STALE for vote in votes if vote.why != SILENT)
    return replace(mine, health=health, since_s=since_s, stale=stale, votes=votes)


def _vote(vantage: Vantage, opinion: Judgement, *, blind: bool) -> Vote:
    why = BLIND if blind else SILENT if not vantage.fresh else STALE if opinion.stale else ""
    return Vote(vantage=vantage.name, health=opinion.health, counted=not why, why=why)


def _since_s(target: Target, health: Health, vantages: Sequence[Vantage], before: Judgement | None) -> float:
    """Since when they agree on it: as before, or when the last of those that think so came to it."""
    if before is not None and before.health is health:
        return before.since_s
    same = (one.opinions.get(target) for one in vantages)
    return max((one.since_s for one in same if one is not None and one.health is health), default=0.0)
