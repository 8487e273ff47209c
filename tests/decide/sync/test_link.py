"""Sessions and streams: all arrives, once and in its order; what is old, doubled or made up changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtm.decide.sync import link as module
from gtm.decide.sync.gate import Gate
from gtm.decide.sync.link import LOST_S, Link
from gtm.decide.sync.stream import WINDOW, Receiving
from gtm.decide.sync.window import SIZE, Window
from gtm.model.sync import Datagram, Kind, Page, Section
from tests.decide.sync.pair import TABLE, Pair, words

READY_S = 30.0


@given(st.lists(st.integers(1, 3000), max_size=300))
def test_a_window_takes_each_number_once(given_numbers: list[int]) -> None:
    window = Window()
    seen: set[int] = set()
    for number in given_numbers:
        fresh = number not in seen and number > max(seen, default=0) - SIZE
        assert window.accept(number) is fresh
        seen.add(number)


def test_a_bulk_transfer_and_the_events_behind_it() -> None:
    pair = Pair()
    pair.ends[0].knows = 1000
    pair.settle()
    pair.ends[0].link.tell(Section.EVENTS, words(5001, 5002))
    pair.settle()
    assert pair.ends[1].of(Section.FLOWS) == list(range(1, 1001))
    assert pair.ends[1].of(Section.EVENTS) == [5001, 5002]
    assert pair.ends[0].link.complete
    assert pair.ends[1].link.complete
    assert pair.ends[0].of(Section.FLOWS) == []


def test_events_during_a_bulk_transfer_come_behind_it() -> None:
    """A page of the table as it was must not undo what happened since."""
    pair = Pair()
    pair.ends[0].knows = 20_000  # more than a window of pages
    while pair.ends[1].of(Section.FLOWS) == []:
        pair.step()
    assert not pair.ends[1].link.complete
    pair.ends[0].link.tell(Section.EVENTS, words(99))
    pair.settle()
    assert [page.section for page in pair.ends[1].got] == [Section.FLOWS] * 200 + [Section.EVENTS]


@pytest.mark.parametrize("seed", range(60))
def test_all_arrives_in_order_over_any_wire(seed: int) -> None:
    pair = Pair(seed, loss=0.2, double=0.2, overtake=0.3)
    told: tuple[list[int], list[int]] = ([], [])
    for end in pair.ends:
        end.knows = pair.rand.randrange(20_000)
    pair.settle()
    for step in range(150):
        for which in (0, 1):
            if pair.rand.random() < 0.5:
                some = [step * 1000 + number for number in range(pair.rand.randrange(1, 400))]
                pair.ends[which].link.tell(Section.EVENTS, words(*some))
                told[which].extend(some)
        pair.cut = 60 <= step < 120  # resumed where it was
        pair.step()
    pair.cut = False
    pair.settle()
    for which in (0, 1):
        assert pair.ends[1 - which].of(Section.FLOWS) == list(range(1, pair.ends[which].knows + 1))
        assert pair.ends[1 - which].of(Section.EVENTS) == told[which]
        assert pair.ends[which].link.complete
        assert pair.ends[which].link.sessions <= 2


def test_a_wire_that_loses_costs_about_what_it_loses() -> None:
    pair = Pair(1, loss=0.05)
    pair.ends[0].knows = 100_000
    pair.settle()
    assert pair.ends[1].of(Section.FLOWS) == list(range(1, 100_001))
    assert 0 < pair.ends[0].link.again < 1000


def snapshot(pair: Pair) -> list[object]:
    """All that an end's later doings depend on, but for counts of what was refused and the answer to a greeting."""
    found: list[object] = []
    for end in pair.ends:
        link = end.link
        found += [link.established, link.complete, link.peer_ready, link.peer_table, link.sessions, link.heard_s]
        found += [link.outstanding, link.wants_bulk, link.waiting_words, len(end.got), link._epoch, link._toward]
        found += [link._receiving.count, link._sending.acknowledged, link._window.newest]
    return found


