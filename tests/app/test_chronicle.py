"""The chronicle: results become runs, changes become transitions, whatever the clock does."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from gtm.app import chronicle as chronicle_module
from gtm.app.chronicle import Chronicle
from gtm.decide.health import fold
from gtm.model.check import Cadence, Target
from gtm.model.chronicle import Outcome, Run
from gtm.model.health import Health, Judgement, Phases, Result, Vote

WEB, DB = (Target(check=check, address=ip_address("192.0.2.1")) for check in ("web", "db"))
UP, DOWN, UNKNOWN = Health.UP, Health.DOWN, Health.UNKNOWN


def result(at_s: float, word: str = "good", took_s: float = 0.01) -> Result:
    return Result(at_s=at_s, ok=word != "bad", took_s=took_s, detail=f"{word} at {at_s:g}", poor=word == "poor")


def told(words: Iterable[tuple[float, str]]) -> Chronicle:
    chronicle = Chronicle("here")
    for at_s, word in words:
        chronicle.result(WEB, result(at_s, word))
    return chronicle


def brief(runs: Iterable[Run]) -> list[tuple[str, float, float, int]]:
    return [(run.outcome, run.first_at_s, run.last_at_s, run.count) for run in runs]


def test_equal_results_are_one_run() -> None:
    words = zip(range(0, 90, 10), "good good bad bad bad poor good good good".split(), strict=True)
    chronicle = told(words)
    assert brief(chronicle.take(final=True).runs) == [
        ("good", 0, 10, 2), ("bad", 20, 40, 3), ("poor", 50, 50, 1), ("good", 60, 80, 3),
    ]  # fmt: skip


def test_a_run_says_how_long_results_took_and_what_the_first_one_said() -> None:
    chronicle = Chronicle("here")
    for at_s, took_s in ((1.0, 0.25), (2.0, 0.125), (3.0, 0.75)):
        chronicle.result(WEB, result(at_s, took_s=took_s))
    assert chronicle.take(final=True).runs == (
        Run(
            target=WEB, vantage="here", outcome=Outcome.GOOD, first_at_s=1.0, last_at_s=3.0, count=3,
            took_min_s=0.125, took_mean_s=0.375, took_max_s=0.75, detail="good at 1",
        ),
    )  # fmt: skip


def test_what_is_bad_is_never_poor() -> None:
    chronicle = Chronicle("here")
    for poor in (True, False, True):
        chronicle.result(WEB, Result(at_s=1.0, ok=False, took_s=0.0, detail="", poor=poor))
    assert brief(chronicle.take(final=True).runs) == [("bad", 1, 1, 3)]


def test_targets_have_runs_of_their_own() -> None:
    chronicle = Chronicle("here")
    for at_s in range(6):
        chronicle.result(WEB if at_s % 2 else DB, result(float(at_s), "good" if at_s % 2 else "bad"))
    assert {run.target: run.count for run in chronicle.take(final=True).runs} == {WEB: 3, DB: 3}


def test_what_ended_is_taken_once_and_what_goes_on_each_minute() -> None:
    chronicle = told([(0.0, "bad"), (10.0, "good")])
    assert brief(chronicle.take().runs) == [("bad", 0, 0, 1)]
    assert chronicle.take().runs == ()
    taken = []
    for at_s in range(20, 200, 10):
        chronicle.result(WEB, result(float(at_s)))
        taken += brief(chronicle.take().runs)
    assert taken == [("good", 10, 70, 7), ("good", 10, 130, 13), ("good", 10, 190, 19)]


def test_a_run_that_grew_and_ended_is_taken_once() -> None:
    chronicle = told([(0.0, "good"), (30.0, "good"), (60.0, "good"), (90.0, "bad")])
    assert brief(chronicle.take().runs) == [("good", 0, 60, 3)]


def test_a_clock_that_is_set_back_begins_another_run() -> None:
    chronicle = told([(5000.0, "good"), (5010.0, "good"), (1410.0, "good"), (1420.0, "good"), (1430.0, "bad")])
    assert brief(chronicle.take(final=True).runs) == [
        ("good", 5000, 5010, 2), ("good", 1410, 1420, 2), ("bad", 1430, 1430, 1),
    ]  # fmt: skip


@pytest.mark.parametrize(("step_s", "count"), [(10.0, 1), (5.0, 1), (39.0, 1), (41.0, 2), (2.0, 2), (3600.0, 2)])
def test_a_run_has_one_pace(step_s: float, count: int) -> None:
    """So that it can be rebuilt evenly spaced; jitter makes no difference."""
    chronicle = told([(0.0, "good"), (10.0, "good"), (20.0, "good"), (20.0 + step_s, "good")])
    assert len(chronicle.take(final=True).runs) == count


def test_targets_that_are_gone_end_their_runs() -> None:
    chronicle = told([(0.0, "good")])
    chronicle.result(DB, result(0.0))
    chronicle.keep({DB})
    assert [run.target for run in chronicle.take().runs] == [WEB]
    assert [run.target for run in chronicle.take(final=True).runs] == [DB]


def test_what_nobody_takes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chronicle_module, "PENDING_MAX", 5)
    chronicle = told((float(number), "good" if number % 2 else "bad") for number in range(50))
    for _ in range(20):
        chronicle.change(WEB, "here", Judgement(), Judgement(health=UP))
    entries = chronicle.take()
    assert [run.first_at_s for run in entries.runs] == [44, 45, 46, 47, 48]
    assert len(entries.transitions) == 5


def test_a_change_has_its_evidence() -> None:
    phases = Phases(connect_s=0.002)
    judged = Judgement()
    chronicle = Chronicle("here")
    for at_s, ok in ((100.0, True), (110.0, True), (120.0, False), (130.0, False)):
        one = Result(at_s=at_s, ok=ok, took_s=0.01, detail="refused", phases=phases)
        before, judged = judged, fold(judged, one, Cadence(fall=2, rise=2))
        if before.health is not judged.health:
            chronicle.change(WEB, "here", before, judged)
    first, second = chronicle.take().transitions
    assert (first.was, first.now, first.at_s, first.lasted_s, first.history) == (UNKNOWN, UP, 100.0, None, "0")
    assert (second.was, second.now, second.at_s, second.lasted_s) == (UP, DOWN, 130.0, 30.0)
    assert (second.failures, second.streak, second.history) == (2, 2, "0011")
    assert second.last == Result(at_s=130.0, ok=False, took_s=0.01, detail="refused", phases=phases)


def test_what_all_agree_on_changes_when_it_does() -> None:
    """A vote that goes may make a verdict hold that the rest came to long ago."""
    votes = (Vote(vantage="a", health=UP), Vote(vantage="b", health=DOWN, counted=False, why="silent"))
    chronicle = Chronicle("here", clock=lambda: 1000.0)
    chronicle.change(WEB, "", Judgement(health=DOWN, since_s=900.0), Judgement(health=UP, since_s=5.0, votes=votes))
    (one,) = chronicle.take().transitions
    assert (one.vantage, one.at_s, one.lasted_s, one.votes, one.streak) == ("", 1000.0, 100.0, votes, 0)


def test_no_length_is_negative_when_the_clock_was_set_back() -> None:
    chronicle = Chronicle("here", clock=lambda: 1000.0)
    chronicle.change(WEB, "", Judgement(health=DOWN, since_s=4600.0), Judgement(health=UP, since_s=1000.0))
    assert chronicle.take().transitions[0].lasted_s == 0.0


steps = st.lists(
    st.tuples(st.floats(-4000, 4000, allow_nan=False), st.sampled_from(["good", "poor", "bad"]), st.booleans()),
    max_size=60,
)


@example(steps=[(0.0, "good", False), (0.0, "poor", False), (0.0, "good", False)])
@given(steps=steps)
def test_no_result_is_lost_or_counted_twice_whatever_the_clock_does(steps: list[tuple[float, str, bool]]) -> None:
    chronicle = Chronicle("here")
    at_s = 1e6
    kept: dict[float, Run] = {}
    stamps = set()
    for step_s, word, take in steps:
        at_s += step_s
        assume(step_s == 0 or at_s not in stamps)  # a clock set back to the same instant, to the bit
        stamps.add(at_s)
        chronicle.result(WEB, result(at_s, word))
        kept |= {run.first_at_s: run for run in chronicle.take(final=take).runs}
    kept |= {run.first_at_s: run for run in chronicle.take(final=True).runs}
    assert sum(run.count for run in kept.values()) == len(steps)
    assert all(run.first_at_s <= run.last_at_s for run in kept.values())
    assert all(run.took_min_s <= run.took_mean_s + 1e-12 <= run.took_max_s + 2e-12 for run in kept.values())
