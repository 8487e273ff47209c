"""Memory over restarts: it comes back as it was, or is refused, and grows old."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm.decide.announce.memory import Memory, resumed
from gtm.model.anycast import Phase

NUMBER = st.floats(allow_nan=False, allow_infinity=False)
MEMORIES = st.builds(
    Memory,
    phase=st.sampled_from(Phase),
    since_s=NUMBER,
    reason=st.text(),
    announcing=st.booleans(),
    announced=st.booleans(),
    look=st.sampled_from(Phase),
    proved=st.booleans(),
    good=st.booleans(),
    rung=st.integers(-1, 20),
    rung_since_s=NUMBER,
    penalty=NUMBER,
    penalty_at_s=NUMBER,
    suppressed=st.booleans(),
    left_s=st.none() | NUMBER,
    leaving=st.booleans(),
)


@given(MEMORIES)
def test_memory_comes_back_from_json_as_it_was(memory: Memory) -> None:
    assert Memory.from_dict(json.loads(json.dumps(memory.to_dict()))) == memory


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 2}, "version 2"),
        ({"phase": "SIDEWAYS"}, "not a phase"),
        ({"phase": 3}, "not a phase"),
        ({"since_s": "now"}, "since_s: 'now' is not a number"),
        ({"since_s": True}, "not a number"),
        ({"penalty": float("nan")}, "not a number"),
        ({"left_s": "never"}, "left_s"),
        ({"rung": -2}, "not an index"),
        ({"rung": 1.5}, "not an index"),
        ({"announcing": 1}, "not true or false"),
        ({"reason": None}, "not a text"),
    ],
)
def test_what_cannot_be_a_memory_is_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Memory.from_dict(Memory().to_dict() | change)


def test_what_is_missing_is_refused() -> None:
    values = Memory().to_dict()
    for name in values:
        with pytest.raises(ValueError):  # noqa: PT011  # which one it is, is in the message of each
            Memory.from_dict({key: value for key, value in values.items() if key != name})


KEPT = replace(
    Memory(), phase=Phase.UP, announcing=True, announced=True, proved=True, penalty=500.0, left_s=10.0, since_s=20.0
)


def test_a_young_memory_stands() -> None:
    assert resumed(KEPT, saved_s=100.0, now_s=160.0, age_max_s=60.0) == KEPT


@pytest.mark.parametrize("now_s", [160.1, 5.0])  # too old; a clock that began anew
def test_of_an_old_memory_only_what_protects_is_left(now_s: float) -> None:
    found = resumed(KEPT, saved_s=100.0, now_s=now_s, age_max_s=60.0)
    assert (found.phase, found.announcing, found.proved) == (Phase.INIT, False, False)
    assert (found.announced, found.penalty, found.penalty_at_s, found.left_s) == (True, 500.0, now_s, now_s)
    assert resumed(replace(KEPT, left_s=None), saved_s=100.0, now_s=now_s, age_max_s=60.0).left_s is None