@pytest.mark.parametrize("seed", range(20))
def test_a_recording_changes_nothing(seed: int) -> None:
    """Every datagram of this session and of the ones before, in any order, to its receiver."""
    pair = Pair(seed, loss=0.05, overtake=0.1)
    pair.ends[0].knows = 3000
    pair.settle()
    for which in (0, 1):
        pair.restart(which).knows = 500
        pair.step(200)
        pair.settle()
    before = snapshot(pair)
    for sender in (0, 1):
        old = pair.recorded[sender][:]
        pair.rand.shuffle(old)
        for one in old:
            assert pair.hand(sender, one) == []
        assert pair.ends[1 - sender].link.repeated > 0
    assert snapshot(pair) == before
    sessions = [end.link.sessions for end in pair.ends]
    pair.step(200)
    assert [end.link.sessions for end in pair.ends] == sessions


def test_a_recorded_greeting_is_answered_and_no_more() -> None:
    pair = Pair()
    pair.settle()
    greeting = next(one for one in pair.recorded[0] if one.kind is Kind.HELLO and not one.toward)
    sessions = [end.link.sessions for end in pair.ends]
    for _ in range(50):
        assert pair.hand(0, greeting) == []
        pair.step()
    assert [end.link.sessions for end in pair.ends] == sessions


def test_another_instances_epoch_is_refused() -> None:
    pair = Pair()
    pair.settle()
    honest = pair.recorded[0][-1]
    for field in ("epoch", "toward"):
        wrong = replace(honest, **{field: getattr(honest, field) ^ 2}, number=honest.number + 100)
        before = pair.ends[1].link.stale
        assert pair.hand(0, wrong) == []
        assert pair.ends[1].link.stale == before + 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.integers(0, 2**32))
def test_after_any_restarts_and_cuts_both_know_all(happenings: list[int], seed: int) -> None:
    pair = Pair(seed, loss=0.1, double=0.1, overtake=0.2)
    pair.ends[0].knows, pair.ends[1].knows = 300, 200
    for what in happenings:
        match what:
            case 0 | 1:
                pair.restart(what).knows = pair.rand.randrange(400)
            case 2:
                pair.cut = not pair.cut
            case 3:
                pair.step(pair.rand.randrange(200))
            case 4:
                pair.ends[0].link.tell(Section.EVENTS, words(1, 2, 3))
        pair.step(3)
    pair.cut = False
    pair.step(round((LOST_S + 3) / 0.02))
    pair.settle()
    for which in (0, 1):
        assert pair.ends[which].link.complete
        last = [page for page in pair.ends[which].got if page.section is Section.FLOWS]
        knows = pair.ends[1 - which].knows
        assert sum(page.count for page in last) >= knows


def test_a_peer_that_takes_nothing_gets_all_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_WORDS_MAX", 20_000)
    pair = Pair()
    pair.ends[0].knows = 10
    pair.settle()
    pair.cut, pair.ends[0].knows = True, 40
    for number in range(40):
        pair.ends[0].link.tell(Section.EVENTS, words(*range(number * 1000, number * 1000 + 1000)))
        pair.step()
        assert pair.ends[0].link.waiting_words <= 20_000
    pair.cut = False
    pair.settle()
    assert pair.ends[1].of(Section.FLOWS)[-40:] == list(range(1, 41))


def test_who_asks_gets_all_once_more() -> None:
    pair = Pair()
    pair.ends[0].knows = 5
    pair.settle()
    pair.ends[1].link.ask()
    pair.step(5)
    pair.settle()
    assert pair.ends[1].of(Section.FLOWS) == [1, 2, 3, 4, 5] * 2


def test_flows_of_another_table_are_not_told() -> None:
    pair = Pair()
    pair.restart(1, table=TABLE + 1).knows = 10
    pair.ends[0].knows = 10
    pair.step(200)
    assert pair.ends[0].got == pair.ends[1].got == []
    assert not pair.ends[0].link.compatible
    assert pair.ends[0].link.established


def test_what_a_peer_says_of_itself_is_as_new_as_its_newest_word() -> None:
    pair = Pair()
    pair.settle()
    old = pair.ends[0].link.send(pair.now_s + 2, ready=False)
    pair.ends[0].ready = True
    pair.step(150)
    assert pair.ends[1].link.peer_ready
    for one in old:
        pair.hand(0, one)
    assert pair.ends[1].link.peer_ready


# The gate.


