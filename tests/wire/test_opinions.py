"""Opinions on their way between nodes: all that is told arrives, and rubbish is refused in words."""

from __future__ import annotations

import zlib
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm.model.check import Target
from gtm.model.errors import StoreError
from gtm.model.health import Health, Judgement
from gtm.wire import opinions

targets = st.builds(Target, check=st.sampled_from(("web", "tcp-1")), address=st.ip_addresses())
judgements = st.builds(
    Judgement,
    health=st.sampled_from((Health.UNKNOWN, Health.UP, Health.DEGRADED, Health.DOWN)),
    since_s=st.integers(0, 2**32).map(float),
    stale=st.booleans(),
)


@given(st.dictionaries(targets, judgements, max_size=20))
def test_what_is_told_arrives(some: dict[Target, Judgement]) -> None:
    assert opinions.decode(opinions.encode(some)) == some


def test_what_people_ordered_is_nobodys_opinion() -> None:
    target = Target(check="web", address=ip_address("192.0.2.1"))
    found = opinions.decode(opinions.encode({target: Judgement(health=Health.DRAINING)}))
    assert found[target].health is Health.UNKNOWN


@given(st.one_of(st.binary(max_size=100), st.binary(max_size=100).map(zlib.compress)))
def test_rubbish_is_refused(payload: bytes) -> None:
    with pytest.raises(StoreError, match="makes no sense"):
        opinions.decode(payload)


@pytest.mark.parametrize(
    "text",
    ['{"web":[["192.0.2.1",9,0,0]]}', '{"web":[["x",1,0,0]]}', '{"web":[[1]]}', '{"web":5}', "[]", "5", "[" * 5000],
)
def test_json_that_is_something_else_is_refused(text: str) -> None:
    with pytest.raises(StoreError, match="makes no sense"):
        opinions.decode(zlib.compress(text.encode()))


def test_a_cut_payload_is_refused() -> None:
    whole = opinions.encode({Target(check="web", address=ip_address("192.0.2.1")): Judgement()})
    with pytest.raises(StoreError, match="cut short"):
        opinions.decode(whole[:-3])
