"""The quorum of vantage points: every outcome of up to five, and who is not listened to."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address
from itertools import product
from math import ceil, inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm.decide.assign import assigned
from gtm.decide.quorum import BLIND, SILENT, STALE, Vantage, agree, cut_off, judge, proved_s, sees_nothing
from gtm.model.check import Check, Target, TcpProbe
from gtm.model.health import Health, Judgement, Result, Vote

UP, DOWN, DEGRADED, UNKNOWN = Health.UP, Health.DOWN, Health.DEGRADED, Health.UNKNOWN
CHECK = Check(name="web", probe=TcpProbe(port=80))
SHARES = (0.01, 0.25, 0.34, 0.5, 0.51, 0.67, 0.75, 1.0)
COUNTS = range(1, 6)


def target(number: int) -> Target:
    return Target(check="web", address=ip_address(f"192.0.2.{number}"))


def votes(states: tuple[Health, ...]) -> list[Vote]:
    return [Vote(vantage=str(number), health=state) for number, state in enumerate(states)]


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("count", COUNTS)
def test_every_outcome_of_up_and_down(count: int, share: float) -> None:
    for states in product((UP, DOWN), repeat=count):
        down = states.count(DOWN)
        expected = DOWN if down and down / count >= share else UP
        assert agree(votes(states), share) is expected, states


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("count", COUNTS)
def test_every_outcome_with_degraded_and_unknown(count: int, share: float) -> None:
    for states in product((UP, DEGRADED, DOWN, UNKNOWN), repeat=count):
        told = Counter(states)
        voiced = count - told[UNKNOWN]
        need = max(1, ceil(share * voiced - 1e-9))
        if voiced == 0:
            expected = UNKNOWN
        elif told[DOWN] >= need:
            expected = DOWN
        elif told[DOWN] + told[DEGRADED] >= need:
            expected = DEGRADED
        else:
            expected = UP
        assert agree(votes(states), share) is expected, states


@pytest.mark.parametrize("count", COUNTS)
def test_one_more_vote_against_never_makes_it_better(count: int) -> None:
    rank = {UP: 2, DEGRADED: 1, DOWN: 0}
    for share, states in product(SHARES, product((UP, DEGRADED, DOWN), repeat=count)):
        for position, state in enumerate(states):
            for worse in (DEGRADED, DOWN):
                if rank[worse] < rank[state]:
                    changed = (*states[:position], worse, *states[position + 1 :])
                    assert rank[agree(votes(changed), share)] <= rank[agree(votes(states), share)]


@given(st.permutations([UP, DOWN, DEGRADED, DOWN, UNKNOWN]), st.sampled_from(SHARES))
def test_the_order_of_votes_does_not_matter(states: list[Health], share: float) -> None:
    assert agree(votes(tuple(states)), share) is agree(votes(tuple(sorted(states))), share)


def vantage(name: str, *, down: int, up: int = 0, fresh: bool = True) -> Vantage:
    """One that sees the first `down` targets down and the next `up` ones up."""
    opinions = {target(n): Judgement(health=DOWN if n < down else UP, since_s=float(n)) for n in range(down + up)}
    return Vantage(name=name, opinions=opinions, fresh=fresh)


def test_a_vantage_that_sees_everything_down_is_cut_off_unless_most_do() -> None:
    blind, well = vantage("a", down=10), vantage("b", down=1, up=9)
    assert cut_off([blind, well]) == {"a"}
    assert cut_off([blind, well, vantage("c", down=0, up=10)]) == {"a"}
    assert cut_off([blind, vantage("b", down=10), vantage("c", down=0, up=10)]) == set()
    assert cut_off([blind, vantage("b", down=10)]) == set()
    assert cut_off([blind]) == set()


def test_one_that_is_left_alone_and_sees_nothing_is_cut_off() -> None:
    gone = [vantage(name, down=0, up=10, fresh=False) for name in ("b", "c")]
    assert cut_off([vantage("a", down=10), *gone]) == {"a"}


def test_two_targets_are_too_few_to_tell_who_is_cut_off() -> None:
    assert cut_off([vantage("a", down=2), vantage("b", down=0, up=2)]) == set()
    assert cut_off([vantage("a", down=9, up=1), vantage("b", down=0, up=10)]) == {"a"}
    assert cut_off([vantage("a", down=8, up=2), vantage("b", down=0, up=10)]) == set()


CHECKS = {target(n): CHECK for n in range(10)}


def verdicts(own: Vantage, others: list[Vantage], before: dict[Target, Judgement]) -> dict[Target, Judgement]:
    return dict(judge(CHECKS, CHECKS, own, others, cut_off([own, *others]), before))


def test_a_cut_off_node_believes_the_others() -> None:
    found = verdicts(vantage("a", down=10), [vantage("b", down=1, up=9), vantage("c", down=1, up=9)], {})
    assert [one.health for one in found.values()] == [DOWN] + [UP] * 9
    assert {vote.why for vote in found[target(5)].votes} == {BLIND, ""}


def test_a_node_cut_off_from_everything_keeps_what_it_knew() -> None:
    silent = [vantage("b", down=1, up=9, fresh=False), vantage("c", down=1, up=9, fresh=False)]
    before = {target(n): Judgement(health=DOWN if n == 0 else UP, since_s=7.0) for n in range(10)}
    found = verdicts(vantage("a", down=10), silent, before)
    assert [one.health for one in found.values()] == [DOWN] + [UP] * 9
    assert [(vote.counted, vote.why) for vote in found[target(3)].votes] == [
        (False, BLIND), (False, SILENT), (False, SILENT),
    ]  # fmt: skip


def test_a_node_cut_off_from_the_others_alone_decides_by_itself() -> None:
    silent = [vantage("b", down=0, up=10, fresh=False), vantage("c", down=0, up=10, fresh=False)]
    found = verdicts(vantage("a", down=1, up=9), silent, {})
    assert [one.health for one in found.values()] == [DOWN] + [UP] * 9


def seen(*good_s: float, failed: int = 0) -> Vantage:
    """One whose targets last succeeded then, and whose other targets' last results were failures."""
    last = [(at_s, True) for at_s in good_s] + [(99.0, False)] * failed
    opinions = {
        target(n): Judgement(health=UP, last=Result(at_s=at_s, ok=ok, took_s=0.0, detail=""))
        for n, (at_s, ok) in enumerate(last)
    }
    return Vantage(name="a", opinions=opinions)


