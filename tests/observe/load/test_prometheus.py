"""Prometheus: what its labels stand for, and that no answer of it, however wrong, is more than a problem in words."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm.model.errors import PeerError
from gtm.model.load import LoadMetric, LoadQuery, PrometheusSource
from gtm.observe.load import prometheus as prometheus_module
from gtm.observe.load.prometheus import Prometheus, _Odd, _series
from gtm.observe.load.reading import Reading
from gtm.observe.load.subjects import Subjects
from tests.observe.load.web import NEVER, reply, vector, web
from tests.observe.load.world import EAST_1, EAST_2, deployment

SUBJECTS = Subjects.of(deployment())
RATE = LoadQuery(metric=LoadMetric.REQUESTS, query="sum by (instance)(rate(x[1m]))", label="instance")
BUSY = LoadQuery(metric=LoadMetric.UTILISATION, query="busy", label="region")


def read(answer: Callable[[str], bytes], *queries: LoadQuery, timeout_s: float = 30.0) -> Reading:
    async def one() -> Reading:
        async with web(answer) as server:
            source = PrometheusSource(url=server.url, queries=queries or (RATE,))
            client = Prometheus(source, SUBJECTS, timeout_s=timeout_s)
            try:
                return await client.read()
            finally:
                await client.close()

    return asyncio.run(one())


def values(reading: Reading) -> dict[str, float]:
    return {f"{one.subject} {one.metric}": one.value for one in reading.samples}


@pytest.mark.parametrize(
    ("label", "subject"),
    [
        ("us-east", "region/us-east"),
        ("192.0.2.11", EAST_1),
        ("192.0.2.11:9100", EAST_1),
        ("2001:db8::11", EAST_1),
        ("2001:DB8:0::11", EAST_1),
        ("[2001:db8::11]", EAST_1),
        ("[2001:db8::11]:9100", EAST_1),
        ("10.0.1.12:80", EAST_2),
        ("lb.us-west.example.net", "instance/us-west/LB.us-west.example.net."),
        ("LB.us-west.example.net.:443", "instance/us-west/LB.us-west.example.net."),
        ("10.0.2.1", None),  # two instances are probed there
        ("192.0.2.99", None),
        ("us-esat", None),
        ("", None),
        (":", None),
        ("[::1", None),
    ],
)
def test_a_label_stands_for_a_region_or_an_instance(label: str, subject: str | None) -> None:
    assert SUBJECTS.find(label) == subject


@given(st.text(max_size=60))
def test_any_label_is_looked_up(label: str) -> None:
    found = SUBJECTS.find(label)
    assert found is None or found in SUBJECTS.known


def test_series_become_samples_and_what_is_of_nobody_is_counted() -> None:
    answer = vector(
        ({"instance": "192.0.2.11:9100"}, "12.5"),
        ({"instance": "192.0.2.11:9101"}, "0.5"),
        ({"instance": "198.51.100.1:80"}, "7"),
        ({"instance": "192.0.2.12"}, "NaN"),
        ({"instance": "192.0.2.12"}, "+Inf"),
        ({"instance": "192.0.2.12"}, "-1"),
        ({"job": "lb"}, "3"),
    )
    found = read(lambda _: answer)
    assert values(found) == {f"{EAST_1} requests": 13.0}
    assert (found.ignored, found.problem) == (5, None)


def test_utilisation_of_several_series_is_the_highest() -> None:
    answer = vector(({"region": "us-east"}, "0.2"), ({"region": "us-east", "zone": "b"}, "0.9"))
    assert values(read(lambda _: answer, BUSY)) == {"region/us-east utilisation": 0.9}


def test_a_scalar_or_a_sum_is_of_what_the_label_names() -> None:
    scalar = reply(b'{"status":"success","data":{"resultType":"scalar","result":[1435781451.781,"42"]}}')
    query = LoadQuery(metric=LoadMetric.CONNECTIONS, query="scalar(x)", label="eu-west")
    assert values(read(lambda _: scalar, query)) == {"region/eu-west connections": 42.0}
    assert values(read(lambda _: vector(({}, "41")), query)) == {"region/eu-west connections": 41.0}
    assert read(lambda _: scalar, RATE).ignored == 1


def test_one_bad_query_of_two_is_a_problem_beside_the_other() -> None:
    error = reply(b'{"status":"error","errorType":"bad_data","error":"parse error:\\n unexpected"}', 400)
    found = read(lambda query: error if query == "busy" else vector(({"instance": "192.0.2.12:1"}, "1")), RATE, BUSY)
    assert values(found) == {f"{EAST_2} requests": 1.0}
    assert found.problem is not None
    assert "busy: HTTP status 400: parse error: unexpected" in found.problem


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (reply(b"not json"), "HTTP status 200) is not JSON"),
        (reply(b"[" * 100_000), "is not JSON"),
        (reply(b"\xff\xfe"), "is not JSON"),
        (reply(b"busy", 503), "HTTP status 503) is not JSON"),
        (reply(b"null"), "HTTP status 200"),
        (reply(b'{"status":"error","error":"query timed out"}', 503), "HTTP status 503: query timed out"),
        (reply(b'{"status":"success"}'), "no result"),
        (reply(b'{"status":"success","data":[]}'), "no result"),
        (reply(b'{"status":"success","data":{"resultType":"matrix","result":[]}}'), "is a matrix (allowed: an instant"),
        (reply(b'{"status":"success","data":{"resultType":"string","result":[1,"x"]}}'), "is a string"),
        (reply(b'{"status":"success","data":{"resultType":"vector","result":[1]}}'), "no labels or no value"),
        (reply(b'{"status":"success","data":{"resultType":"scalar","result":[1,2]}}'), "not [time, number]"),
        (reply(b'{"status":"success","data":{"resultType":"scalar","result":[1,"x"]}}'), "not [time, number]"),
        (b"HTTP/1.1 302 x\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", "HTTP status 302"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "http://127.0.0.1:"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ntoo short", "http://127.0.0.1:"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd", "http://127.0.0.1:"),
        (b"\r\n", "http://127.0.0.1:"),
    ],
)
def test_a_wrong_answer_is_said_in_words(answer: bytes, said: str) -> None:
    with pytest.raises(PeerError) as caught:
        read(lambda _: answer)
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_no_answer_is_waited_for_no_longer_than_allowed() -> None:
    with pytest.raises(PeerError, match="no answer within 0.05 s"):
        read(lambda _: NEVER, timeout_s=0.05)


def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus_module, "BODY_MAX_BYTES", 1000)
    with pytest.raises(PeerError, match="more than 1000 bytes"):
        read(lambda _: reply(b" " * 100_000))


def test_nobody_there_is_a_problem() -> None:
    async def one() -> Reading:
        async with web(lambda _: NEVER) as server:
            url = server.url
        client = Prometheus(PrometheusSource(url=url, queries=(RATE,)), SUBJECTS, timeout_s=30.0)
        try:
            return await client.read()
        finally:
            await client.close()

    with pytest.raises(PeerError):
        asyncio.run(one())


@given(st.binary(max_size=200))
def test_any_octets_are_series_or_a_problem(body: bytes) -> None:
    try:
        list(_series(200, body))
    except _Odd as odd:
        assert str(odd)


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(("vector", "scalar", "1", "x"))
trees = st.recursive(
    leaves,
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(st.sampled_from(("resultType", "result", "metric", "value", "data")), below, max_size=4)
    ),
    max_leaves=12,
)


@given(trees)
def test_any_json_is_series_or_a_problem(data: object) -> None:
    try:
        for labels, value in _series(200, json.dumps({"status": "success", "data": data}).encode()):
            assert isinstance(labels, dict)
            assert isinstance(value, float)
    except _Odd as odd:
        assert str(odd)
