from __future__ import annotations

from pathlib import Path

import pytest

from gtm.app.balance.numbers import Numbers
from gtm.model.errors import StoreError


def test_numbers_outlive_names_and_managers(tmp_path: Path) -> None:
    file = tmp_path / "numbers"
    assert Numbers(file, range(1, 10)).of(["a", "b", "c"]) == {"a": 1, "b": 2, "c": 3}
    again = Numbers(file, range(1, 10))
    assert again.of(["c", "d"]) == {"c": 3, "d": 4}
    assert again.of(["a", "d", "e"]) == {"a": 1, "d": 4, "e": 5}
    assert Numbers(file, range(1, 10)).of(["b"]) == {"b": 2}


def test_who_is_gone_longest_gives_its_number_first(tmp_path: Path) -> None:
    numbers = Numbers(tmp_path / "numbers", range(1, 4))
    numbers.of(["a", "b", "c"])
    numbers.of(["a", "c"])
    numbers.of(["c"])
    assert numbers.of(["c", "d"]) == {"c": 3, "d": 2}
    assert numbers.of(["c", "d", "e"]) == {"c": 3, "d": 2, "e": 1}
    with pytest.raises(StoreError, match="4 names, and numbers for 3"):
        numbers.of(["a", "b", "c", "d"])


def test_a_number_that_something_still_means_is_not_given_anew(tmp_path: Path) -> None:
    numbers = Numbers(tmp_path / "numbers", range(1, 4))
    numbers.of(["a", "b", "c"])
    numbers.of(["a"])
    assert numbers.of(["a", "d"], meant=lambda: {2}) == {"a": 1, "d": 3}
    with pytest.raises(StoreError, match="still hold"):
        numbers.of(["a", "d", "e"], meant=lambda: {2})


def test_a_damaged_file_begins_anew(tmp_path: Path) -> None:
    file = tmp_path / "numbers"
    for text in ("{", "[1]", '{"a": "x", "b": 77}', ""):
        file.write_text(text)
        assert Numbers(file, range(1, 10)).of(["a"]) == {"a": 1}


def test_a_look_writes_nothing(tmp_path: Path) -> None:
    assert Numbers(tmp_path / "numbers", range(1, 10), write=False).of(["a"]) == {"a": 1}
    assert not list(tmp_path.iterdir())
