"""The panel: results, other nodes' words and composed checks, in whatever order they come."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_address
from unittest.mock import ANY

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm.app.panel import Change, Panel
from gtm.decide.quorum import BLIND, SILENT, UNPROVEN, Vantage
from gtm.model.check import AtLeast, Cadence, Check, Composed, Member, Target, TcpProbe
from gtm.model.health import Health, Judgement, Result, Vote

UP, DOWN, UNKNOWN = Health.UP, Health.DOWN, Health.UNKNOWN
QUICK = Cadence(fall=1, rise=1)
WEB, DB = (
    Check(name="web", probe=TcpProbe(port=80), cadence=QUICK),
    Check(name="db", probe=TcpProbe(port=5), cadence=QUICK),
)
WHOLE = Check(name="whole", probe=Composed(term=AtLeast(count=2, of=(Member(check="web"), Member(check="db")))))
HOSTS = [ip_address(f"192.0.2.{number}") for number in range(1, 5)]
CHECKS = {Target(check=check.name, address=host): check for check in (WHOLE, WEB, DB) for host in HOSTS}
WEBS = [Target(check="web", address=host) for host in HOSTS]
DBS = [Target(check="db", address=host) for host in HOSTS]
WHOLES = [Target(check="whole", address=host) for host in HOSTS]


def result(at_s: float, *, ok: bool) -> Result:
    return Result(at_s=at_s, ok=ok, took_s=0.0, detail="")


def panel(remembered: Judgement | None = None) -> Panel:
    return Panel("here", CHECKS, {} if remembered is None else {WEBS[0]: remembered}, now_s=0.0)


def every(panel: Panel, *, ok: bool, at_s: float = 1.0) -> list[Change]:
    return panel.fold([(target, result(at_s, ok=ok)) for target in (*WEBS, *DBS)], at_s)


def sees(name: str, *down: Target, fresh: bool = True) -> Vantage:
    opinions = {target: Judgement(health=DOWN if target in down else UP, since_s=1.0) for target in (*WEBS, *DBS)}
    return Vantage(name=name, opinions=opinions, fresh=fresh)


def states(panel: Panel, targets: list[Target]) -> list[Health]:
    return [panel.agreed[target].health for target in targets]


def test_alone_its_own_word_is_what_holds_and_composed_checks_follow() -> None:
    one = panel()
    assert set(states(one, [*CHECKS])) == {UNKNOWN}
    every(one, ok=True)
    assert set(states(one, [*CHECKS])) == {UP}
    changes = one.fold([(DBS[0], result(2.0, ok=False))], 2.0)
    assert states(one, WHOLES) == [DOWN, UP, UP, UP]
    assert [(str(change.target), change.vantage, change.after.health) for change in changes] == [
        ("db@192.0.2.1", "here", DOWN), ("db@192.0.2.1", "", DOWN), ("whole@192.0.2.1", "", DOWN),
    ]  # fmt: skip
    assert one.agreed[WHOLES[0]].since_s == 2.0


def test_what_was_remembered_holds_from_the_start() -> None:
    one = panel(Judgement(health=DOWN, since_s=3.0))
    assert states(one, WEBS) == [DOWN, UNKNOWN, UNKNOWN, UNKNOWN]
    assert states(one, WHOLES) == [DOWN, UNKNOWN, UNKNOWN, UNKNOWN]


def test_most_must_see_it_down() -> None:
    one = panel()
    every(one, ok=True)
    one.hear([sees("b", WEBS[0]), sees("c")], 2.0)
    assert states(one, WEBS) == [UP] * 4
    assert [vote.health for vote in one.agreed[WEBS[0]].votes] == [DOWN, UP, UP]
    changes = one.hear([sees("b", WEBS[0]), sees("c", WEBS[0])], 3.0)
    assert states(one, WEBS) == [DOWN, UP, UP, UP]
    assert {change.vantage for change in changes} == {""}


def test_a_node_that_is_cut_off_believes_the_others_and_alone_keeps_what_was() -> None:
    one = panel()
    every(one, ok=True)
    one.hear([sees("b", DBS[1]), sees("c", DBS[1])], 2.0)
    every(one, ok=False, at_s=3.0)
    assert one.cut_off == {"here"}
    assert states(one, DBS) == [UP, DOWN, UP, UP]
    assert [vote.why for vote in one.agreed[WEBS[0]].votes] == ["", "", BLIND]
    one.hear([sees("b", fresh=False), sees("c", fresh=False)], 4.0)
    assert states(one, DBS) == [UP, DOWN, UP, UP]
    assert states(one, WEBS) == [UP] * 4
    every(one, ok=True, at_s=5.0)
    assert one.cut_off == set()
    assert states(one, DBS) == [UP] * 4


def test_a_node_knows_that_it_is_cut_off_before_its_first_target_is_down() -> None:
    slow = {target: replace(check, cadence=Cadence(fall=2, rise=1)) for target, check in CHECKS.items()}
    one = Panel("here", slow, {}, now_s=0.0)
    every(one, ok=True)
    one.hear([sees("b"), sees("c")], 2.0)
    for target in (*WEBS, *DBS):  # they fail one by one, and the second time others are silent
        one.fold([(target, result(3.0, ok=False))], 3.0)
    assert {judgement.health for judgement in one.own.values()} == {UP}
    assert one.cut_off == {"here"}
    one.hear([sees("b", fresh=False), sees("c", fresh=False)], 4.0)
    for target in (*WEBS, *DBS):
        assert one.fold([(target, result(4.0, ok=False))], 4.0) == [
            Change(target=target, vantage="here", before=ANY, after=ANY)
        ]
    assert states(one, WEBS) == [UP] * 4
    one.fold([(target, result(5.0, ok=True)) for target in WEBS], 5.0)
    assert one.cut_off == set()


def left_alone() -> Panel:
    one = panel()
    every(one, ok=True, at_s=1.0)
    one.hear([sees("b", fresh=False), sees("c", fresh=False)], 1.0)
    return one


def test_left_alone_a_node_that_loses_its_uplink_calls_nothing_down_however_slowly_its_targets_fail() -> None:
    one = left_alone()
    for number, target in enumerate((*WEBS, *DBS)):
        at_s = 10.0 + 60 * number
        changes = one.fold([(target, result(at_s, ok=False))], at_s)
        assert [change.vantage for change in changes] == ["here"]
        assert set(states(one, [*CHECKS])) == {UP}
    assert one.cut_off == {"here"}
    every(one, ok=True, at_s=1000.0)
    assert one.cut_off == frozenset()
    assert set(states(one, [*CHECKS])) == {UP}


def test_left_alone_a_target_is_down_as_soon_as_another_is_reached_after_it() -> None:
    one = left_alone()
    one.fold([(WEBS[0], result(10.0, ok=False))], 10.0)
    assert [vote.why for vote in one.agreed[WEBS[0]].votes] == [SILENT, SILENT, UNPROVEN]
    one.fold([(WEBS[1], result(9.9, ok=True))], 10.0)
    assert states(one, WEBS) == [UP, UP, UP, UP]
    changes = one.fold([(DBS[3], result(10.1, ok=True))], 10.1)
    assert [(change.target, change.after.health) for change in changes] == [(WEBS[0], DOWN), (WHOLES[0], DOWN)]
    assert [vote.counted for vote in one.agreed[WEBS[0]].votes] == [False, False, True]
    one.fold([(WEBS[0], result(11.0, ok=True))], 11.0)
    assert states(one, WEBS) == [UP, UP, UP, UP]


def test_others_that_are_heard_again_settle_what_was_unproven() -> None:
    one = left_alone()
    one.fold([(WEBS[0], result(10.0, ok=False))], 10.0)
    changes = one.hear([sees("b", WEBS[0]), sees("c")], 11.0)
    assert [(change.target, change.after.health) for change in changes] == [(WEBS[0], DOWN), (WHOLES[0], DOWN)]


def test_stale_checks_keep_their_verdict_and_say_so() -> None:
    one = panel()
    every(one, ok=True)
    assert one.stall(frozenset({DBS[0]}), 2.0) == []
    assert [(one.agreed[target].health, one.agreed[target].stale) for target in (DBS[0], WHOLES[0], WEBS[0])] == [
        (UP, True), (UP, True), (UP, False),
    ]  # fmt: skip
    one.fold([(DBS[0], result(3.0, ok=True))], 3.0)
    assert not one.agreed[DBS[0]].stale
    assert not one.agreed[WHOLES[0]].stale


def test_targets_that_others_probe_are_left_to_them() -> None:
    one = panel()
    every(one, ok=True)
    one.hear([sees("b", WEBS[0]), sees("c", WEBS[0])], 2.0)
    one.leave({*WEBS[1:], *DBS}, 3.0)
    assert [vote.vantage for vote in one.agreed[WEBS[0]].votes] == ["b", "c"]
    assert states(one, WEBS) == [DOWN, UP, UP, UP]


def test_a_new_deployment_keeps_what_is_known_of_what_stays() -> None:
    one = panel()
    every(one, ok=True)
    one.configure({target: check for target, check in CHECKS.items() if target != DBS[0]}, 2.0)
    assert DBS[0] not in one.agreed
    assert states(one, WHOLES) == [UNKNOWN, UP, UP, UP]
    assert states(one, WEBS) == [UP] * 4


@dataclass(frozen=True)
class Step:
    """Something that a panel is told."""

    kind: str
    number: int
    ok: bool


steps = st.lists(
    st.builds(
        Step, kind=st.sampled_from(("fold", "hear", "gone", "stall")), number=st.integers(0, 7), ok=st.booleans()
    ),
    max_size=30,
)


def tell(one: Panel, told: list[Step]) -> dict[str, Vantage]:
    """The panel after all of it, and the other vantages as it last heard of them."""
    others = {name: sees(name) for name in ("b", "c")}
    stale: set[Target] = set()
    for at_s, step in enumerate(told):
        target = (*WEBS, *DBS)[step.number]
        name = "b" if step.number % 2 else "c"
        match step.kind:
            case "fold":
                one.fold([(target, result(float(at_s), ok=step.ok))], float(at_s))
                stale.discard(target)
            case "stall":
                stale = stale ^ {target}
                one.stall(frozenset(stale & one.own.keys()), float(at_s))
            case "hear":
                opinions = dict(others[name].opinions) | {target: Judgement(health=UP if step.ok else DOWN)}
                others[name] = Vantage(name=name, opinions=opinions, fresh=others[name].fresh)
                one.hear(list(others.values()), float(at_s))
            case _:
                others[name] = Vantage(name=name, opinions=others[name].opinions, fresh=step.ok)
                one.hear(list(others.values()), float(at_s))
    one.hear(list(others.values()), 99.0)
    return others


def proven(votes: tuple[Vote, ...]) -> tuple[Vote, ...]:
    """As they would be had the target been down before the others fell silent: only then does history matter."""
    return tuple(replace(vote, counted=True, why="") if vote.why == UNPROVEN else vote for vote in votes)


@pytest.mark.parametrize("fresh_only", [False, True])
@given(told=steps)
def test_step_by_step_comes_to_what_all_at_once_does(fresh_only: bool, told: list[Step]) -> None:
    """Where every target has a counted vote, what is agreed follows from what is known now, not from how it came."""
    if fresh_only:
        told = [step for step in told if step.kind != "gone"]
    slow = panel()
    every(slow, ok=True, at_s=-1.0)
    others = tell(slow, told)
    quick = Panel("here", CHECKS, slow.own, now_s=0.0)
    quick.hear(list(others.values()), 99.0)
    for target in CHECKS:
        left, right = slow.agreed[target], quick.agreed[target]
        assert proven(left.votes) == right.votes
        if any(vote.counted for vote in left.votes):
            assert (left.health, left.stale) == (right.health, right.stale)
