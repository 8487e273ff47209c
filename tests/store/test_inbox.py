"""What is pushed waits in the store, in order and bounded, until the controller takes it; then it is gone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm.model.check import Target
from gtm.model.errors import StoreError
from gtm.model.health import Health
from gtm.model.load import LoadMetric, LoadSample
from gtm.model.push import Inbox, PushedHealth
from gtm.model.rtt import RttSample
from gtm.store import database as database_module
from gtm.store import inbox
from gtm.store.schema import MIGRATIONS
from gtm.store.store import Store

NOW_S = 1_800_000_000.0
DOWN = PushedHealth(
    target=Target(check="outside", address=ip_address("192.0.2.11")),
    health=Health.DOWN,
    detail="no answer from the till",
    ttl_s=60.0,
    at_s=NOW_S,
)
LOAD = LoadSample(subject="region/us-east", metric=LoadMetric.REQUESTS, value=1200.0, at_s=NOW_S)
RTT = RttSample(network=ip_network("2001:db8::/48"), region="us-east", rtt_s=0.0123, at_s=NOW_S, count=4)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "gtm.db") as opened:
        yield opened


def test_what_is_delivered_is_collected_once_and_in_order(store: Store) -> None:
    later = replace(DOWN, health=Health.UP)
    store.deliver([DOWN, LOAD, RTT, later])
    assert store.collect(now_s=NOW_S + 1) == Inbox(healths=(DOWN, later), loads=(LOAD,), rtts=(RTT,))
    assert len(store.collect(now_s=NOW_S + 1)) == 0


def test_another_process_notices_a_delivery_and_an_empty_look_writes_nothing(store: Store, tmp_path: Path) -> None:
    with Store(tmp_path / "gtm.db") as controller:
        before = controller.changes()
        store.deliver([LOAD])
        assert controller.changes() != before
        seen = store.changes()
        assert controller.collect(now_s=NOW_S).loads == (LOAD,)
        assert store.changes() != seen
        seen = store.changes()
        assert controller.collect(now_s=NOW_S) == Inbox()
        assert store.changes() == seen


def test_a_delivery_is_known_to_be_collected(store: Store) -> None:
    numbers = store.deliver([LOAD, RTT])
    assert not store.collected(numbers)
    store.collect(now_s=NOW_S, limit=1)
    assert not store.collected(numbers)
    store.collect(now_s=NOW_S)
    assert store.collected(numbers)
    assert store.collected(())


def test_much_is_taken_in_parts(store: Store) -> None:
    samples = [replace(LOAD, value=float(number)) for number in range(7)]
    store.deliver(samples)
    taken = [store.collect(now_s=NOW_S, limit=3) for _ in range(3)]
    assert [one.more for one in taken] == [True, True, False]
    assert [sample for one in taken for sample in one.loads] == samples


@pytest.mark.parametrize(("kind", "entry"), [("health", DOWN), ("load", LOAD), ("rtt", RTT)])
def test_the_oldest_of_a_kind_go_first_and_no_other_kind(
    kind: str, entry: inbox.Entry, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "WAITING_MAX", {**inbox.WAITING_MAX, kind: 5})
    others = [one for one in (DOWN, LOAD, RTT) if one is not entry]
    store.deliver(others)
    many = [replace(entry, at_s=NOW_S + number) for number in range(12)]
    store.deliver(many[:8])
    store.deliver(many[8:])
    found = store.collect(now_s=NOW_S + 20)
    assert [one for one in (*found.healths, *found.loads, *found.rtts) if one not in others] == many[-5:]
    assert len(found) == 7


def test_what_has_had_its_time_is_not_handed_out(store: Store) -> None:
    store.deliver([DOWN, replace(DOWN, ttl_s=61.0), LOAD, RTT])
    assert store.collect(now_s=NOW_S + 60.0) == Inbox(healths=(replace(DOWN, ttl_s=61.0),), loads=(LOAD,), rtts=(RTT,))
    store.deliver([LOAD, RTT])
    assert len(store.collect(now_s=NOW_S + inbox.LATE_MAX_S)) == 0


def test_a_clock_that_was_set_back_makes_nothing_last_longer(store: Store) -> None:
    store.deliver([DOWN])
    assert store.collect(now_s=NOW_S - 3600).healths == (replace(DOWN, at_s=NOW_S - 3600),)


def test_rows_of_another_version_are_dropped_and_hold_up_nothing(store: Store, tmp_path: Path) -> None:
    store.deliver([DOWN])
    connection = sqlite3.connect(tmp_path / "gtm.db")
    rows = [
        ("health", "[1]"),
        ("weather", "[]"),
        ("load", "{"),
        ("rtt", '["x", "y", 1.0, 1]'),
        ("load", '["s","m",1.0]'),
    ]
    connection.executemany("INSERT INTO inbox (kind, at_s, body) VALUES (?, 1e9, ?)", rows)
    connection.commit()
    connection.close()
    store.deliver([LOAD])
    assert store.collect(now_s=NOW_S) == Inbox(healths=(DOWN,), loads=(LOAD,))
    assert store.collect(now_s=NOW_S) == Inbox()


def test_a_delivery_is_whole_or_not_at_all(store: Store, tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "gtm.db")
    connection.execute(
        "CREATE TRIGGER fail BEFORE INSERT ON inbox WHEN NEW.kind = 'rtt' BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    connection.commit()
    connection.close()
    with pytest.raises(StoreError):
        store.deliver([DOWN, LOAD, RTT])
    assert store.collect(now_s=NOW_S) == Inbox()


def test_a_store_of_the_first_version_gets_an_inbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(database_module, "MIGRATIONS", MIGRATIONS[:1])
        earlier.setattr(database_module, "VERSION", 1)
        Store(tmp_path / "gtm.db").close()
    with Store(tmp_path / "gtm.db") as store:
        store.deliver([LOAD])
        assert store.collect(now_s=NOW_S).loads == (LOAD,)


addresses = st.ip_addresses()
entries = st.one_of(
    st.builds(
        PushedHealth,
        target=st.builds(Target, check=st.text(max_size=20), address=addresses),
        health=st.sampled_from((Health.UP, Health.DEGRADED, Health.DOWN)),
        detail=st.text(max_size=50),
        ttl_s=st.floats(1, 1e6),
        at_s=st.just(NOW_S),
    ),
    st.builds(
        LoadSample,
        subject=st.text(max_size=20),
        metric=st.sampled_from(LoadMetric),
        value=st.floats(0, 1e15),
        at_s=st.just(NOW_S),
    ),
    st.builds(
        RttSample,
        network=addresses.map(ip_network),
        region=st.text(max_size=20),
        rtt_s=st.floats(0, 60),
        at_s=st.just(NOW_S),
        count=st.integers(1, 10**6),
    ),
)


@given(entry=entries)
def test_an_entry_is_unpacked_as_it_was_packed(entry: inbox.Entry) -> None:
    kind, body = inbox._pack(entry)
    assert inbox._unpack(kind, entry.at_s, body) == entry
