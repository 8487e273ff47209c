from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm.wire import etcd, etcd_answer
from gtm.wire.error import WireError

octets = st.binary(max_size=40)
numbers = st.integers(0, 2**63 - 1)
leases = st.integers(-(2**63), 2**63 - 1)
operations = st.one_of(
    st.builds(etcd.Put, key=octets, value=octets, lease=leases),
    st.builds(
        etcd.Range, key=octets, range_end=octets, limit=numbers, keys_only=st.booleans(), newest_first=st.booleans()
    ),
    st.builds(etcd.Delete, key=octets, range_end=octets),
)
compares = st.builds(etcd.Compare, key=octets, target=st.sampled_from(etcd.Target), number=numbers)
several = st.lists(operations, max_size=4).map(tuple)
requests = st.one_of(
    operations,
    st.builds(etcd.Txn, compares=st.lists(compares, max_size=3).map(tuple), success=several, failure=several),
    st.builds(etcd.Grant, ttl_s=numbers),
    st.builds(etcd.KeepAlive, lease=leases),
    st.builds(etcd.Revoke, lease=leases),
    st.builds(etcd.Authenticate, name=st.text(), password=st.text()),
    st.builds(etcd.Watch, key=octets, range_end=octets, start_revision=numbers),
)
pairs = st.builds(
    etcd_answer.KeyValue,
    key=octets,
    value=octets,
    create_revision=numbers,
    mod_revision=numbers,
    version=numbers,
    lease=leases,
)
found = st.builds(
    etcd_answer.Found, revision=numbers, pairs=st.lists(pairs, max_size=4).map(tuple), count=numbers, more=st.booleans()
)
outcomes = st.one_of(
    found,
    st.builds(etcd_answer.Written, revision=numbers),
    st.builds(etcd_answer.Deleted, revision=numbers, count=numbers),
)
events = st.builds(etcd_answer.Event, pair=pairs, deleted=st.booleans())
batches = st.builds(
    etcd_answer.Batch,
    revision=numbers,
    events=st.lists(events, max_size=4).map(tuple),
    created=st.booleans(),
    canceled=st.booleans(),
    compact_revision=numbers,
    reason=st.text(),
)
decided = st.builds(
    etcd_answer.Decided, revision=numbers, succeeded=st.booleans(), outcomes=st.lists(outcomes, max_size=4).map(tuple)
)


@given(requests)
def test_requests_are_read_as_they_were_written(request: etcd.Request) -> None:
    assert etcd.decode(etcd.path(request), etcd.encode(request)) == request


@given(found)
def test_what_is_found_is_read_as_it_was_written(answer: etcd_answer.Found) -> None:
    assert etcd_answer.decode_found(etcd_answer.encode_answer(answer)) == answer


@given(decided)
def test_transactions_are_read_as_they_were_written(answer: etcd_answer.Decided) -> None:
    assert etcd_answer.decode_decided(etcd_answer.encode_answer(answer)) == answer


@given(batches)
def test_watches_are_read_as_they_were_written(answer: etcd_answer.Batch) -> None:
    assert etcd_answer.decode_batch(etcd_answer.encode_answer(answer)) == answer


@given(st.builds(etcd_answer.Leased, revision=numbers, lease=leases, ttl_s=numbers))
def test_leases_are_read_as_they_were_written(answer: etcd_answer.Leased) -> None:
    body = etcd_answer.encode_answer(answer)
    assert etcd_answer.decode_leased(body) == answer
    assert etcd_answer.decode_leased(b'{"result": %b}' % body) == answer


@given(st.builds(etcd_answer.Authenticated, revision=numbers, token=st.text()))
def test_tokens_are_read_as_they_were_written(answer: etcd_answer.Authenticated) -> None:
    assert etcd_answer.decode_authenticated(etcd_answer.encode_answer(answer)) == answer


