"""Flips: how long a verdict stands at least, for one vantage point, for several, for orders and composed checks."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from math import inf

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gtm.decide.flip import Flips, flip_s, left_s, probed
from gtm.decide.health import fold
from gtm.decide.quorum import Vantage, cut_off, judge
from gtm.model.check import AtLeast, Cadence, Check, Composed, Degraded, Member, Not, Target, TcpProbe
from gtm.model.health import Health, Judgement, Result
from gtm.model.override import Action, Override, Subject
from tests.decide.world import deployment, snapshot

CHECK = Check(name="web", probe=TcpProbe(port=80), cadence=Cadence(interval_s=10.0, fall=3, rise=2))
QUICK = replace(CHECK, cadence=replace(CHECK.cadence, fast_s=1.0))
TARGET = Target(check="web", address=IPv4Address("192.0.2.1"))
VERDICTS = (Health.UP, Health.DEGRADED, Health.DOWN)


@pytest.mark.parametrize(
    ("health", "streak", "failures", "steady_s", "quick_s"),
    [
        (Health.UP, 0, 0, 30, 12),  # with a fast interval the first of them still comes at its time
        (Health.UP, 1, 1, 20, 2),
        (Health.UP, 2, 2, 10, 1),
        (Health.UP, 2, 0, 10, 1),  # twice poor: DEGRADED is near
        (Health.DOWN, 0, 40, 20, 11),
        (Health.DOWN, 1, 0, 10, 1),
        (Health.DEGRADED, 0, 0, 20, 11),
        (Health.DEGRADED, 1, 0, 10, 1),
        (Health.DEGRADED, 0, 2, 10, 1),
        (Health.UNKNOWN, 0, 0, 0, 0),
    ],
)
def test_the_missing_results_times_the_interval(
    health: Health, streak: int, failures: int, steady_s: float, quick_s: float
) -> None:
    judgement = Judgement(health=health, streak=streak, failures=failures)
    assert flip_s(judgement, CHECK) == steady_s
    assert flip_s(judgement, QUICK) == quick_s


def test_times_are_whole_seconds_rounded_down() -> None:
    short = replace(CHECK, cadence=Cadence(interval_s=0.7, fall=3))
    assert flip_s(Judgement(health=Health.UP), short) == 2
    assert flip_s(Judgement(health=Health.UP), replace(CHECK, cadence=Cadence(interval_s=0.1, fall=10))) == 1


cadences = st.builds(
    Cadence,
    interval_s=st.sampled_from((0.5, 2.0, 10.0)),
    fall=st.integers(1, 6),
    rise=st.integers(1, 6),
    fast_s=st.sampled_from((None, 0.5, 3.0, 60.0)),
)
results = st.builds(lambda ok, poor: (ok, poor and ok), st.booleans(), st.sampled_from((False, False, True)))


@given(cadences, st.lists(results, max_size=12))
def test_no_verdict_changes_in_fewer_results_than_a_flip_takes(cadence: Cadence, seen: list[tuple[bool, bool]]) -> None:
    check = replace(CHECK, cadence=cadence)
    judgement = folded(Judgement(), seen, cadence)
    assume(judgement.health is not Health.UNKNOWN)
    soonest_s = min(_time_s(judgement, all_of, cadence) for all_of in ((False, False), (True, True), (True, False)))
    assert flip_s(judgement, check) == int(soonest_s + 1e-6)


def _time_s(judgement: Judgement, result: tuple[bool, bool], cadence: Cadence) -> float:
    """The time until the verdict changes if every result is this one, by trying it."""
    fast_s = min(cadence.fast_s or cadence.interval_s, cadence.interval_s)
    turning = judgement.streak > 0 or (judgement.failures > 0 and judgement.health is not Health.DOWN)
    passed_s = fast_s if turning else cadence.interval_s
    now = judgement
    for _ in range(7):
        now = folded(now, [result], cadence)
        if now.health is not judgement.health:
            return passed_s
        passed_s += fast_s
    return inf


@given(cadences, st.lists(results, max_size=8), st.sampled_from((None, 0.2)))
def test_more_failures_in_a_row_never_lengthen_it(
    cadence: Cadence, seen: list[tuple[bool, bool]], errors: float | None
) -> None:
    check = replace(CHECK, cadence=cadence, degraded=Degraded(errors=errors, window=4))
    judgement = folded(Judgement(), [*seen, (False, False)], cadence, check.degraded)
    times: list[float] = []
    while judgement.health in {Health.UP, Health.DEGRADED} and len(times) < 12:
        times.append(flip_s(judgement, check))
        before, judgement = judgement, folded(judgement, [(False, False)], cadence, check.degraded)
        if judgement.health is not before.health:
            break
    assert times == sorted(times, reverse=True)


def folded(
    judgement: Judgement, seen: list[tuple[bool, bool]], cadence: Cadence, degraded: Degraded | None = None
) -> Judgement:
    at_s = 0.0 if judgement.last is None else judgement.last.at_s
    for ok, poor in seen:
        at_s += 1.0
        result = Result(at_s=at_s, ok=ok, took_s=0.01, detail="", poor=poor)
        judgement = fold(judgement, result, cadence, degraded or Degraded())
    return judgement


# Several vantage points


def judged(own: Judgement, *others: Health, quorum: float = 0.51) -> tuple[Judgement, Check]:
    """What they make of one target together."""
    check = replace(CHECK, quorum=quorum)
    vantages = [
        Vantage(name=f"v{number}", opinions={TARGET: Judgement(health=health)}) for number, health in enumerate(others)
    ]
    me = Vantage(name="me", opinions={TARGET: own})
    found = judge([TARGET], {TARGET: check}, me, vantages, cut_off((me, *vantages)), {})
    return dict(found)[TARGET], check


@pytest.mark.parametrize(
    ("own", "others", "quorum", "expected_s"),
    [
        (Judgement(health=Health.UP, streak=2, failures=2), "UU", 0.51, 30),  # one alone cannot flip it
        (Judgement(health=Health.UP, streak=2, failures=2), "DU", 0.51, 10),  # here its own vote decides
        (Judgement(health=Health.UP, streak=2, failures=2), "UU", 0.3, 10),  # any of them can
        (Judgement(health=Health.UP), "DU", 0.51, 30),
        (Judgement(health=Health.DOWN), "DU", 0.51, 20),  # two of three say down: one that recovers ends it
        (Judgement(health=Health.DOWN, streak=1), "DU", 0.51, 10),
        (Judgement(health=Health.DOWN, streak=1), "DD", 0.51, 20),  # all three: it takes two of them
        (Judgement(health=Health.UP, streak=2, failures=2), "DD", 0.51, 20),  # its own vote is no help here
        (Judgement(health=Health.DEGRADED, streak=1), "GU", 0.51, 10),
    ],
)
def test_a_quorum_flips_when_enough_of_its_votes_do(
    own: Judgement, others: str, quorum: float, expected_s: float
) -> None:
    names = {"U": Health.UP, "D": Health.DOWN, "G": Health.DEGRADED}
    judgement, check = judged(own, *(names[each] for each in others), quorum=quorum)
    assert flip_s(judgement, check, "me") == expected_s


@given(
    st.sampled_from(VERDICTS),
    st.integers(0, 1),
    st.lists(st.sampled_from((*VERDICTS, Health.UNKNOWN)), min_size=1, max_size=4),
    st.sampled_from((0.2, 0.51, 0.75, 1.0)),
)
def test_no_quorum_changes_before_as_many_votes_as_it_takes_have_changed(
    own: Health, streak: int, others: list[Health], quorum: float
) -> None:
    """The time is one of the votes' own times, and no sooner set of changed votes changes the verdict."""
    mine = Judgement(health=own, streak=streak, failures=streak if own is Health.UP else 0)
    judgement, check = judged(mine, *others, quorum=quorum)
    alone = [flip_s(mine, CHECK), *(flip_s(Judgement(health=each), CHECK) for each in others)]
    voiced = [time_s for time_s, health in zip(alone, (own, *others), strict=True) if health in VERDICTS]
    time_s = flip_s(judgement, check, "me")
    assert time_s in voiced
    sooner = [number for number, own_s in enumerate(alone) if own_s < time_s]
    for wanted in VERDICTS:
        changed = [wanted if number in sooner else health for number, health in enumerate((own, *others))]
        unknown = [number for number, health in enumerate((own, *others)) if health is Health.UNKNOWN]
        for number in unknown:  # they may speak up at any time, which a hint does not reckon with
            changed[number] = Health.UNKNOWN
        again, _ = judged(Judgement(health=changed[0]), *changed[1:], quorum=quorum)
        assert again.health is judgement.health


