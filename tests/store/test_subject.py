"""What people may write for a subject and for a duration."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm.model import duration
from gtm.model.override import Subject


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("region/us-east", "region", "us-east"),
        ("speaker/edge1-us-east", "speaker", "edge1-us-east"),
        ("backend/web/a1", "backend", "web/a1"),
        ("pool/LB.example.com./web", "pool", "lb.example.com/web"),
        ("pool/lb.example.com/web", "pool", "lb.example.com/web"),
        ("instance/us-east/192.0.2.11", "instance", "us-east/192.0.2.11"),
        ("instance/us-east/2001:DB8:0::1", "instance", "us-east/2001:db8::1"),
        ("instance/us-east/LB1.Example.net", "instance", "us-east/lb1.example.net."),
        ("instance/us-east/lb1.example.net.", "instance", "us-east/lb1.example.net."),
    ],
)
def test_subjects(text: str, kind: str, name: str) -> None:
    assert Subject.parse(text) == Subject(kind=kind, name=name)


@pytest.mark.parametrize(
    "text",
    ["", "us-east", "region", "region/", "region/a/b", "Region/a", "pool/web", "pool//web", "pool/./web", "pool/a/b/c",
     "instance/192.0.2.1", "instance/us-east/", "name/www",
     "speaker", "speaker/", "speaker/a/b", "backend/web",
     "backend//a1", "backend/web/a1/b", "region/us east", "region/\x1b[2J", "region/ü", "/"],
)  # fmt: skip
def test_what_is_no_subject_says_what_would_be(text: str) -> None:
    with pytest.raises(ValueError, match="allowed: region/REGION, pool/ZONE/POOL, instance/REGION/LABEL"):
        Subject.parse(text)


@given(st.text())
def test_any_text_is_a_subject_or_a_value_error(text: str) -> None:
    try:
        subject = Subject.parse(text)
    except ValueError:
        return
    assert Subject.parse(str(subject)) == subject


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1h", 3600), ("30m", 1800), ("2d", 172800), ("90s", 90), ("1h30m", 5400), ("1w2d3h4m5s", 788645), (" 5m ", 300)],
)
def test_durations(text: str, seconds: int) -> None:
    assert duration.parse(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "1", "h", "-1h", "1.5h", "1h 30m", "30m1h", "1y", "0s", "0h0m", "4000d", "9" * 30 + "s"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="allowed: "):
        duration.parse(text)


@given(st.text())
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert 0 < duration.parse(text) <= duration.DURATION_MAX_S
