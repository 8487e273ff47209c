"""Patterns in bodies: the same finds as `re`, and an end to those that would never end."""

from __future__ import annotations

import re
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm.observe.outcome import ProbeFault, Reason
from gtm.observe.pattern import FIRST_CHARACTERS, Pattern

LONG = 65536


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"(a+)+$", "a" * 64 + "!"),
        (r"(x+x+)+y", "x" * LONG),
        (r"a.*a.*a.*b", "a" * LONG),
        (r"(a|a)*$", "a" * 200 + "!"),
        (r"a.*b", "a" * LONG),
        (r"x*y", "x" * LONG),
    ],
)
def test_a_pattern_that_takes_too_long_is_given_up_with_words(pattern: str, text: str) -> None:
    try:
        found = Pattern(pattern).found_in(text)
    except ProbeFault as fault:
        assert fault.reason is Reason.BODY
        assert str(fault) == "the body's pattern takes too long to search (over 50 ms)"
    else:
        assert not found  # a machine that is quick enough for those that grow with the square only
        assert pattern in {r"a.*b", r"x*y"}


def test_a_pattern_that_was_given_up_leaves_no_timer_behind() -> None:
    hard, easy = Pattern(r"(a+)+$"), Pattern("ok")
    for _ in range(3):
        with pytest.raises(ProbeFault):
            hard.found_in("a" * 64 + "!")
        assert easy.found_in("all is ok")


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("ok", "." * (LONG - 2) + "ok", True),
        ("ok$", "ok" + "." * LONG, False),
        ("ok$", "." * (FIRST_CHARACTERS - 2) + "ok" + "." * 100, False),
        ("ok$", "." * (FIRST_CHARACTERS - 2) + "ok" + "." * 100 + "ok", True),
        (r"(?s)<html>.*</html>", "<html>" + "x" * (LONG - 20) + "</html>", True),
        (r"\Astart", "start" + "." * LONG, True),
        (r"\Astart", "." * FIRST_CHARACTERS + "start", False),
        ("", "", True),
    ],
)
def test_what_is_found_is_what_re_finds(pattern: str, text: str, found: bool) -> None:
    assert Pattern(pattern).found_in(text) is found
    assert (re.search(pattern, text) is not None) is found


@given(
    pattern=st.sampled_from([r"ok$", r"^a", r"(?m)^b$", r"a\b", r"(?<=a)b", r"a{3}", r"\d+\s", r"c?$"]),
    text=st.text(alphabet="abc1 \nok", max_size=40), at=st.integers(0, 40),
)  # fmt: skip
def test_the_length_of_the_first_part_makes_no_difference(pattern: str, text: str, at: int) -> None:
    padded = "." * max(0, FIRST_CHARACTERS - at) + text
    assert Pattern(pattern).found_in(padded) is (re.search(pattern, padded) is not None)


def test_in_another_thread_a_pattern_is_searched_too() -> None:
    seen: list[bool] = []
    thread = threading.Thread(target=lambda: seen.append(Pattern("o+k").found_in("x" * LONG + "ook")))
    thread.start()
    thread.join()
    assert seen == [True]
