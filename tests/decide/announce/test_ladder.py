"""The ladder: its rungs one after the other, what each waits for, and that every one of them is taken back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtm.decide.announce import ladder
from gtm.decide.announce.ladder import WITHDRAW, eta_s, first_withdrawn, over, rungs
from gtm.decide.announce.memory import Memory
from gtm.decide.announce.routes import routes
from gtm.decide.announce.sight import Permit, Sight
from gtm.decide.announce.step import step
from gtm.decide.announce.wish import Wish
from gtm.model.anycast import LADDER_DEFAULT, Anycast, Phase, Rung, Treatment
from tests.decide.announce.scenes import DRAIN, LADDER, TARGET, anycast, judged, other, service, speaker

SEEN = Sight(now_s=0.0, local={TARGET: judged("+++")}, others=(other("b1"),), store=True, permit=Permit.HELD)
UP, _ = step(anycast(), speaker(), service(), Memory.initial(), SEEN)


def walk(of: Anycast, sight: Sight, until_s: float, memory: Memory = UP) -> list[tuple[float, Memory, Wish]]:
    """Each step of a drain that is woken by nothing but itself: when, and what came of it."""
    found = []
    sight = replace(sight, drain=DRAIN)
    while sight.now_s <= until_s:
        memory, wish = step(of, speaker(), service(), memory, sight)
        found.append((sight.now_s, memory, wish))
        if wish.wake_s is None:
            break
        assert wish.wake_s > sight.now_s
        sight = replace(sight, now_s=wish.wake_s)
    return found


def test_rung_by_rung_in_its_own_time() -> None:
    seen = [
        (at_s, wish.phase, wish.rung, wish.announce, wish.address, wish.eta_s)
        for at_s, _, wish in walk(anycast(), replace(SEEN, connections=50), 1000.0)
    ]
    assert seen == [
        (0.0, Phase.DRAINING, "dns", True, True, 425.0),
        (60.0, Phase.DRAINING, "graceful-shutdown", True, True, 365.0),
        (90.0, Phase.DRAINING, "unattractive", True, True, 335.0),
        (120.0, Phase.DRAINING, "connections", True, True, 305.0),
        (420.0, Phase.DRAINING, "withdraw", False, True, 5.0),
        (425.0, Phase.DRAINED, "address", False, False, None),
    ]


def test_each_rung_shows_what_is_behind_and_before() -> None:
    for _, _, wish in walk(anycast(), replace(SEEN, connections=0), 1000.0):
        names = tuple(rung.name for rung in LADDER)
        assert wish.rungs[-1] == wish.rung
        assert wish.phase is Phase.DRAINED or wish.rungs + wish.rungs_left == names
        assert wish.reason == "drained by ann: new disks"


def test_few_connections_end_the_wait() -> None:
    for connections, at_s in [(0, 120.0), (10, 120.0), (11, 420.0), (None, 420.0)]:
        gone = next(
            when for when, _, wish in walk(anycast(), replace(SEEN, connections=connections), 1e3) if not wish.announce
        )
        assert gone == at_s


def test_what_has_no_deadline_waits_for_its_connections() -> None:
    of = anycast(ladder=(Rung(name="connections", connections=10), WITHDRAW))
    *_, (_, memory, wish) = walk(of, replace(SEEN, connections=11), 1e6)
    assert (wish.announce, wish.wake_s, wish.eta_s) == (True, None, None)
    sight = replace(SEEN, drain=DRAIN, now_s=1e6, connections=10)
    assert step(of, speaker(), service(), memory, sight)[1].phase is Phase.DRAINED


@pytest.mark.parametrize("index", range(len(LADDER) + 1))
def test_lifted_at_each_rung_it_is_as_before(index: int) -> None:
    steps = walk(anycast(), replace(SEEN, connections=0), 1000.0)
    at_s, memory, _ = steps[min(index, len(steps) - 1)]
    before = step(anycast(), speaker(), service(), UP, SEEN)[1]
    _, wish = step(anycast(), speaker(), service(), memory, replace(SEEN, now_s=at_s + 1.0))
    assert (wish.phase, wish.announce, wish.address) == (Phase.UP, True, True)
    assert (wish.rung, wish.rungs, wish.rungs_left, wish.eta_s) == (None, (), (), None)
    assert routes(anycast(), speaker(), service(), wish) == routes(anycast(), speaker(), service(), before)


def test_the_permit_is_asked_for_before_the_rung_that_withdraws() -> None:
    seen = [
        (wish.rung, wish.leaving, wish.wants_permit)
        for _, _, wish in walk(anycast(), replace(SEEN, connections=50, permit=Permit.NONE), 420.0)
    ]
    assert seen == [
        ("dns", False, False),
        ("graceful-shutdown", False, False),
        ("unattractive", False, False),
        ("connections", True, True),
        ("connections", True, True),
    ]


def test_the_last_pop_ends_held_with_its_rungs_on() -> None:
    steps = walk(anycast(), replace(SEEN, others=(), connections=0), 1000.0)
    at_s, memory, wish = steps[-1]
    assert (wish.phase, wish.announce, wish.address) == (Phase.HELD, True, True)
    assert wish.reason == "drained by ann: new disks; the last PoP that announces"
    assert wish.rungs == ("dns", "graceful-shutdown", "unattractive", "connections")
    # Another PoP is there: down it goes, from where it was.
    sight = replace(SEEN, drain=DRAIN, now_s=at_s + 1.0)
    memory, wish = step(anycast(), speaker(), service(), memory, sight)
    assert (wish.phase, wish.rung, wish.announce) == (Phase.DRAINING, "withdraw", False)
    # And nobody any more: back it comes, HELD.
    memory, wish = step(anycast(), speaker(), service(), memory, replace(sight, now_s=at_s + 2.0, others=()))
    assert (wish.phase, wish.announce, wish.address) == (Phase.HELD, True, True)
    assert wish.reason == "drained by ann: new disks; the last PoP that announces"


def test_a_dead_service_is_not_walked_down_slowly() -> None:
    dead = replace(SEEN, local={TARGET: judged("+++---")}, drain=DRAIN)
    _, wish = step(anycast(), speaker(), service(), UP, dead)
    assert (wish.rung, wish.announce) == ("withdraw", False)
    assert "DOWN" in wish.reason


def test_what_is_not_announced_goes_to_the_end_by_way_of_the_waiting_rungs() -> None:
    """From DOWN or a start, too: addresses are removed after the wait, as there may be connections still."""
    steps = walk(anycast(), replace(SEEN, local={}), 1000.0, memory=Memory.initial())
    assert [(at_s, wish.phase, wish.rung, wish.address) for at_s, _, wish in steps] == [
        (0.0, Phase.DRAINING, "withdraw", True),
        (5.0, Phase.DRAINED, "address", False),
    ]


def test_a_ladder_that_never_withdraws_gets_a_rung_that_does() -> None:
    assert rungs(anycast(ladder=())) == (WITHDRAW,)
    assert rungs(anycast(ladder=LADDER[:2])) == (*LADDER[:2], WITHDRAW)
    assert rungs(anycast()) == LADDER
    assert first_withdrawn(rungs(anycast(ladder=LADDER_DEFAULT))) == 4
    *_, (_, _, wish) = walk(anycast(ladder=()), SEEN, 10.0)
    assert (wish.phase, wish.announce, wish.address) == (Phase.DRAINED, False, True)


RUNGS = st.builds(
    Rung,
    name=st.sampled_from("abcdef"),
    treatment=st.builds(Treatment, med=st.none() | st.integers(0, 9), prepend=st.integers(0, 3)),
    announce=st.booleans(),
    hold_s=st.sampled_from([0.0, 1.0, 10.0]),
    connections=st.none() | st.just(5),
    deadline_s=st.none() | st.sampled_from([0.5, 20.0]),
)
LADDERS = st.lists(RUNGS, max_size=5).map(lambda found: tuple(sorted(found, key=lambda rung: not rung.announce)))


@settings(max_examples=200, deadline=None)
@given(LADDERS, st.sampled_from([None, 0, 50]), st.data())
def test_any_ladder_is_walked_in_order_within_its_eta_and_taken_back(
    declared: tuple[Rung, ...], connections: int | None, data: st.DataObject
) -> None:
    of = anycast(ladder=declared)
    steps = walk(of, replace(SEEN, connections=connections), 1e4)
    indices = [memory.rung for _, memory, _ in steps]
    assert indices == sorted(indices)
    announced = [wish.announce for _, _, wish in steps]
    assert announced == sorted(announced, reverse=True)
    if steps[0][2].eta_s is not None:
        assert steps[-1][2].phase is Phase.DRAINED
        assert steps[-1][0] <= steps[0][2].eta_s + 1e-6
    at_s, memory, _ = data.draw(st.sampled_from(steps))
    _, wish = step(of, speaker(), service(), memory, replace(SEEN, now_s=at_s))
    before = step(of, speaker(), service(), UP, SEEN)[1]
    assert (wish.phase, wish.address) == (Phase.UP, True)
    assert routes(of, speaker(), service(), wish) == routes(of, speaker(), service(), before)


def test_when_a_rung_is_over() -> None:
    rung = Rung(name="connections", hold_s=2.0, connections=10, deadline_s=5.0)
    assert not over(rung, 1.9, 0)
    assert over(rung, 2.0, 10)
    assert not over(rung, 4.9, 11)
    assert not over(rung, 4.9, None)
    assert over(rung, 5.0, 11)
    assert ladder.next_look_s(rung, 100.0, 101.0) == 102.0
    assert ladder.next_look_s(rung, 100.0, 102.0) == 105.0
    assert ladder.next_look_s(replace(rung, deadline_s=None), 100.0, 102.0) is None
    assert eta_s((rung, WITHDRAW), 0, 1.0) == 4.0
    assert eta_s((replace(rung, deadline_s=None),), 0, 1.0) is None
