"""The picture of the others: however it came about, it is what the store has."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm.model.override import Action, Override, Subject
from gtm.store.etcd.layout import Layout, decode_entry, decode_order, encode_entry, encode_order
from gtm.store.overrides import AuditEntry
from gtm.store.shared_view import GONE_MAX, GONE_S, Deployed, Picture, decode_deployed, encode_deployed
from gtm.wire import etcd_answer

LAYOUT = Layout(prefix="/gtm")
EAST = Subject(kind="region", name="us-east")
POOL = Subject(kind="pool", name="example.com/web")
LEASE_S = 5.0

times = st.floats(0, 4e9, allow_nan=False)
orders = st.builds(
    Override,
    subject=st.sampled_from([EAST, POOL, Subject(kind="instance", name="us-east/2001:db8::1")]),
    action=st.sampled_from(Action),
    owner=st.text(),
    reason=st.text(),
    since_s=times,
    until_s=st.none() | times,
)
keys = st.sampled_from(
    [
        *(LAYOUT.posting(node, kind) for node in "ab" for kind in ("alive", "opinions", "deployment")),
        LAYOUT.order(EAST),
        LAYOUT.order(POOL),
        b"/gtm/nodes/a",
        b"/gtm/nodes/a/NOT-A-KIND",
        b"/gtm/other",
        b"/gtm/overrides/no-subject",
    ]
)
values = st.sampled_from([b"", b"1", b"2", b"{}"]) | orders.map(encode_order)
steps = st.lists(st.tuples(st.sampled_from(["put", "put", "delete", "read", "wait"]), keys, values), max_size=40)


class Store:
    """What an etcd would have."""

    def __init__(self) -> None:
        self.revision = 1
        self.pairs: dict[bytes, etcd_answer.KeyValue] = {}

    def put(self, key: bytes, value: bytes) -> etcd_answer.Batch:
        self.revision += 1
        before = self.pairs.get(key)
        created = self.revision if before is None else before.create_revision
        self.pairs[key] = etcd_answer.KeyValue(
            key=key, value=value, create_revision=created, mod_revision=self.revision, version=1
        )
        return etcd_answer.Batch(revision=self.revision, events=(etcd_answer.Event(pair=self.pairs[key]),))

    def delete(self, key: bytes) -> etcd_answer.Batch:
        if self.pairs.pop(key, None) is None:
            return etcd_answer.Batch(revision=self.revision)
        self.revision += 1
        gone = etcd_answer.KeyValue(key=key, mod_revision=self.revision)
        return etcd_answer.Batch(revision=self.revision, events=(etcd_answer.Event(pair=gone, deleted=True),))

    def found(self) -> etcd_answer.Found:
        return etcd_answer.Found(revision=self.revision, pairs=tuple(self.pairs.values()))


@given(steps)
def test_following_changes_and_reading_anew_come_to_the_same(some: list[tuple[str, bytes, bytes]]) -> None:
    store, followed = Store(), Picture(LAYOUT, LEASE_S)
    now_s = 0.0
    for what, key, value in some:
        now_s += 0.5
        match what:
            case "put":
                followed.apply(store.put(key, value), now_s=now_s, wall_s=0)
            case "delete":
                followed.apply(store.delete(key), now_s=now_s, wall_s=0)
            case "read":
                followed.replace(store.found(), now_s=now_s, wall_s=0)
    read = Picture(LAYOUT, LEASE_S)
    read.replace(store.found(), now_s=now_s, wall_s=0)
    assert max(followed.revision, 1) == store.revision
    assert read.revision == store.revision
    assert {one.name: one.postings for one in followed.peers(now_s) if one.postings} == {
        one.name: one.postings for one in read.peers(now_s) if one.postings
    }
    assert followed.orders(-1e12) == read.orders(-1e12)
    assert followed.faults == read.faults


@given(orders)
def test_orders_are_read_as_they_were_written(order: Override) -> None:
    assert decode_order(order.subject, encode_order(order)) == order
    assert LAYOUT.read(LAYOUT.order(order.subject)) == order.subject


@given(st.builds(AuditEntry, at_s=times, who=st.text(), what=st.sampled_from([*Action, "remove", "expire"]),
                 subject=st.sampled_from([EAST, POOL]), why=st.text(), until_s=st.none() | times,
                 before=st.none() | st.sampled_from([str(one) for one in Action])))  # fmt: skip
def test_entries_of_the_audit_are_read_as_they_were_written(entry: AuditEntry) -> None:
    assert decode_entry(encode_entry(entry)) == entry


@given(st.builds(Deployed, digest=st.text(), revision=st.integers(0), region=st.none() | st.text()))
def test_deployments_are_read_as_they_were_written(deployed: Deployed) -> None:
    assert decode_deployed(encode_deployed(deployed)) == deployed


@given(st.binary(max_size=60) | st.recursive(st.none() | st.floats() | st.text(), lambda below: st.dictionaries(
    st.sampled_from("digest revision region action owner reason since_s until_s at_s subject".split()), below
)).map(lambda document: json.dumps(document).encode()))  # fmt: skip
def test_nonsense_of_others_is_harmless(value: bytes) -> None:
    store, picture = Store(), Picture(LAYOUT, LEASE_S)
    for key in (LAYOUT.posting("a", "deployment"), LAYOUT.order(EAST), LAYOUT.audit("x")):
        picture.apply(store.put(key, value), now_s=0, wall_s=0)
    (peer,) = picture.peers(0)
    assert peer.postings == {"deployment": value}
    assert len(picture.orders(0)) + len(picture.faults) <= 1
    decode_entry(value)


def test_a_node_is_fresh_for_a_lease_after_it_was_heard_of() -> None:
    store, picture = Store(), Picture(LAYOUT, LEASE_S)
    assert picture.apply(store.put(LAYOUT.posting("a", "alive"), b"1"), now_s=10, wall_s=0)
    assert picture.fresh(14.9) == {"a"}
    assert picture.fresh(15) == frozenset()
    assert not picture.apply(store.put(LAYOUT.posting("a", "alive"), b"2"), now_s=14, wall_s=0)
    assert picture.fresh(18.9) == {"a"}
    picture.replace(store.found(), now_s=18, wall_s=0)  # the same again is no sign of life
    assert picture.fresh(19) == frozenset()
    assert picture.apply(store.put(LAYOUT.posting("a", "alive"), b"3"), now_s=20, wall_s=0), "it is back"
    assert picture.apply(store.delete(LAYOUT.posting("a", "alive")), now_s=21, wall_s=0)
    assert picture.fresh(21) == frozenset()
    (peer,) = picture.peers(31)
    assert (peer.name, peer.heard_s_ago, peer.fresh) == ("a", 11, False)


def test_nodes_that_went_are_forgotten() -> None:
    store, picture = Store(), Picture(LAYOUT, LEASE_S)
    for number in range(GONE_MAX + 10):
        key = LAYOUT.posting(f"n{number:04}", "alive")
        picture.apply(store.put(key, b""), now_s=number, wall_s=0)
        picture.apply(store.delete(key), now_s=number, wall_s=0)
    picture.forget(GONE_MAX)
    assert [one.name for one in picture.peers(0)][:1] == ["n0010"]
    picture.forget(GONE_S + 20.5)
    assert [one.name for one in picture.peers(0)][:1] == ["n0021"]


@pytest.mark.parametrize("jump_s", [-3600, 3600])
def test_jumps_of_the_wall_clock_end_no_order(jump_s: float) -> None:
    store, picture = Store(), Picture(LAYOUT, LEASE_S)
    order = Override(subject=EAST, action=Action.DRAIN, owner="a", reason="b", since_s=1e9, until_s=1e9 + 600)
    picture.apply(store.put(LAYOUT.order(EAST), encode_order(order)), now_s=100, wall_s=1e9)
    picture.replace(store.found(), now_s=110, wall_s=1e9 + jump_s)
    assert picture.orders(699) == (order,)
    assert picture.over(699) == ()
    assert picture.orders(700) == ()
    assert [one.override for one in picture.over(700)] == [order]
