"""Maglev tables, the plain form: the paper's example, shares, secrecy, stability."""

from __future__ import annotations

from collections import Counter

import pytest

from gtm.decide import maglev
from gtm.decide.maglev import Member

SECRET = b"of the point of presence"
SIZE = 65537


def members(count: int, *, weight: int = 1) -> list[Member]:
    return [Member(name=f"web/{number}", number=number, weight=weight) for number in range(1, count + 1)]


def test_the_papers_example(monkeypatch: pytest.MonkeyPatch) -> None:
    """Section 3.4, table 1: three backends, M = 7; then without B1."""
    steps = {"B0": (3, 4), "B1": (0, 2), "B2": (3, 1)}
    monkeypatch.setattr(maglev, "permutation", lambda name, **_: steps[name])
    all_three = [Member(name=f"B{number}", number=number) for number in range(3)]
    assert maglev.table(all_three, secret=b"", size=7) == [1, 0, 1, 0, 2, 2, 0]
    assert maglev.table([all_three[0], all_three[2]], secret=b"", size=7) == [0, 0, 0, 0, 2, 2, 2]


@pytest.mark.parametrize("count", [1, 2, 7, 100, 500])
def test_equal_weights_have_equal_shares(count: int) -> None:
    shares = Counter(maglev.table(members(count), secret=SECRET, size=SIZE))
    assert set(shares) == set(range(1, count + 1))
    assert max(shares.values()) - min(shares.values()) <= 1
    assert max(shares.values()) / min(shares.values()) < 1.02


def test_shares_follow_weights() -> None:
    """Each has its share rounded up, for which all pay in proportion: less than a slot per member of the table."""
    weights = [1, 2, 3, 50, 100, 7]
    taking = [Member(name=f"web/{at}", number=at + 1, weight=weight) for at, weight in enumerate(weights)]
    shares = Counter(maglev.table(taking, secret=SECRET, size=SIZE))
    for at, weight in enumerate(weights):
        share = SIZE * weight / sum(weights)
        assert share * (1 - len(weights) / SIZE) <= shares[at + 1] < share + 1


def test_the_lightest_has_a_slot_and_weight_nothing_has_none() -> None:
    taking = [
        Member(name="a", number=1, weight=65535),
        Member(name="b", number=2),
        Member(name="c", number=3, weight=0),
    ]
    shares = Counter(maglev.table(taking, secret=SECRET, size=251))
    assert shares == {1: 250, 2: 1}


def test_common_factors_of_weights_change_nothing() -> None:
    assert maglev.table(members(20, weight=3), secret=SECRET, size=SIZE) == maglev.table(
        members(20), secret=SECRET, size=SIZE
    )


def test_the_order_of_members_does_not_matter_and_the_secret_does() -> None:
    table = maglev.table(members(20), secret=SECRET, size=4099)
    assert maglev.table(members(20)[::-1], secret=SECRET, size=4099) == table
    other = maglev.table(members(20), secret=b"of another", size=4099)
    assert sum(a == b for a, b in zip(table, other, strict=True)) / 4099 == pytest.approx(1 / 20, abs=0.03)


def test_numbers_are_only_written_down() -> None:
    """A backend's slots come from its name: one that is numbered anew keeps them."""
    table = maglev.table(members(20), secret=SECRET, size=4099)
    renumbered = [Member(name=member.name, number=4000 - member.number) for member in members(20)]
    assert maglev.table(renumbered, secret=SECRET, size=4099) == [4000 - number for number in table]


def test_nobody_is_a_table_of_nobody() -> None:
    assert maglev.table([], secret=SECRET, size=251) == [0] * 251
    assert maglev.table(members(3, weight=0), secret=SECRET, size=251) == [0] * 251


@pytest.mark.parametrize(
    ("taking", "size", "word"),
    [
        (members(1), 65536, "prime"),
        (members(1), 65539, "prime"),
        (members(1), 2, "prime"),
        (members(8), 7, "slot for each"),
        (members(1, weight=65536), 251, "weight"),
        (members(1, weight=-1), 251, "weight"),
        (members(1) * 2, 251, "one name"),
    ],
)
def test_what_no_table_can_be_made_of(taking: list[Member], size: int, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        maglev.table(taking, secret=SECRET, size=size)
