"""What is pushed counts at once and for its time; clocks of day that jump change nothing."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from gtm.decide.health import PUSHED, fold
from gtm.model.check import Check, PushProbe, Target, TcpProbe
from gtm.model.health import Health, Judgement, Result
from gtm.model.push import PushedHealth
from gtm.observe.pushed import Pushed

WALL_S = 1_800_000_000.0
CHECK = Check(name="outside", probe=PushProbe(ttl_s=60.0))
ONE, TWO = (Target(check="outside", address=ip_address(text)) for text in ("192.0.2.11", "2001:db8::1"))
PROBED = Target(check="web", address=ip_address("192.0.2.11"))
TARGETS = {ONE: CHECK, TWO: CHECK, PROBED: Check(name="web", probe=TcpProbe(port=80))}


def word(
    target: Target = ONE, health: Health = Health.UP, *, ttl_s: float = 60.0, at_s: float = WALL_S
) -> PushedHealth:
    return PushedHealth(target=target, health=health, detail="", ttl_s=ttl_s, at_s=at_s)


def test_only_push_checks_wait_and_all_are_stale_at_first() -> None:
    pushed = Pushed(TARGETS)
    assert pushed.targets == {ONE, TWO}
    assert pushed.expired(0.0) == {ONE, TWO}
    assert pushed.deadline(0.0) is None
    assert pushed.push(word(PROBED), now_s=0.0, wall_s=WALL_S) is None


def test_a_word_counts_for_its_time() -> None:
    pushed = Pushed(TARGETS)
    result = pushed.push(word(health=Health.DOWN), now_s=100.0, wall_s=WALL_S + 10)
    assert result == Result(at_s=WALL_S, ok=False, took_s=0.0, detail="pushed: DOWN")
    assert pushed.expired(149.9) == {TWO}
    assert pushed.deadline(100.0) == 150.0
    assert pushed.expired(150.0) == {ONE, TWO}
    assert pushed.deadline(150.0) is None


def test_the_newest_word_decides_for_how_long() -> None:
    pushed = Pushed(TARGETS)
    pushed.push(word(), now_s=0.0, wall_s=WALL_S)
    pushed.push(word(ttl_s=5.0, at_s=WALL_S + 1), now_s=1.0, wall_s=WALL_S + 1)
    assert ONE in pushed.expired(6.0)


def test_one_that_waited_too_long_is_no_result() -> None:
    pushed = Pushed(TARGETS)
    assert pushed.push(word(), now_s=0.0, wall_s=WALL_S + 60) is None
    assert ONE in pushed.expired(0.0)


def test_it_never_counts_for_longer_than_the_check_allows() -> None:
    pushed = Pushed(TARGETS)
    pushed.push(word(ttl_s=3600.0), now_s=0.0, wall_s=WALL_S)
    assert pushed.deadline(0.0) == 60.0


@given(jump_s=st.floats(-7200, 7200), later_s=st.floats(0, 120))
def test_a_jump_of_the_clock_neither_ends_nor_extends_it(jump_s: float, later_s: float) -> None:
    pushed = Pushed(TARGETS)
    pushed.push(word(), now_s=1000.0, wall_s=WALL_S)
    # The day's clock jumps; what is known is on the other one, and the next word is stamped by the clock that jumped.
    assert (ONE in pushed.expired(1000.0 + later_s)) == (later_s >= 60.0)
    stamp_s = WALL_S + later_s + jump_s
    result = pushed.push(word(at_s=stamp_s), now_s=1000.0 + later_s, wall_s=stamp_s)
    assert result is not None
    assert pushed.deadline(1000.0 + later_s) == 1000.0 + later_s + 60.0


def test_a_stamp_from_the_future_counts_from_now() -> None:
    pushed = Pushed(TARGETS)
    result = pushed.push(word(at_s=WALL_S + 3600), now_s=0.0, wall_s=WALL_S)
    assert result is not None
    assert result.at_s == WALL_S
    assert pushed.deadline(0.0) == 60.0


def test_a_reload_keeps_what_stays() -> None:
    pushed = Pushed(TARGETS)
    for target in (ONE, TWO):
        pushed.push(word(target), now_s=0.0, wall_s=WALL_S)
    pushed.update({ONE: CHECK})
    assert pushed.targets == {ONE}
    assert pushed.expired(1.0) == frozenset()
    pushed.update(TARGETS)
    assert pushed.expired(1.0) == {TWO}


def test_a_restart_carries_on_with_what_is_left() -> None:
    pushed = Pushed(TARGETS)
    last = Result(at_s=WALL_S - 20, ok=True, took_s=0.0, detail="")
    judged = Judgement(health=Health.UP, last=last)
    pushed.restore({ONE: judged, PROBED: judged, TWO: Judgement()}, now_s=5.0, wall_s=WALL_S)
    assert pushed.expired(44.9) == {TWO}
    assert ONE in pushed.expired(45.0)


@given(st.lists(st.sampled_from((Health.UP, Health.DEGRADED, Health.DOWN)), min_size=1, max_size=20))
def test_every_word_is_the_verdict_at_once(words: list[Health]) -> None:
    pushed, judgement = Pushed(TARGETS), Judgement()
    for number, health in enumerate(words):
        result = pushed.push(word(health=health, at_s=WALL_S + number), now_s=float(number), wall_s=WALL_S + number)
        assert result is not None
        judgement = fold(judgement, result, PUSHED)
        assert judgement.health is health
