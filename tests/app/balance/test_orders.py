"""The orders that a manager reads of the node's store, while others write there."""

from __future__ import annotations

import threading
from pathlib import Path

from gtm.app.balance.drain import Orders
from gtm.app.folders import store_file
from gtm.model.override import Action, Override, Subject
from gtm.store.store import Store

SUBJECT = Subject(kind="backend", name="web/a1")
ORDER = Override(subject=SUBJECT, action=Action.DRAIN, owner="alice", reason="disk", since_s=10.0)


def names(orders: Orders) -> set[str]:
    return {one.owner for one in orders.standing}


def test_what_others_write_is_seen_even_in_a_store_that_was_replaced(tmp_path: Path) -> None:
    orders = Orders(tmp_path, None, clock=lambda: 20.0)
    assert not orders.look()
    assert not store_file(tmp_path).exists()  # who only reads makes none
    with Store(store_file(tmp_path)) as store:
        store.put(ORDER)
    assert orders.look()
    assert names(orders) == {"alice"}
    assert not orders.look()
    for path in tmp_path.iterdir():
        path.unlink()
    assert orders.look()
    assert names(orders) == set()
    with Store(store_file(tmp_path)) as store:
        store.put(ORDER)
    assert orders.look()
    assert names(orders) == {"alice"}
    orders.close()
    assert orders.problem is None


def test_a_store_that_cannot_be_read_leaves_the_orders_until_they_expire(tmp_path: Path) -> None:
    now_s = 20.0
    store_file(tmp_path).write_bytes(b"not a database" * 100)
    orders = Orders(tmp_path, None, clock=lambda: now_s)
    orders.standing = (Override(subject=SUBJECT, action=Action.DRAIN, owner="a", reason="", since_s=1.0, until_s=30.0),)
    assert not orders.look()
    assert orders.problem is not None
    assert "store.db" in orders.problem
    now_s = 31.0
    assert orders.look()
    assert names(orders) == set()


def test_threads_that_look_at_once_open_one_store(tmp_path: Path) -> None:
    with Store(store_file(tmp_path)) as store:
        store.put(ORDER)
        orders = Orders(tmp_path, None, clock=lambda: 20.0)
        changed: list[bool] = []
        together = threading.Barrier(8)

        def look() -> None:
            together.wait()
            changed.append(orders.look())

        threads = [threading.Thread(target=look) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(changed) == [False] * 7 + [True]
        orders.close()
