"""Words of a peer in this instance's numbers."""

from __future__ import annotations

import numpy as np
import pytest

from gtm.publish.dataplane import numbering
from gtm.publish.dataplane.numbering import Numbering, Translation


def flow(key: int, number: int) -> int:
    return key << 16 | number


def words(*of: int) -> np.ndarray:
    return np.array(of, np.uint64)


def test_a_peers_numbers_are_named() -> None:
    theirs, own = Numbering({"web/a": 3, "web/b": 4095, "web/c": 9}), Numbering({"web/a": 4095, "web/b": 1})
    translation = Translation(own)
    told = words(flow(7, 3), flow(8, 4095), flow(9, 9), flow(7, 3 | 0x8000), flow(10, 77))
    assert len(translation(told)) == 0
    assert translation.unknown == 5
    translation.learn(theirs.words())
    assert translation(told).tolist() == [flow(7, 4095), flow(8, 1), flow(7, 4095 | 0x8000)]
    assert translation.unknown == 7


def test_a_number_that_changes_hands() -> None:
    translation = Translation(Numbering({"web/a": 1, "web/b": 2}))
    translation.learn(Numbering({"web/a": 5}).words())
    translation.learn(Numbering({"web/b": 5}).words())
    assert translation(words(flow(7, 5))).tolist() == [flow(7, 2)]


def test_own_numbers_that_change() -> None:
    translation = Translation(Numbering({"web/a": 1}))
    translation.learn(Numbering({"web/a": 5, "web/b": 6}).words())
    translation.renumber(Numbering({"web/a": 8, "web/b": 1}))
    assert translation(words(flow(7, 5), flow(7, 6))).tolist() == [flow(7, 8), flow(7, 1)]


def test_names_that_cannot_be_told_apart_are_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbering, "digest48", len)
    assert Numbering({"web/a": 1, "web/b": 2, "api/long": 3}).words().tolist() == [flow(8, 3)]