def test_until_when_a_vantage_is_known_not_to_have_seen_nothing() -> None:
    assert proved_s(seen(5.0, 3.0)) == inf  # too few to tell
    assert proved_s(seen(5.0, 3.0, 4.0)) == 5.0  # one of three is more than a tenth
    assert proved_s(seen(failed=3)) == -inf
    assert proved_s(seen(*range(19), failed=1)) == 16.0  # with three of 20 it would not be taken to be cut off
    assert proved_s(seen(1.0, 2.0, failed=18)) == -inf
    assert proved_s(seen(1.0, 2.0, 3.0, failed=17)) == 1.0
    assert not sees_nothing(seen(1.0, 2.0, 3.0, failed=17))


def test_stale_opinions_do_not_count_and_a_target_nobody_probes_is_stale() -> None:
    stale = Vantage(name="b", opinions={target(0): Judgement(health=DOWN, stale=True)})
    found = verdicts(vantage("a", down=0, up=10), [stale], {})
    assert (found[target(0)].health, found[target(0)].stale) == (UP, False)
    assert [vote.why for vote in found[target(0)].votes] == ["", STALE]
    mine = Vantage(name="a", opinions={target(0): Judgement(health=UP, stale=True)})
    kept = verdicts(mine, [stale], {target(0): Judgement(health=UP, since_s=3.0)})[target(0)]
    assert (kept.health, kept.since_s, kept.stale) == (UP, 3.0, True)


def test_a_target_that_this_node_does_not_probe_is_judged_by_those_that_do() -> None:
    found = verdicts(Vantage(name="a", opinions={}), [vantage("b", down=1, up=9)], {})
    assert [one.health for one in found.values()] == [DOWN] + [UP] * 9
    assert found[target(0)].last is None


NAMES = st.sets(st.sampled_from("abcdefgh"), min_size=1)


@given(NAMES, st.integers(1, 8))
def test_each_target_is_probed_by_as_many_nodes_as_it_should_be(names: set[str], vantages: int) -> None:
    checks = {target(n): Check(name="web", probe=TcpProbe(port=80), vantages=vantages) for n in range(40)}
    who = [found for name in names for found in assigned(name, names, checks)]
    assert set(Counter(who).values()) == {min(vantages, len(names))}


@given(NAMES, st.integers(1, 8), st.sampled_from("abcdefgh"))
def test_a_node_that_leaves_moves_only_its_own_targets(names: set[str], vantages: int, gone: str) -> None:
    checks = {target(n): Check(name="web", probe=TcpProbe(port=80), vantages=vantages) for n in range(40)}
    left = names - {gone}
    for name in left:
        before, after = assigned(name, names, checks), assigned(name, left, checks)
        assert before.keys() <= after.keys()
        assert gone in names or before == after
