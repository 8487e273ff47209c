"""The conversation: wishes, window, answers."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from gtm.wire.exabgp.session import Accepted, Answer, Refused, Session

KEYS = ["a", "b", "c", "d", "e"]


def sent(session: Session, now_s: float = 0.0) -> list[str]:
    return session.take(now_s).decode().splitlines()


def test_commands_are_answered_in_their_order() -> None:
    session = Session()
    session.wish("a", "one")
    session.wish("b", "two")
    assert sent(session) == ["one", "two"]
    assert session.receive(b"done\nerr") == [Accepted(key="a", command="one")]
    assert session.receive(b"or\n") == [Refused(key="b", command="two")]
    assert session.idle


def test_the_newest_wish_of_a_key_is_the_one_that_is_written() -> None:
    session = Session()
    for number in range(10):
        session.wish("a", f"a{number}")
    assert sent(session) == ["a9"]
    session.wish("a", "a10")
    assert sent(session) == ["a10"]


def test_the_window_holds() -> None:
    session = Session(window=2)
    for key in KEYS:
        session.wish(key, key)
    assert sent(session) == ["a", "b"]
    assert sent(session) == []
    session.receive(b"done\n")
    assert sent(session) == ["c"]
    assert (session.outstanding, session.waiting) == (2, 2)


def test_a_question_has_the_lines_before_its_answer_and_events_come_between() -> None:
    session = Session()
    session.wish("a", "one")
    session.ask("version")
    session.ask("version")
    assert sent(session) == ["one", "version"]
    assert session.receive(b"done\nexabgp 5.0.15\n") == [Accepted(key="a", command="one")]
    (answer,) = session.receive(b"done\n")
    assert isinstance(answer, Answer)
    assert (answer.question, answer.ok, len(answer.replies)) == ("version", True, 1)


def test_answers_to_nothing_are_counted() -> None:
    session = Session()
    assert session.receive(b"done\n") == []
    assert session.unexpected == 1


def test_how_long_the_oldest_has_waited() -> None:
    session = Session()
    assert session.waited_s(5.0) == 0.0
    session.wish("a", "one")
    session.take(5.0)
    session.wish("b", "two")
    session.take(7.0)
    assert session.waited_s(8.0) == 3.0
    session.receive(b"done\n")
    assert session.waited_s(8.0) == 1.0


STEPS = st.lists(st.tuples(st.sampled_from([*KEYS, "answer", "refuse", "take"]), st.integers(0, 99)), max_size=200)


@given(STEPS, st.integers(1, 8))
def test_any_sequence_of_wishes_ends_in_the_last_of_each_key(steps: list[tuple[str, int]], window: int) -> None:
    session = Session(window=window)
    wished: dict[str, str] = {}
    router: dict[str, str] = {}
    pipe: list[str] = []

    def answer(word: bytes) -> None:
        if pipe:
            key, value = pipe.pop(0).split()
            router[key] = value
            (event,) = session.receive(word)
            assert isinstance(event, Accepted | Refused)
            assert event.key == key

    for step, number in steps:
        if step == "take":
            pipe += sent(session)
            assert len(pipe) == session.outstanding <= window
        elif step in {"answer", "refuse"}:
            answer(b"done\n" if step == "answer" else b"error\n")
        else:
            wished[step] = str(number)
            session.wish(step, f"{step} {number}")
            assert session.waiting <= len(KEYS)
    while not session.idle:
        pipe += sent(session)
        answer(b"done\n")
    assert router == wished


def test_hostile_octets_never_raise() -> None:
    dice = random.Random(7)
    session = Session()
    words = [
        b"done",
        b"error",
        b"{",
        b"[",
        b'{"type": "state"}',
        b"neighbor 1 ipv4 unicast x y",
        b"\xff\x00",
        b"\n",
        b"\r\n",
    ]
    for _ in range(20_000):
        session.wish(str(dice.randrange(50)), "x")
        session.ask(str(dice.randrange(50)))
        session.take(0.0)
        session.receive(dice.choice(words) + dice.choice([b"", b"\n"]))
        assert session.outstanding <= 64
        assert session.waiting <= 50 + 16
