"""The guard under random partitions, crashes, pauses, drains and clocks: 1,000 histories, and a referee that sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf

import pytest

from gtm.decide.announce import damping, guard
from gtm.decide.announce.guard import Leave, Ruling
from gtm.decide.announce.memory import Memory
from gtm.decide.announce.phase import TABLE
from gtm.decide.announce.sight import Permit, Sight
from gtm.model.anycast import Anycast, ExitPolicy, Phase, Speaker
from tests.decide.announce.world import Broken, World

SEEDS, CHUNK = 1000, 50
SPOILED_SEEDS = 200


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_no_history_breaks_a_rule(first: int) -> None:
    for seed in range(first, first + CHUNK):
        try:
            World(seed).run()
        except Broken as broken:
            pytest.fail(f"seed {seed}: {broken}")


def test_a_seed_is_one_history() -> None:
    first, second = World(7).run(), World(7).run()
    assert first.history == second.history
    assert World(8).run().history != first.history
    assert first.steps == second.steps > 100


def test_the_histories_go_nearly_everywhere() -> None:
    """What is simulated has the cases: all but a few of the table's transitions, HELD among them."""
    passed = set()
    for seed in range(200):
        passed |= World(seed).run().passed
    table = {(before, after) for before, afters in TABLE.items() for after in afters}
    assert passed <= table
    # Nobody disables a service in these histories or reloads the ladder, and none is announced in RISING.
    rare = {(before, after) for before, after in table - passed if Phase.DISABLED not in (before, after)}
    assert rare <= {
        (Phase.RISING, Phase.FALLING),
        (Phase.DRAINING, Phase.FALLING),
        (Phase.INIT, Phase.DRAINING),
        (Phase.DRAINED, Phase.DRAINING),
    }


def _broken_rules(rules: set[str], make: Callable[[int], World]) -> set[str]:
    """The rules that the referee saw broken, until all of the looked-for were."""
    seen: set[str] = set()
    for seed in range(SPOILED_SEEDS):
        try:
            make(seed).run()
        except Broken as broken:
            seen.add(str(broken).split()[0])
        if seen >= rules:
            break
    return seen


def _permit_ignored(sight: Sight) -> Sight:
    return replace(sight, permit=Permit.HELD)


def _told_ignored(sight: Sight) -> Sight:
    return replace(sight, told=True)


def _leases_ignored(sight: Sight) -> Sight:
    return replace(sight, others=tuple(replace(each, fresh=True) for each in sight.others))


def _leaving_ignored(sight: Sight) -> Sight:
    return replace(sight, others=tuple(replace(each, leaving=False) for each in sight.others))


@pytest.mark.parametrize(
    ("mutate", "rules"),
    [
        (_permit_ignored, {"TOGETHER", "LAST"}),
        (_told_ignored, {"TOGETHER"}),
        (_leases_ignored, {"LAST"}),
        (_leaving_ignored, {"TOGETHER", "LAST"}),
    ],
)
def test_the_referee_sees_a_sight_that_is_spoiled(mutate: Callable[[Sight], Sight], rules: set[str]) -> None:
    assert _broken_rules(rules, lambda seed: World(seed, mutate=mutate)) >= rules


def test_the_referee_sees_a_word_that_is_not_the_one_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    """That others know that we stay, is no leave to go: two instances whose plan changes would go at once."""
    real = guard.may_leave

    def careless(anycast: Anycast, speaker: Speaker, sight: Sight, *, told: bool) -> Ruling:
        return real(anycast, speaker, sight, told=sight.told)

    monkeypatch.setattr(guard, "may_leave", careless)
    assert _broken_rules({"LAST"}, World) >= {"LAST"}


def test_the_referee_sees_views_that_never_age() -> None:
    """A permit in a view that is old: it takes a speaker that asked, was cut off, got well and falls again."""
    kinds = ("sick", "sick mates", "flap", "cut", "drain")
    found = _broken_rules({"TOGETHER"}, lambda seed: World(seed, believed_s=inf, faults=24, kinds=kinds))
    assert "TOGETHER" in found


def test_the_referee_sees_that_others_leave_for_a_route_that_nobody_has() -> None:
    assert _broken_rules({"LAST"}, lambda seed: World(seed, boasts=True)) >= {"LAST"}


def test_the_referee_sees_supervisors_that_all_withdraw() -> None:
    """Leases that end at once everywhere: without the one that stays, the service is gone."""
    found = _broken_rules(
        {"LAST"}, lambda seed: World(seed, spoil=lambda wish: replace(wish, on_expiry=ExitPolicy.WITHDRAW))
    )
    assert "LAST" in found


def test_the_referee_sees_permits_that_are_given_back_too_soon() -> None:
    found = _broken_rules(
        {"TOGETHER"}, lambda seed: World(seed, spoil=lambda wish: replace(wish, returns_permit=wish.announce))
    )
    assert "TOGETHER" in found


def test_the_referee_sees_that_nobody_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "alone", lambda speaker, sight: False)
    assert "DARK" in _broken_rules({"DARK"}, World)


def test_the_referee_sees_that_nobody_rises(monkeypatch: pytest.MonkeyPatch) -> None:
    def stuck(memory: Memory) -> Memory:
        return replace(memory, suppressed=True)

    monkeypatch.setattr(guard, "alone", lambda speaker, sight: False)
    monkeypatch.setattr(damping, "released", lambda damping, memory, now_s: stuck(memory))
    assert _broken_rules({"DARK"}, World) & {"DARK", "SETTLED"}


def test_the_referee_sees_that_there_is_no_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    free = Ruling(leave=Leave.FREE, reason="no guard", permit=False)
    monkeypatch.setattr(guard, "may_leave", lambda anycast, speaker, sight, *, told: free)
    monkeypatch.setattr(guard, "alone", lambda speaker, sight: False)
    assert "LAST" in _broken_rules({"LAST"}, World)