def test_what_an_etcd_said() -> None:
    """Lines of etcd 3.4.23."""
    header = '"header":{"cluster_id":"15118495548433857066","member_id":"136","revision":"9","raft_term":"2"}'
    event = '{"kv":{"key":"L2d0bS9j","create_revision":"5","mod_revision":"8","version":"2","value":"eHh4"}}'
    gone = '{"type":"DELETE","kv":{"key":"L2d0bS9h","mod_revision":"9"}}'
    assert etcd_answer.decode_batch(f'{{"result":{{{header},"events":[{event},{gone}]}}}}') == etcd_answer.Batch(
        revision=9,
        events=(
            etcd_answer.Event(
                pair=etcd_answer.KeyValue(key=b"/gtm/c", value=b"xxx", create_revision=5, mod_revision=8, version=2)
            ),
            etcd_answer.Event(pair=etcd_answer.KeyValue(key=b"/gtm/a", mod_revision=9), deleted=True),
        ),
    )
    compacted = f'{{"result":{{{header},"canceled":true,"compact_revision":"8"}}}}'
    assert etcd_answer.decode_batch(compacted) == etcd_answer.Batch(revision=9, canceled=True, compact_revision=8)
    lost = (
        b'{"error":"etcdserver: requested lease not found","message":"etcdserver: requested lease not found","code":5}'
    )
    assert etcd_answer.decode_failure(lost) == etcd_answer.Failure(
        code=etcd_answer.NOT_FOUND, message="etcdserver: requested lease not found"
    )
    assert etcd_answer.decode_leased(f'{{"result":{{{header},"ID":"999"}}}}'.encode()).ttl_s == 0
    refused = '{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: no leader","http_status":"x"}}'
    assert etcd_answer.decode_batch(refused) == etcd_answer.Failure(code=14, message="etcdserver: no leader")


def test_what_an_etcd_is_asked() -> None:
    compare = etcd.Compare(key=b"/gtm/a", target=etcd.Target.MOD, number=7)
    txn = etcd.Txn(compares=(compare,), success=(etcd.Put(key=b"/gtm/a", value=b"1"),))
    assert json.loads(etcd.encode(txn)) == {
        "compare": [{"key": "L2d0bS9h", "target": "MOD", "result": "EQUAL", "mod_revision": "7"}],
        "success": [{"request_put": {"key": "L2d0bS9h", "value": "MQ=="}}],
    }


def test_the_end_of_a_prefix() -> None:
    assert etcd.prefix_end(b"/gtm/") == b"/gtm0"


@given(st.recursive(st.none() | st.booleans() | numbers | st.text(max_size=8), lambda below: st.one_of(
    st.lists(below, max_size=3),
    st.dictionaries(
        st.sampled_from(
            "header revision result events kv key value type kvs count more error code message succeeded responses "
            "response_range response_put response_delete_range deleted ID TTL token canceled created "
            "compact_revision compare success failure target request_put request_range create_request".split()
        ),
        below,
        max_size=5,
    ),
), max_leaves=20))  # fmt: skip
def test_nonsense_is_an_error_of_ours_or_has_a_meaning(document: object) -> None:
    body = json.dumps(document).encode()
    readers = (
        etcd_answer.decode_found, etcd_answer.decode_decided, etcd_answer.decode_leased, etcd_answer.decode_batch,
        etcd_answer.decode_authenticated, etcd_answer.decode_failure, etcd_answer.decode_revision,
        lambda b: etcd.decode("/v3/kv/txn", b), lambda b: etcd.decode("/v3/watch", b),
        lambda b: etcd.decode("/v3/kv/put", b),
    )  # fmt: skip
    for read in readers:
        try:
            read(body)
        except WireError:
            continue


@pytest.mark.parametrize("body", [b"", b"Not Found", b"[]", b"[" * 100_000, b'{"kvs": 3}', b'{"kvs": [{"key": "?"}]}'])
def test_what_is_not_an_answer(body: bytes) -> None:
    with pytest.raises(WireError):
        etcd_answer.decode_found(body)


def test_paths_that_are_not_used() -> None:
    with pytest.raises(WireError, match="no path"):
        etcd.decode("/v3/cluster/member/list", b"{}")
