"""Maglev tables with numpy: equal to the plain form, and as stable as the paper's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtm.decide import maglev as plain
from gtm.decide.maglev import Member
from gtm.publish.dataplane import maglev
from gtm.publish.dataplane.maglev import table, tables

SECRET = b"of the point of presence"
SIZE = 65537
PRIMES = (3, 7, 127, 131, 251, 4099, 8191, 65537)


def members(count: int, *, service: str = "web", weight: int = 1) -> list[Member]:
    return [Member(name=f"{service}/{number}", number=number, weight=weight) for number in range(1, count + 1)]


def services(draw: st.DrawFn, size: int) -> list[Member]:
    count = draw(st.integers(0, min(size, 40)))
    weights = draw(st.lists(st.sampled_from((0, 1, 1, 2, 3, 10, 65535)), min_size=count, max_size=count))
    service = draw(st.text(max_size=3))
    return [Member(name=f"{service}/{at}", number=at + 1, weight=weight) for at, weight in enumerate(weights)]


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_equal_to_the_plain_form_slot_for_slot(data: st.DataObject) -> None:
    """Few backends are made to take the quick way too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(maglev, "PLAIN_BACKENDS", 0)
        patch.setattr(maglev, "LANES", data.draw(st.sampled_from((1, 50, 12_000))))
        patch.setattr(maglev, "LAST", data.draw(st.sampled_from((1, 128))))
        size = data.draw(st.sampled_from(PRIMES[:-2]))
        wanted = [data.draw(st.composite(services)(size)) for _ in range(data.draw(st.integers(0, 4)))]
        found = tables(wanted, secret=SECRET, size=size)
    assert [each.tolist() for each in found] == [plain.table(each, secret=SECRET, size=size) for each in wanted]


@pytest.mark.parametrize("count", [149, 150, 500, 2000])
def test_equal_to_the_plain_form_at_full_size(count: int) -> None:
    mixed = [Member(name=f"mixed/{at}", number=at + 1, weight=1 + at % 9) for at in range(count)]
    found = tables([members(count), [], mixed], secret=SECRET, size=SIZE)
    assert found[0].tolist() == plain.table(members(count), secret=SECRET, size=SIZE)
    assert not found[1].any()
    assert found[2].tolist() == plain.table(mixed, secret=SECRET, size=SIZE)


@pytest.mark.parametrize("count", [10, 100, 500])
def test_shares_are_equal(count: int) -> None:
    shares = np.bincount(table(members(count), secret=SECRET, size=SIZE))[1:]
    assert shares.max() / shares.min() < 1.02


@pytest.mark.parametrize("count", [10, 100, 500])
def test_what_a_leaving_backend_moves_besides_its_own_slots(count: int) -> None:
    """At most 1.5 % of the table beyond the slots that must move; and the same in the other direction."""
    whole = members(count)
    before = table(whole, secret=SECRET, size=SIZE)
    for leaving in (1, count // 2, count):
        after = table([each for each in whole if each.number != leaving], secret=SECRET, size=SIZE)
        assert not (after == leaving).any()
        needless = int(((before != after) & (before != leaving)).sum())
        assert needless / SIZE < 0.015


def test_a_weight_that_changes_moves_little_more_than_it_must() -> None:
    whole = members(100, weight=10)
    before = table(whole, secret=SECRET, size=SIZE)
    after = table([Member(name="web/1", number=1, weight=5), *whole[1:]], secret=SECRET, size=SIZE)
    assert (after == 1).sum() == pytest.approx((before == 1).sum() / 2, rel=0.02)
    must = (before == 1).sum() - (after == 1).sum()
    assert ((before != after).sum() - must) / SIZE < 0.015


def test_what_no_table_can_be_made_of() -> None:
    with pytest.raises(ValueError, match="prime"):
        tables([members(3), members(3)], secret=SECRET, size=65536)