def test_where_no_vote_counts_the_next_one_decides() -> None:
    opinions = {TARGET: Judgement(health=Health.UP)}
    silent = Vantage(name="v", opinions=opinions, fresh=False)
    deaf = Vantage(name="me", opinions={TARGET: Judgement(health=Health.UNKNOWN)})
    found = dict(judge([TARGET], {TARGET: CHECK}, deaf, [silent], frozenset(), {TARGET: Judgement(health=Health.UP)}))
    assert found[TARGET].health is Health.UP
    assert flip_s(found[TARGET], CHECK, "me") == 0


# Orders and composed checks


def test_orders_end_when_they_say() -> None:
    order = Override(
        subject=Subject(kind="region", name="us-east"), action=Action.DRAIN, owner="ann", reason="", since_s=0
    )
    assert left_s(order, 1000.0) == inf
    assert left_s(replace(order, until_s=1059.9), 1000.0) == 59
    assert left_s(replace(order, until_s=999.0), 1000.0) == 0
    flips = Flips(snapshot(now_s=1000.0))
    assert flips.of(order) == inf
    assert flips.of(replace(order, until_s=1007.0)) == 7
    assert flips.of(None) == inf


def test_a_composed_check_flips_with_the_soonest_that_it_looks_at() -> None:
    away = IPv4Address("192.0.2.99")
    slow = Check(name="slow", probe=TcpProbe(port=81), cadence=Cadence(interval_s=60.0, fall=3, rise=2))
    inner = Check(name="inner", probe=Composed(term=Not(of=Member(check="slow", address=away))))
    both = Composed(term=AtLeast(count=2, of=(Member(check="web"), Member(check="inner"))))
    checks = {"web": CHECK, "slow": slow, "inner": inner, "both": Check(name="both", probe=both)}
    target = Target(check="both", address=TARGET.address)
    assert list(probed(target, checks)) == [TARGET, Target(check="slow", address=away)]
    judgements = {
        TARGET: Judgement(health=Health.UP),
        Target(check="slow", address=away): Judgement(health=Health.DOWN),
    }
    now = replace(snapshot(), deployment=replace(deployment(), checks=checks), judgements=judgements)
    assert Flips(now).of(target) == 30
    assert Flips(replace(now, judgements=judgements | {TARGET: Judgement(health=Health.UP, streak=2)})).of(target) == 10
    unjudged = {TARGET: Judgement(health=Health.UP)}
    assert Flips(replace(now, judgements=unjudged)).of(target) == 0
