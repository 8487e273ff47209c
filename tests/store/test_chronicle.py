"""The transition log and the runs in the store: what is put in comes out, for 30 days, and no more than the bounds."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtm.model.check import Target
from gtm.model.chronicle import Entries, Outcome, Run, Transition
from gtm.model.health import Health, Judgement, Phases, Result, Vote
from gtm.store import runs as runs_module
from gtm.store import store as store_module
from gtm.store import transitions as transitions_module
from gtm.store.schema import APPLICATION_ID, MIGRATIONS
from gtm.store.store import Store

DAY_S = 86400.0
WEB1, WEB2, DB1 = (
    Target(check=check, address=ip_address(address))
    for check, address in (("web", "192.0.2.1"), ("web", "2001:db8::1"), ("db", "192.0.2.1"))
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store(path) as opened:
        yield opened


def run(first_at_s: float, last_at_s: float, target: Target = WEB1, vantage: str = "here", count: int = 2) -> Run:
    return Run(
        target=target, vantage=vantage, outcome=Outcome.BAD, first_at_s=first_at_s, last_at_s=last_at_s, count=count,
        took_min_s=0.25, took_mean_s=0.5, took_max_s=1.5, detail="refused",
    )  # fmt: skip


def change(at_s: float, target: Target = WEB1, vantage: str = "here") -> Transition:
    return Transition(
        target=target, vantage=vantage, at_s=at_s, was=Health.UP, now=Health.DOWN, lasted_s=50.0, failures=3, streak=3,
        history="00111", last=Result(at_s=at_s, ok=False, took_s=0.5, detail="refused", phases=Phases(connect_s=0.25)),
    )  # fmt: skip


def write(store: Store, *entries: Run | Transition, now_s: float = 1000.0) -> None:
    store.write_chronicle(
        Entries(
            transitions=tuple(one for one in entries if isinstance(one, Transition)),
            runs=tuple(one for one in entries if isinstance(one, Run)),
        ),
        now_s,
    )


def test_what_is_written_down_comes_back(store: Store, path: Path) -> None:
    voted = replace(
        change(7.0, WEB2, ""),
        lasted_s=None,
        last=None,
        votes=(Vote(vantage="a", health=Health.DOWN), Vote(vantage="b", health=Health.UP, counted=False, why="alone")),
    )
    poor = replace(change(8.0, DB1), last=Result(at_s=8.0, ok=True, poor=True, took_s=2.0, detail="slow"))
    write(store, change(5.0), voted, poor, run(1.0, 9.0), run(2.0, 3.0, DB1, "b"))
    store.close()
    with Store(path) as again:
        assert again.transitions(since_s=0.0) == (change(5.0), voted, poor)
        assert again.runs(since_s=0.0) == (run(1.0, 9.0), run(2.0, 3.0, DB1, "b"))


def test_one_check_or_address_can_be_asked_for(store: Store) -> None:
    for number, target in enumerate((WEB1, WEB2, DB1)):
        write(store, change(10.0 * number, target), run(10.0 * number, 10.0 * number + 5, target))
    for since_s, check, address, wanted in (
        (0.0, "web", None, {WEB1, WEB2}),
        (0.0, None, WEB1.address, {WEB1, DB1}),
        (0.0, "web", WEB1.address, {WEB1}),
        (6.0, None, None, {WEB2, DB1}),
        (0.0, "other", None, set()),
    ):
        assert {one.target for one in store.runs(since_s=since_s, check=check, address=address)} == wanted
        assert {one.target for one in store.transitions(since_s=since_s, check=check, address=address)} == wanted


def test_a_run_that_grew_takes_the_place_of_what_was_known_of_it(store: Store) -> None:
    write(store, run(1.0, 9.0))
    write(store, run(1.0, 19.0, count=4), run(1.0, 5.0, WEB2))
    write(store, run(1.0, 9.0))  # an older word
    assert store.runs(since_s=0.0) == (run(1.0, 19.0, count=4), run(1.0, 5.0, WEB2))


def test_foreign_text_cannot_spoil_anything(store: Store) -> None:
    odd = replace(run(1.0, 2.0), detail="\ud800" + "x" * 5000)
    write(store, odd)
    assert store.runs(since_s=0.0)[0].detail == "?" + "x" * (transitions_module.DETAIL_MAX - 1)


def test_after_30_days_it_is_forgotten(store: Store, path: Path) -> None:
    write(store, change(0.0), change(5 * DAY_S), run(0.0, 1.0), run(2.0, 5 * DAY_S), run(0.0, 1.0, DB1))
    write(store, change(30 * DAY_S), run(30 * DAY_S, 30 * DAY_S + 1), now_s=30 * DAY_S + 2)
    assert [one.at_s for one in store.transitions(since_s=0.0)] == [5 * DAY_S, 30 * DAY_S]
    assert [one.first_at_s for one in store.runs(since_s=0.0)] == [2.0, 30 * DAY_S]
    write(store, change(36 * DAY_S), run(36 * DAY_S, 36 * DAY_S), now_s=36 * DAY_S)
    assert [one.at_s for one in store.transitions(since_s=0.0)] == [30 * DAY_S, 36 * DAY_S]
    assert [one.first_at_s for one in store.runs(since_s=0.0)] == [30 * DAY_S, 36 * DAY_S]
    with sqlite3.connect(path) as raw:  # nor are targets kept of which nothing is known any more
        assert raw.execute("SELECT check_name, address FROM watched").fetchall() == [("web", "192.0.2.1")]
    raw.close()


def test_both_are_bounded_in_rows_and_the_oldest_go(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transitions_module, "TRANSITIONS_MAX", 7)
    monkeypatch.setattr(runs_module, "RUNS_MAX", 7)
    monkeypatch.setattr(store_module, "CHRONICLE_STEP", 3)
    goes_on = run(1.0, 1e5, WEB2)
    for begin in range(0, 40, 8):
        some = range(begin, begin + 8)
        write(store, goes_on, *(change(float(n)) for n in some), *(run(n + 2.0, n + 2.5) for n in some))
    assert [one.at_s for one in store.transitions(since_s=0.0)] == [float(n) for n in range(33, 40)]
    # The run that goes on has the latest end, however long ago it began.
    assert set(store.runs(since_s=0.0)) == {goes_on, *(run(n + 2.0, n + 2.5) for n in range(34, 40))}


def test_what_is_old_goes_in_small_steps(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "CHRONICLE_STEP", 5)
    write(store, *(change(float(n)) for n in range(100)), *(run(float(n), float(n)) for n in range(100)), now_s=0.0)
    left = []
    for _ in range(11):
        write(store, change(40 * DAY_S), run(40 * DAY_S, 40 * DAY_S), now_s=40 * DAY_S)
        left.append((len(store.transitions(since_s=0.0)), len(store.runs(since_s=0.0))))
    assert left[0] == (91, 91)
    assert left[-1] == (11, 1)
    assert all(before[0] - after[0] <= 9 for before, after in pairwise(left))


class TestJudgements:
    def test_all_that_a_verdict_follows_from_survives(self, store: Store, path: Path) -> None:
        judged = Judgement(
            health=Health.DEGRADED, since_s=10.0, streak=2, failures=5, history=(1 << 64) | 0xFFFF0000FFFF0001,
            last=Result(at_s=20.0, ok=True, took_s=0.5, detail="slow", poor=True,
                        phases=Phases(connect_s=0.25, tls_s=None, first_byte_s=0.125)),
        )  # fmt: skip
        store.save_judgements({WEB1: judged}, now_s=21.0)
        store.close()
        with Store(path) as again:
            assert again.load_judgements(now_s=21.0) == {WEB1: judged}

    def test_what_others_say_is_not_kept(self, store: Store) -> None:
        last = Result(at_s=20.0, ok=True, took_s=0.5, detail="ok")
        judged = Judgement(health=Health.UP, since_s=10.0, last=last)
        voted = replace(judged, stale=True, votes=(Vote(vantage="a", health=Health.UP),))
        store.save_judgements({WEB1: voted}, now_s=21.0)
        assert store.load_judgements(now_s=21.0) == {WEB1: judged}

    @settings(max_examples=20)
    @given(history=st.integers(1, (1 << 65) - 1))
    def test_every_history_survives(self, tmp_path_factory: pytest.TempPathFactory, history: int) -> None:
        with Store(tmp_path_factory.mktemp("store") / "store.db") as store:
            last = Result(at_s=1.0, ok=True, took_s=0.0, detail="")
            store.save_judgements({WEB1: Judgement(health=Health.UP, history=history, last=last)}, now_s=1.0)
            assert store.load_judgements(now_s=1.0)[WEB1].history == history

    def test_what_an_older_gtm_kept_is_read(self, path: Path) -> None:
        raw = sqlite3.connect(path)
        for step in MIGRATIONS[:2]:
            raw.executescript(step)
        raw.execute("INSERT INTO judgement VALUES ('web', '192.0.2.1', 'UP', 5.0, 1, 20.0, 0, 0.5, 'refused')")
        raw.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        raw.execute("PRAGMA user_version = 2")
        raw.commit()
        raw.close()
        with Store(path) as store:
            assert store.load_judgements(now_s=21.0) == {
                WEB1: Judgement(
                    health=Health.UP, since_s=5.0, streak=1,
                    last=Result(at_s=20.0, ok=False, took_s=0.5, detail="refused"),
                )
            }  # fmt: skip


def test_the_journal_keeps_what_the_decision_needs(store: Store) -> None:
    last = Result(at_s=20.0, ok=True, took_s=0.5, detail="slow", poor=True)
    judged = Judgement(health=Health.DEGRADED, since_s=10.0, streak=2, failures=1, last=last)
    store.record(1, at_s=1.0, summary="", judgements={WEB1: judged}, overrides=())
    inputs = store.inputs(1)
    assert inputs is not None
    assert inputs.judgements == {WEB1: judged}
