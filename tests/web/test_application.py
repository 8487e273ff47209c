from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm.model.errors import AskedError
from gtm.web.application import DOWN_MAX, PARAMETER_LENGTH_MAX, build
from gtm.web.page import CSP, HTML
from gtm.web.source import Question
from gtm.web.status import TableStatus
from tests.web.asgi import Client
from tests.web.sample import EXPLAINED, STATUS, Source, without_controller


def client(source: Source | None = None) -> Client:
    return Client(build(source or Source()))


def test_status_is_the_value_field_by_field() -> None:
    body = client().get("/api/v1/status").json()
    assert body["node"] == "ns1"
    assert body["overrides"][0]["subject"] == "region/us-west"
    assert body["overrides"][0]["action"] == "drain"
    first = body["pools"][0]["regions"][0]["instances"][0]
    assert first["target"] == "web@127.0.1.11"
    assert first["health"] == "UP"
    assert first["last"]["detail"] == "200 OK"


def test_explain_passes_the_question_on() -> None:
    source = Source()
    reply = client(source).get(
        "/api/v1/explain",
        [("name", "www.lb.example.com"), ("type", "aaaa"), ("from", "JP"), ("down", "a"), ("down", "b,c")],
    )
    assert reply.json() == EXPLAINED
    assert source.asked == [Question(name="www.lb.example.com", rtype="aaaa", client="JP", down=("a", "b", "c"))]


@pytest.mark.parametrize(
    ("query", "argument"),
    [
        ("", "name"),
        ("name=www.lb.example.com", "from"),
        ("name=www.lb.example.com&from=", "from"),
        ("name=a.example&name=b.example&from=JP", "name"),
        ("name=a.example&from=JP&extra=1", "extra"),
        ("name=nowhere&from=JP", "name"),
        ("name=a.example&from=" + "1" * (PARAMETER_LENGTH_MAX + 1), "from"),
        ("name=a.example&from=JP&down=" + ",".join("x" * (DOWN_MAX + 1)), "down"),
    ],
)
def test_a_bad_question_is_a_problem_that_names_the_argument(query: str, argument: str) -> None:
    reply = client().get("/api/v1/explain?" + query)
    assert reply.status == 400
    assert reply.headers["content-type"] == "application/problem+json"
    body = reply.json()
    assert body["argument"] == argument
    assert body["status"] == 400
    assert body["detail"]


@given(query=st.text(max_size=300), path=st.sampled_from(["/api/v1/explain", "/api/v1/status", "/healthz", "/metrics"]))
def test_no_query_string_makes_a_500(query: str, path: str) -> None:
    reply = client().get(path, [("name", query)])
    assert reply.status < 500


@given(raw=st.binary(max_size=120))
def test_no_raw_query_makes_a_500(raw: bytes) -> None:
    escaped = "".join(f"%{byte:02x}" if byte < 0x21 or byte > 0x7E or byte == 0x23 else chr(byte) for byte in raw)
    assert client().get("/api/v1/explain?" + escaped).status in {200, 400}


@pytest.mark.parametrize("path", ["/", "/api/v1/status", "/api/v1/explain", "/healthz", "/metrics"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_everything_is_read_only(path: str, method: str) -> None:
    reply = client().request(method, path)
    assert reply.status == 405
    assert reply.headers["content-type"] == "application/problem+json"
    assert "GET" in reply.headers["allow"]


def test_an_unknown_path_is_a_problem() -> None:
    reply = client().get("/api/v1/nothing")
    assert (reply.status, reply.json()["status"]) == (404, 404)


def test_a_bug_is_a_500_without_its_details() -> None:
    class Bug(Source):
        def explain(self, question: Question) -> dict[str, object]:
            raise KeyError("secret")

    reply = client(Bug()).get("/api/v1/explain?name=a.example&from=JP")
    assert reply.status == 500
    assert reply.headers["content-type"] == "application/problem+json"
    assert "secret" not in reply.text


def test_without_a_state_folder_it_says_so() -> None:
    api = client(Source(broken=True))
    assert api.get("/api/v1/status").status == 503
    assert api.get("/api/v1/explain?name=a.example&from=JP").status == 503
    health = api.get("/healthz")
    assert (health.status, health.json()["ok"]) == (503, False)
    assert "gtm_state_readable 0.0" in api.get("/metrics").text


def test_healthz_is_fine_while_workers_serve_and_the_table_is_young() -> None:
    reply = client().get("/healthz")
    assert reply.status == 200
    assert reply.json() == {
        "ok": True,
        "reasons": [],
        "table_revision": 42,
        "table_age_s": 0.4,
        "table_age_max_s": 300.0,
        "workers_alive": 1,
        "workers_total": 2,
        "controller_alive": True,
    }


def test_healthz_outlives_the_controller_for_a_while() -> None:
    reply = client(Source(without_controller())).get("/healthz")
    assert (reply.status, reply.json()["controller_alive"]) == (200, False)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (replace(STATUS, table=None), "no answers have been published"),
        (replace(STATUS, table=TableStatus(revision=42, age_s=301.0)), "301 s"),
        (replace(STATUS, workers=STATUS.workers[1:]), "no worker is alive"),
    ],
)
def test_healthz_says_what_is_wrong(status: object, reason: str) -> None:
    reply = client(Source(status)).get("/healthz")  # type: ignore[arg-type]
    assert reply.status == 503
    assert reason in reply.json()["reasons"][0]


def test_the_page_needs_nothing_from_elsewhere() -> None:
    reply = client().get("/")
    assert reply.status == 200
    assert reply.headers["content-security-policy"] == CSP
    assert "script-src 'sha256-" in CSP
    assert "style-src 'sha256-" in CSP
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", HTML)
    assert "innerHTML" not in HTML


def test_asked_error_names_what_may_have_been_meant() -> None:
    assert str(AskedError("no such region", argument="--down", known=("eu-west", "us-west"))) == (
        "--down: no such region; did you mean eu-west or us-west?"
    )
