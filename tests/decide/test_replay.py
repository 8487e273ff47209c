"""Replay: runs fold to the verdicts that their results came to, and other settings to those they would have come to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_address
from itertools import groupby, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm.decide.health import fold
from gtm.decide.replay import (
    Detection,
    Outage,
    Setting,
    changes,
    in_order,
    outages,
    replayed,
    results,
    score,
)
from gtm.model.check import Cadence, Check, Degraded, Target, TcpProbe
from gtm.model.chronicle import Outcome, Run
from gtm.model.health import Health, Judgement, Result

WEB = Target(check="web", address=ip_address("192.0.2.1"))
CHECK = Check(name="web", probe=TcpProbe(port=80), cadence=Cadence(interval_s=10.0, fall=3, rise=2))
NOW = Setting.of(CHECK)
UP, DOWN, DEGRADED = Health.UP, Health.DOWN, Health.DEGRADED
WORDS = {".": Outcome.GOOD, "p": Outcome.POOR, "X": Outcome.BAD}


def runs_of(words: str, *, begin_s: float = 1000.0, step_s: float = 10.0, vantage: str = "a") -> list[Run]:
    """Runs as a chronicle has them of one result each `step_s`: "." good, "p" poor, "X" bad, "-" none."""
    found = []
    for letter, places in groupby(range(len(words)), key=words.__getitem__):
        if letter != "-":
            some = list(places)
            found.append(
                Run(
                    target=WEB, vantage=vantage, outcome=WORDS[letter], first_at_s=begin_s + some[0] * step_s,
                    last_at_s=begin_s + some[-1] * step_s, count=len(some), took_min_s=0.01, took_mean_s=0.01,
                    took_max_s=0.01, detail=letter,
                )
            )  # fmt: skip
    return found


def folded(words: str, check: Check, step_s: float = 10.0) -> list[tuple[float, Health]]:
    """What the real fold makes of the same results, one by one."""
    told: list[tuple[float, Health]] = []
    judgement = Judgement()
    for number, letter in enumerate(words):
        one = Result(at_s=1000.0 + number * step_s, ok=letter != "X", poor=letter == "p", took_s=0.01, detail="")
        judgement = fold(judgement, one, check.cadence, check.degraded)
        if not told or told[-1][1] is not judgement.health:
            told.append((one.at_s, judgement.health))
    return told


def near(some: Sequence[tuple[float, Health]]) -> list[tuple[float, Health]]:
    return [(round(at_s, 3), health) for at_s, health in some]


def with_cadence(**changed: float) -> Check:
    return replace(CHECK, cadence=replace(CHECK.cadence, **changed))  # type: ignore[arg-type]


@st.composite
def histories(draw: st.DrawFn) -> str:
    """Short runs and long ones, as flaps and months of quiet are."""
    parts = draw(st.lists(st.tuples(st.sampled_from(".pX"), st.sampled_from([1, 1, 1, 2, 3, 5, 40, 200])), max_size=12))
    return "".join(letter * count for letter, count in parts)


checks = st.builds(
    lambda fall, rise, errors, window, latency_s: replace(
        CHECK,
        cadence=replace(CHECK.cadence, fall=fall, rise=rise),
        degraded=Degraded(errors=errors, window=window, latency_s=latency_s),
    ),
    fall=st.integers(1, 6),
    rise=st.integers(1, 6),
    errors=st.sampled_from([None, 0.1, 0.5, 1.0]),
    window=st.sampled_from([1, 5, 20, 64]),
    latency_s=st.sampled_from([None, 0.005, 0.5]),
)


@given(words=histories(), check=checks)
def test_what_is_rebuilt_folds_to_what_was(words: str, check: Check) -> None:
    runs = runs_of(words)
    wanted = near(folded(words, check))
    assert near(changes(results(runs), check)) == wanted
    assert near(replayed({"a": runs}, check, Setting.of(check))) == wanted


@given(words=histories(), check=checks, every=st.integers(2, 7))
def test_a_longer_interval_is_each_so_many_results(words: str, check: Check, every: int) -> None:
    setting = replace(Setting.of(check), interval_s=10.0 * every)
    assert near(replayed({"a": runs_of(words)}, check, setting)) == near(folded(words[::every], check, 10.0 * every))


@given(words=histories(), check=checks, parts=st.integers(2, 5))
def test_with_a_shorter_interval_each_result_stands_until_the_next(words: str, check: Check, parts: int) -> None:
    setting = replace(Setting.of(check), interval_s=10.0 / parts)
    filled = "".join(letter * parts for letter in words)
    told = near(replayed({"a": runs_of(words)}, check, setting))
    assert told == near(folded(filled, check, 10.0 / parts))


def test_jitter_makes_no_difference() -> None:
    """Results come early and late by a tenth of the interval; each second one of them is each second one."""
    words, shift = "......XXXXXX......", [0.0, 0.9, -0.8, 0.5, -0.9]
    runs = [
        replace(run, first_at_s=run.first_at_s + shift[n % 5], last_at_s=run.last_at_s + shift[n % 5])
        for n, one in enumerate(words)
        for run in runs_of(one, begin_s=1000.0 + 10 * n)
    ]
    told = replayed({"a": runs}, CHECK, replace(NOW, interval_s=20.0))
    assert [health for _, health in told] == [UP, DOWN, UP]
    assert [at_s for at_s, _ in told] == pytest.approx([1000, 1100, 1140], abs=1)


def test_while_results_contradict_the_pace_is_fast() -> None:
    check = with_cadence(fast_s=2.0)
    runs = [*runs_of("..."), *runs_of("XXX", begin_s=1030.0, step_s=2.0), *runs_of("X....", begin_s=1044.0)]
    assert replayed({"a": runs}, check, Setting.of(check))[1] == (1034.0, DOWN)
    assert replayed({"a": runs}, check, replace(NOW, interval_s=30.0))[1] == (1034.0, DOWN)


class TestVantages:
    SEEN = {  # noqa: RUF012 - read only
        "a": runs_of("......XXXXXX......", vantage="a"),
        "b": runs_of("......XXXXXX......", vantage="b"),
        "c": runs_of("..................", vantage="c"),
    }

    @pytest.mark.parametrize(("quorum", "down"), [(0.51, True), (0.67, False), (0.3, True), (1.0, False)])
    def test_the_quorum_decides(self, quorum: float, down: bool) -> None:
        told = replayed(self.SEEN, CHECK, replace(NOW, quorum=quorum))
        assert ([health for _, health in told] == [UP, DOWN, UP]) is down

    def test_an_outage_is_what_the_quorum_in_force_saw(self) -> None:
        assert outages(self.SEEN, CHECK) == [Outage(from_s=1060.0, until_s=1120.0)]
        assert outages(self.SEEN, replace(CHECK, quorum=0.67)) == []
        assert outages({"a": self.SEEN["a"]}, replace(CHECK, quorum=0.67)) == [Outage(from_s=1060.0, until_s=1120.0)]

    def test_who_is_not_heard_of_has_no_vote(self) -> None:
        seen = {"a": runs_of("..XXXXXXXXXX......"), "b": runs_of("...---------......")}
        told = replayed(seen, CHECK, replace(NOW, quorum=1.0))
        assert [(at_s, health) for at_s, health in told if health is DOWN] == [(1050.0, DOWN)]
        assert told[-1][1] is UP

    def test_a_failover_that_the_quorum_never_saw_is_false(self) -> None:
        lonely = {**self.SEEN, "b": runs_of("." * 18)}
        strict, lax = (score([lonely], CHECK, replace(NOW, quorum=quorum), 30.0) for quorum in (0.51, 0.1))
        assert (strict.failovers, strict.false, strict.missed) == (0, 0, 0)
        assert (lax.failovers, lax.false, lax.missed) == (1, 1, 0)


class TestScore:
    def test_false_failovers_and_missed_outages(self) -> None:
        seen = {"a": runs_of("....XX........XXXXXXXX....")}
        quick, now, slow = (score([seen], CHECK, replace(NOW, fall=fall), 30.0) for fall in (2, 3, 9))
        assert (quick.failovers, quick.false, quick.missed, quick.detection) == (
            2, 1, 0, Detection(min_s=10, median_s=10, p95_s=10, max_s=10),
        )  # fmt: skip
        assert (now.failovers, now.false, now.missed) == (1, 0, 0)
        assert (now.detection, now.down_s) == (Detection(min_s=20, median_s=20, p95_s=20, max_s=20), 70.0)
        assert (slow.failovers, slow.missed, slow.detection, slow.down_s) == (0, 1, None, 0.0)
        assert now.flaps_per_day == pytest.approx(2 * 86400 / 250)

    def test_what_counts_as_an_outage_is_a_choice(self) -> None:
        seen = {"a": runs_of("....XXXXX....")}
        assert [score([seen], CHECK, NOW, outage_s).false for outage_s in (10.0, 50.0, 60.0)] == [0, 0, 1]

    def test_targets_are_summed_up(self) -> None:
        seen = [{"a": runs_of("..." + "X" * count + "....")} for count in (3, 4, 5, 1)]
        one = score(seen, CHECK, replace(NOW, rise=1), 30.0)
        assert (one.failovers, one.false, one.missed, one.down_s) == (3, 0, 0, 10.0 + 20.0 + 30.0)

    def test_what_was_down_from_the_start_is_no_failover(self) -> None:
        one = score([{"a": runs_of("XXXXXX...")}], CHECK, NOW, 30.0)
        assert (one.failovers, one.missed, one.detection) == (0, 0, Detection(min_s=0, median_s=0, p95_s=0, max_s=0))

    def test_only_a_shorter_interval_is_extrapolated(self) -> None:
        seen = [{"a": runs_of("...")}]
        assert [score(seen, CHECK, replace(NOW, interval_s=s), 30.0).extrapolated for s in (5.0, 10.0, 20.0)] == [
            True, False, False,
        ]  # fmt: skip

    def test_nothing_seen_is_nothing_said(self) -> None:
        one = score([{}], CHECK, NOW, 30.0)
        assert (one.failovers, one.down_s, one.flaps_per_day, one.detection) == (0, 0.0, 0.0, None)

    @given(words=histories(), fall=st.integers(1, 5), rise=st.integers(1, 5))
    def test_it_cannot_flap_faster_than_its_bound(self, words: str, fall: int, rise: int) -> None:
        told = replayed({"a": runs_of(words)}, CHECK, replace(NOW, fall=fall, rise=rise))
        for (before_s, was), (at_s, now) in pairwise(told):
            least = rise if was is DOWN else fall if (was, now) == (UP, DOWN) else 1
            assert at_s - before_s >= least * 10.0 - 1e-6


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 30), st.sampled_from(".X")), max_size=8))
def test_times_that_are_there_twice_are_told_once(some: list[tuple[int, int, str]]) -> None:
    runs = [run for begin, count, word in some for run in runs_of(word * count, begin_s=begin * 1.0)]
    kept = in_order(runs)
    assert all(one.last_at_s <= two.first_at_s for one, two in pairwise(kept))
    assert all(run.count > 0 and run.first_at_s <= run.last_at_s for run in kept)
    told = replayed({"a": runs}, CHECK, NOW)
    assert [at_s for at_s, _ in told] == sorted(at_s for at_s, _ in told)


def letters(runs: Sequence[Run]) -> Iterator[str]:
    for run in runs:
        yield run.detail * run.count


@given(words=histories())
def test_runs_of_here_are_what_they_are_made_of(words: str) -> None:
    assert "".join(letters(runs_of(words))) == words
