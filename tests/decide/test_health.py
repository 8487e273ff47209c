"""Hysteresis: what the fold promises, in examples and for any run of results."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from gtm.decide.health import failed_share, fold, fold_all
from gtm.model.check import Cadence, Check, Degraded, Target, TcpProbe
from gtm.model.health import Health, Judgement, Result


def result(at_s: float, ok: bool) -> Result:
    return Result(at_s=at_s, ok=ok, took_s=0.01, detail="200 in 10 ms" if ok else "connection refused")


def run(
    oks: str,
    cadence: Cadence,
    start: Judgement | None = None,
    at_s: float = 1000.0,
    degraded: Degraded = Degraded(),  # noqa: B008
) -> list[Judgement]:
    """The judgement after each result of a run written as '+' (good), '~' (poor), 's' (good, in 2 s) and '-' (bad)."""
    judgement, out = start or Judgement(), []
    for index, mark in enumerate(oks):
        one = result(at_s + index, mark != "-")
        one = replace(one, poor=mark == "~", took_s=2.0 if mark == "s" else one.took_s)
        judgement = fold(judgement, one, cadence, degraded)
        out.append(judgement)
    return out


def states(judgements: list[Judgement]) -> list[Health]:
    return [j.health for j in judgements]


CADENCE = Cadence(fall=3, rise=2)
UP, DOWN = Health.UP, Health.DOWN
cadences = st.builds(Cadence, fall=st.integers(1, 6), rise=st.integers(1, 6))
runs = st.text(alphabet="+-", min_size=1, max_size=60)


def test_the_first_result_decides_at_once() -> None:
    assert states(run("+", CADENCE)) == [UP]
    assert states(run("-", CADENCE)) == [DOWN]


def test_three_failures_make_down_and_two_successes_make_up() -> None:
    assert states(run("+---++", CADENCE)) == [UP, UP, UP, DOWN, DOWN, UP]


def test_a_result_that_agrees_starts_the_count_again() -> None:
    assert states(run("+--+--+--", CADENCE)) == [UP] * 9
    assert states(run("-+-+-+", CADENCE)) == [DOWN] * 6


def test_streak_counts_only_results_that_contradict_the_verdict() -> None:
    assert [j.streak for j in run("+--+---+-++", CADENCE)] == [0, 1, 2, 0, 1, 2, 0, 1, 0, 1, 0]


def test_since_is_the_moment_of_the_last_flip() -> None:
    assert [j.since_s for j in run("++---+", CADENCE)] == [1000, 1000, 1000, 1000, 1004, 1004]


def test_last_is_always_the_newest_result() -> None:
    assert [j.last for j in run("+-", CADENCE)] == [result(1000, True), result(1001, False)]


def test_degraded_is_a_kind_of_up() -> None:
    degraded = Judgement(health=Health.DEGRADED, since_s=1.0, last=result(1.0, True))
    assert states(run("+---", CADENCE, degraded)) == [Health.DEGRADED, Health.DEGRADED, Health.DEGRADED, DOWN]


def test_a_state_of_people_is_no_verdict_and_the_next_result_decides() -> None:
    assert states(run("-", CADENCE, Judgement(health=Health.FORCED_UP))) == [DOWN]


def test_an_older_result_changes_nothing() -> None:
    judgement = run("+--", CADENCE)[-1]
    assert fold(judgement, result(1001.5, False), CADENCE) is judgement
    assert fold(judgement, result(2000.0, False), CADENCE).health is DOWN


@given(oks=runs, cadence=cadences)
def test_never_flips_faster_than_its_bound(oks: str, cadence: Cadence) -> None:
    verdicts = states(run(oks, cadence))
    for index in range(1, len(oks)):
        if verdicts[index] is verdicts[index - 1]:
            continue
        need = cadence.fall if verdicts[index] is DOWN else cadence.rise
        mark = "-" if verdicts[index] is DOWN else "+"
        assert oks[index - need + 1 : index + 1] == mark * need
        assert index >= need  # the first result decided; the bound counts from there


@given(oks=runs, cadence=cadences)
def test_never_flips_later_than_its_bound(oks: str, cadence: Cadence) -> None:
    for index, judgement in enumerate(run(oks, cadence)):
        tail = oks[: index + 1]
        if tail.endswith("-" * cadence.fall):
            assert judgement.health is DOWN
        if tail.endswith("+" * cadence.rise):
            assert judgement.health is UP


@given(oks=runs, cadence=cadences)
def test_streak_stays_below_what_would_flip(oks: str, cadence: Cadence) -> None:
    for judgement, mark in zip(run(oks, cadence), oks, strict=True):
        assert 0 <= judgement.streak < (cadence.rise if judgement.health is DOWN else cadence.fall)
        assert (judgement.streak == 0) == ((judgement.health is UP) == (mark == "+"))


@given(oks=runs, cadence=cadences, cut=st.integers(0, 60))
def test_stopping_and_carrying_on_gives_the_same(oks: str, cadence: Cadence, cut: int) -> None:
    cut = min(cut, len(oks) - 1)
    whole = run(oks, cadence)
    carried = whole[cut - 1] if cut else None
    assert run(oks[cut:], cadence, carried, at_s=1000.0 + cut) == whole[cut:]


@given(times=st.lists(st.tuples(st.floats(0, 100), st.booleans()), max_size=40), cadence=cadences)
def test_results_out_of_order_count_as_if_only_the_newer_ones_had_come(
    times: list[tuple[float, bool]], cadence: Cadence
) -> None:
    judgement, kept, newest = Judgement(), Judgement(), -1.0
    for at_s, ok in times:
        judgement = fold(judgement, result(at_s, ok), cadence)
        if at_s >= newest:
            newest = at_s
            kept = fold(kept, result(at_s, ok), cadence)
    assert judgement == kept


DEGRADED = Health.DEGRADED
mixed = st.text(alphabet="+~-", min_size=1, max_size=60)


def test_poor_results_in_a_row_make_degraded_and_good_ones_make_up() -> None:
    assert states(run("+~~~++", CADENCE)) == [UP, UP, UP, DEGRADED, DEGRADED, UP]
    assert states(run("~", CADENCE)) == [DEGRADED]


def test_bad_and_poor_ones_together_make_degraded_and_bad_ones_alone_down() -> None:
    assert states(run("+-~-", CADENCE)) == [UP, UP, UP, DEGRADED]
    assert states(run("+-~---", CADENCE)) == [UP, UP, UP, DEGRADED, DEGRADED, DOWN]


def test_what_comes_back_poor_is_degraded() -> None:
    assert states(run("-+~", CADENCE)) == [DOWN, DOWN, DEGRADED]
    assert states(run("-~+", CADENCE)) == [DOWN, DOWN, UP]


def test_degraded_by_latency() -> None:
    slow = Degraded(latency_s=1.0)
    assert states(run("+sss++", CADENCE, degraded=slow)) == [UP, UP, UP, DEGRADED, DEGRADED, UP]
    assert states(run("+sss", CADENCE)) == [UP] * 4


def test_degraded_by_its_share_of_errors() -> None:
    often = Degraded(errors=0.3, window=10)
    found = run("++-+-++-+-++++++++++++", CADENCE, degraded=often)
    assert [one.health for one in found] == [UP] * 11 + [DEGRADED] * 4 + [UP] * 7
    assert failed_share(found[9].history, 10) == 0.4
    assert failed_share(found[8].history, 10) == 0.0  # too few yet


def test_failures_while_down_are_no_share_of_errors_afterwards() -> None:
    often = Degraded(errors=0.1, window=4)
    assert states(run("+" + "-" * 30 + "++++++", CADENCE, degraded=often))[-5:] == [UP] * 5


@given(marks=mixed, cadence=cadences)
def test_every_state_is_left_only_after_its_run(marks: str, cadence: Cadence) -> None:
    found = states(run(marks, cadence))
    for index in range(1, len(marks)):
        was, now, tail = found[index - 1], found[index], marks[: index + 1]
        if was is now:
            continue
        match was, now:
            case (_, Health.DOWN):
                assert tail.endswith("-" * cadence.fall)
            case (Health.UP, _):
                assert set(tail[-cadence.fall :]) <= {"-", "~"}
            case (Health.DEGRADED, _):
                assert tail.endswith("+" * cadence.rise)
            case _:
                assert set(tail[-cadence.rise :]) <= {"+", "~"}


@given(marks=mixed, cadence=cadences)
def test_never_stays_up_past_its_bound(marks: str, cadence: Cadence) -> None:
    for index, state in enumerate(states(run(marks, cadence))):
        if marks[: index + 1].endswith("-" * cadence.fall):
            assert state is DOWN


TARGETS = [Target(check="web", address=ip_address(f"192.0.2.{number}")) for number in range(4)]
CHECKS = {target: Check(name="web", probe=TcpProbe(port=80), cadence=CADENCE) for target in TARGETS[:3]}
ticks = st.lists(st.tuples(st.sampled_from(TARGETS), st.integers(0, 6), st.sampled_from("+~-")), max_size=30)


@given(ticks.flatmap(lambda some: st.tuples(st.just(some), st.permutations(some))))
def test_the_order_of_results_within_a_tick_does_not_matter(pair: tuple[list[tuple[Target, int, str]], ...]) -> None:
    folded = []
    for some in pair:
        results = [(target, replace(result(float(at_s), mark != "-"), poor=mark == "~")) for target, at_s, mark in some]
        folded.append(fold_all({TARGETS[0]: Judgement(health=UP)}, results, CHECKS))
    assert folded[0] == folded[1]
    assert TARGETS[3] not in folded[0]  # it has no check
