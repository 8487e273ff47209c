from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gtm.config import yaml12
from gtm.config.yaml12 import NODES_MAX, compose, plain, resolve
from tests.config.folders import CHECKS, NODE, REGIONS, STEERING

KEYS = st.text("abNO1", min_size=1, max_size=4)
REFERENCE = (Path(__file__).parents[2] / "zones/lb.example.com.yaml").read_text(encoding="utf-8")
WRONG = ("a: [", "a: b: c", "\tb: 1", "a: 'x", "- a\nb: 1", "a: @", "%X\n", "a: 1\n b: 2", "a: !h!x 1", '"\\q"')


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("NO", "NO"), ("no", "no"), ("Yes", "Yes"), ("on", "on"), ("OFF", "OFF"), ("y", "y"),
        ("true", True), ("FALSE", False), ("tRue", "tRue"),
        ("", None), ("~", None), ("null", None), ("nULL", "nULL"),
        ("12:30", "12:30"), ("1_000", "1_000"), ("2026-01-01", "2026-01-01"), ("<<", "<<"), ("=", "="),
        ("010", 10), ("0o17", 15), ("0x1F", 31), ("-7", -7), ("+7", 7), ("0b11", "0b11"), ("1" * 18, int("1" * 18)),
        ("1" * 19, float("1" * 19)),
        ("1e3", 1000.0), ("1.5", 1.5), (".5", 0.5), ("5.", 5.0), ("1e999", math.inf), ("-.inf", -math.inf),
        (".", "."), ("1" * 5000, "1" * 5000),
        ("192.0.2.1", "192.0.2.1"), ("::1", "::1"), ("1.2.3", "1.2.3"), ("e3", "e3"),
    ],
)  # fmt: skip
def test_plain_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)


def test_quoted_scalars_are_text_and_keys_always_are() -> None:
    root, faults = compose("'a': '12'\n12: \"true\"\n~: |\n  5\nNO: '5'\n", "f")
    assert root is not None
    assert plain(root) == {"a": "12", "12": "true", "~": "5\n", "NO": "5"}
    assert faults == []


def test_aliases_cannot_multiply() -> None:
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    laughs += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 30))
    root, faults = compose(laughs, "f")
    assert root is None
    assert "too many values" in faults[-1].message
    assert str(NODES_MAX) in str(faults[-1])


def test_an_alias_inside_its_own_anchor_refers_to_nothing() -> None:
    root, faults = compose("a: &a [*a]\n", "f")
    assert root is None
    assert str(faults[0]) == "f:1: *a refers to no earlier &a"


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000, "? " * 1000, "a: \n" + "  - [" * 50])
def test_deep_nesting_is_an_error_and_cheap(text: str) -> None:
    root, faults = compose(text, "f")
    assert root is None
    assert len(faults) == 1


@given(st.text(max_size=200))
def test_any_text_gives_a_tree_or_a_fault(text: str) -> None:
    root, faults = compose(text, "f")
    assert (root is not None) or faults


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.text("abNO:-#'\" \n019", max_size=8),
        lambda below: (
            st.lists(below, max_size=4) | st.dictionaries(st.text("abNO1", min_size=1, max_size=4), below, max_size=4)
        ),
        max_leaves=20,
    )
)
def test_what_another_writer_wrote_is_read_as_it_was_meant(value: object) -> None:
    class Quoting(yaml.SafeDumper):
        """A writer that puts all text in quotes, as the versions of YAML differ over plain text."""

    Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))
    Quoting.ignore_aliases = lambda *_: True  # type: ignore[method-assign]
    root, faults = compose(yaml.dump(value, Dumper=Quoting, width=1_000_000), "f")
    assert root is not None
    assert faults == []
    assert plain(root) == as_tuples(value)


def as_tuples(value: object) -> object:
    match value:
        case list():
            return tuple(map(as_tuples, value))
        case dict():
            return {key: as_tuples(each) for key, each in value.items()}
        case _:
            return value


@pytest.mark.parametrize("text", [NODE, REGIONS, CHECKS, STEERING, REFERENCE])
def test_the_slow_parser_gives_the_same_tree(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = compose(text, "f")
    monkeypatch.setattr(yaml12, "_PARSER", yaml.SafeLoader)
    assert compose(text, "f") == fast


@pytest.mark.parametrize("text", WRONG)
def test_both_parsers_refuse_alike(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root, faults = compose(text, "f")
    monkeypatch.setattr(yaml12, "_PARSER", yaml.SafeLoader)
    slow_root, slow_faults = compose(text, "f")
    assert root is None
    assert slow_root is None
    assert [fault.file for fault in faults] == [fault.file for fault in slow_faults] == ["f"]


@pytest.mark.parametrize("text", ["a: !x 1", "a: !!str 1", "a: ! 1", "a: !!python/name:os.system [x]", "!!map {a: 1}"])
def test_tags_are_refused(text: str) -> None:
    _, faults = compose(text, "f")
    assert [fault.message for fault in faults] == ["tags are not allowed"]
