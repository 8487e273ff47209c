from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm.model.anycast import Phase
from gtm.model.errors import StoreError
from gtm.wire.announcing import (
    Leaving,
    Telling,
    Told,
    decode_leaving,
    decode_telling,
    encode_leaving,
    encode_telling,
)

TEXTS = st.text(min_size=1, max_size=20)
TIMES = st.floats(min_value=0, max_value=1e11)
TOLD = st.builds(Told, phase=st.sampled_from(Phase), announcing=st.booleans(), leaving=st.booleans(), since_s=TIMES)


@given(
    st.builds(
        Telling, region=TEXTS, services=st.dictionaries(TEXTS, TOLD, max_size=4), run=TEXTS, beat=st.integers(0, 10**9)
    )
)
def test_what_is_told_is_read_again(telling: Telling) -> None:
    assert decode_telling(encode_telling(telling)) == telling


@given(st.builds(Leaving, region=TEXTS, speakers=st.lists(TEXTS, max_size=3).map(tuple), until_s=TIMES))
def test_a_permit_is_read_again(leaving: Leaving) -> None:
    assert decode_leaving(encode_leaving(leaving)) == leaving


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_octets_are_read_or_refused(value: bytes) -> None:
    for decode in (decode_telling, decode_leaving):
        with pytest.raises(StoreError, match="makes no sense"):
            decode(value)


GOOD = {"region": "r", "run": "x", "beat": 1, "services": {}}
SERVICE = {"phase": "UP", "announcing": True, "leaving": False, "since_s": 1.0}


@pytest.mark.parametrize(
    "document",
    [
        [],
        {**GOOD, "region": 1},
        {**GOOD, "services": []},
        {**GOOD, "services": {"a": {**SERVICE, "phase": "SIDEWAYS"}}},
        {**GOOD, "services": {"a": {**SERVICE, "announcing": 1}}},
        {**GOOD, "services": {"a": {**SERVICE, "leaving": "no"}}},
        {**GOOD, "services": {"a": {**SERVICE, "since_s": float("nan")}}},
        {**GOOD, "services": {"a": {**SERVICE, "since_s": True}}},
        {**GOOD, "beat": "many"},
        {**GOOD, "services": {str(number): SERVICE for number in range(10_001)}},
    ],
)
def test_what_is_not_quite_right_is_refused(document: object) -> None:
    with pytest.raises(StoreError, match="what a speaker told makes no sense"):
        decode_telling(json.dumps(document).encode())


def test_depth_and_size_are_bounded() -> None:
    for value in (b"[" * 100_000, b'{"region": "' + b"r" * 1_000_000 + b'"}'):
        with pytest.raises(StoreError, match="makes no sense"):
            decode_telling(value)
