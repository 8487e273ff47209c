"""Composed checks: a target's health that follows from that of others at the same moment.

Three-valued logic (Kleene's strong one) with DEGRADED as a lesser UP: DOWN < UNKNOWN < DEGRADED < UP, "and" is the
least of the terms, "or" the greatest, "at least k" the k-th greatest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import assert_never

from gtm.model.check import AtLeast, Check, Composed, Member, Not, Target, Term
from gtm.model.health import Health, Judgement

_ORDER = (Health.DOWN, Health.UNKNOWN, Health.DEGRADED, Health.UP)
_RANK = {health: rank for rank, health in enumerate(_ORDER)}
_NOT = {Health.DOWN: Health.UP, Health.UNKNOWN: Health.UNKNOWN, Health.DEGRADED: Health.DOWN, Health.UP: Health.DOWN}


def member_target(member: Member, target: Target) -> Target:
    """What a member of a composed target's check looks at."""
    return Target(check=member.check, address=member.address or target.address)


def value(term: Term, target: Target, judgements: Mapping[Target, Judgement]) -> Health:
    """The health that a term has for a composed target; members not judged yet are UNKNOWN."""
    match term:
        case Member():
            judged = judgements.get(member_target(term, target))
            return Health.UNKNOWN if judged is None else judged.health
        case Not(of=other):
            return _NOT[value(other, target, judgements)]
        case AtLeast(count=count, of=terms):
            ranks = sorted((_RANK[value(each, target, judgements)] for each in terms), reverse=True)
            return _ORDER[ranks[count - 1]]
        case _:
            assert_never(term)


def composed_in_order(checks: Mapping[Target, Check]) -> tuple[tuple[Target, Composed], ...]:
    """The composed targets, each after those that it looks at."""
    ordered: dict[Target, Composed] = {}

    def visit(target: Target) -> None:
        check = checks.get(target)
        if check is None or not isinstance(check.probe, Composed) or target in ordered:
            return
        for member in check.probe.members():
            visit(member_target(member, target))
        ordered[target] = check.probe

    for target in checks:
        visit(target)
    return tuple(ordered.items())


def compose(
    composed: tuple[tuple[Target, Composed], ...],
    judgements: Mapping[Target, Judgement],
    before: Mapping[Target, Judgement],
    now_s: float,
) -> Iterator[tuple[Target, Judgement]]:
    """The judgement of every composed target, given those of all others; one that did not change is as before.

    It is stale where a member is. `composed` as `composed_in_order` gives it; `now_s` is when a change is said to be.
    """
    known = dict(judgements)
    for target, probe in composed:
        health = value(probe.term, target, known)
        stale = any(_stale(known.get(member_target(member, target))) for member in probe.members())
        was = before.get(target)
        if was is None or was.health is not health:
            made = Judgement(health=health, since_s=now_s, stale=stale)
        else:
            made = was if was.stale is stale else replace(was, stale=stale)
        known[target] = made
        yield target, made


def _stale(judgement: Judgement | None) -> bool:
    return judgement is not None and judgement.stale