def test_ready_only_after_the_bulk_transfer() -> None:
    pair = Pair()
    pair.ends[0].knows = 20_000
    gate = Gate(started_s=0.0, ready_s=READY_S)
    seen = []
    while gate.waits_for({"lb-1": pair.ends[1].link}, pair.now_s):
        seen.append(pair.ends[1].count)
        pair.step()
    assert pair.ends[1].count == 20_000
    assert 0 < seen[-1] < 20_000


@pytest.mark.parametrize("seed", range(5))
def test_who_is_started_anew_before_the_end_never_becomes_ready(seed: int) -> None:
    """Each life ends while pages are missing: for far longer than a silent peer is waited for."""
    pair = Pair(seed, loss=0.1)
    pair.ends[0].knows = 40_000
    for _ in range(20):
        end, gate = pair.restart(1), Gate(started_s=pair.now_s, ready_s=READY_S)
        until_s = pair.now_s + 2.0
        while end.count < 30_000 and pair.now_s < until_s:
            pair.step()
            assert gate.waits_for({"lb-1": end.link}, pair.now_s) == ("lb-1",)
        assert end.count > 1000


def test_a_sender_that_is_started_anew_halfway_is_waited_for() -> None:
    pair = Pair()
    gate = Gate(started_s=0.0, ready_s=1.0)
    for _ in range(10):
        pair.restart(0).knows = 50_000
        for _ in range(8):
            pair.step()
            assert gate.waits_for({"lb-1": pair.ends[1].link}, pair.now_s)
        assert not pair.ends[1].link.complete
    pair.settle()
    assert gate.waits_for({"lb-1": pair.ends[1].link}, pair.now_s) == ()


def test_alone_it_is_ready_after_a_while() -> None:
    pair = Pair()
    link, gate = pair.ends[0].link, Gate(started_s=5.0, ready_s=READY_S)
    assert gate.waits_for({"lb-2": link}, 34.9) == ("lb-2",)
    assert gate.waits_for({"lb-2": link}, 35.0) == ()


def test_without_peers_it_is_ready_at_once() -> None:
    assert Gate(started_s=0.0, ready_s=READY_S).waits_for({}, 0.0) == ()


def test_a_peer_with_another_table_is_not_waited_for() -> None:
    pair = Pair()
    pair.restart(1, table=TABLE + 1)
    pair.step(20)
    assert Gate(started_s=0.0, ready_s=READY_S).waits_for({"lb-2": pair.ends[0].link}, pair.now_s) == ()


def test_open_it_stays() -> None:
    pair = Pair()
    gate = Gate(started_s=0.0, ready_s=READY_S, opened=True)
    assert gate.waits_for({"lb-2": pair.ends[0].link}, 0.0) == ()


def test_nobody_can_begin_a_session_by_guessing() -> None:
    """A greeting that names an epoch must name the one that is offered."""
    link = Pair().ends[0].link
    guess = Datagram(kind=Kind.DATA, sender=1, epoch=5, toward=6, number=1, acknowledged=0, table=TABLE, sequence=1)
    assert link.receive(replace(guess, page=Page(section=Section.FLOWS, words=words(1))), 0.0) == []
    assert not link.established
    assert link.stale == 1


def test_what_lies_beyond_any_window_is_not_kept() -> None:
    receiving, page = Receiving(), Page(section=Section.EVENTS)
    for number in (0, WINDOW + 1, 1 << 40):
        assert receiving.take(number, page) == []
    for number in range(WINDOW, 1, -1):
        assert receiving.take(number, page) == []
    assert len(receiving.take(1, page)) == WINDOW
    assert receiving.take(WINDOW + 1, page) == [page]  # that one was not there before
    assert receiving.count == WINDOW + 1


@pytest.mark.parametrize("told", [[Section.END], [Section.BEGIN, Section.FLOWS, Section.END], [Section.BEGIN]])
def test_an_end_that_does_not_count_right_ends_nothing(told: list[Section], monkeypatch: pytest.MonkeyPatch) -> None:
    def lying(_: Link, __: Iterator[Page]) -> Iterator[Page]:
        return iter([Page(section=each, words=words(7)) for each in told])

    monkeypatch.setattr(Link, "_framed", lying)
    pair = Pair()
    pair.settle()
    assert not pair.ends[1].link.complete
    monkeypatch.undo()
    pair.ends[0].link.renew()
    pair.step()
    pair.settle()
    assert pair.ends[1].link.complete
