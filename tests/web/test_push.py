"""The way in for results from outside: who may, how much, and what each refusal says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm.model.errors import AskedError, GtmError, Refused, StoreError
from gtm.web.application import build
from gtm.web.push import BODY_MAX_BYTES, KINDS, authorized
from tests.web.asgi import Client, Reply
from tests.web.sample import Source

TOKEN = b"correct-horse-battery-staple"
RIGHT = {"Authorization": f"Bearer {TOKEN.decode()}"}


class Inlet:
    """An inlet that keeps what it is given; `fault` is raised instead."""

    def __init__(self, fault: Exception | None = None, *, token_fault: GtmError | None = None) -> None:
        self.fault, self.token_fault = fault, token_fault
        self.taken: list[tuple[str, bytes]] = []

    def token(self) -> bytes:
        if self.token_fault is not None:
            raise self.token_fault
        return TOKEN

    def take(self, kind: str, body: bytes) -> int:
        if self.fault is not None:
            raise self.fault
        self.taken.append((kind, body))
        return 3


def client(inlet: Inlet | None) -> Client:
    return Client(build(Source(), inlet))


def check_problem(reply: Reply, status: int, said: str) -> None:
    assert reply.status == status
    assert reply.headers["content-type"] == "application/problem+json"
    assert said in reply.json()["detail"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_body_with_the_right_token_is_taken(kind: str) -> None:
    inlet = Inlet()
    reply = client(inlet).post(f"/api/v1/push/{kind}", [b'{"a', b'": 1}'], RIGHT)
    assert (reply.status, reply.json()) == (202, {"accepted": 3})
    assert reply.headers["cache-control"] == "no-store"
    assert inlet.taken == [(kind, b'{"a": 1}')]


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_token_file_there_is_no_such_thing(kind: str) -> None:
    check_problem(client(None).post(f"/api/v1/push/{kind}", b"{}", RIGHT), 404, "push: {token_file: PATH}")


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Basic {TOKEN.decode()}",
        f"Bearer {TOKEN.decode()}x",
        f"Bearer {TOKEN.decode()[:-1]}",
        f"Bearer {TOKEN.decode().upper()}",
        TOKEN.decode(),
        "Bearer \xe4\xff",
    ],
)
def test_the_wrong_token_takes_nothing_and_reads_no_body(header: str | None) -> None:
    inlet = Inlet(AskedError("must not be asked", argument="body"))
    reply = client(inlet).post("/api/v1/push/load", b"x" * 10, {} if header is None else {"Authorization": header})
    check_problem(reply, 401, "Authorization: Bearer TOKEN")
    assert reply.headers["www-authenticate"].startswith("Bearer")
    assert TOKEN.decode() not in reply.text


def test_the_scheme_may_be_written_in_any_case() -> None:
    assert authorized(f"bearer {TOKEN.decode()}", TOKEN)
    assert authorized(f"BEARER  {TOKEN.decode()} ", TOKEN)


@given(header=st.text(max_size=60))
def test_no_other_header_is_right(header: str) -> None:
    assert not authorized(header, TOKEN)


@pytest.mark.parametrize("stated", [{}, {"Content-Length": str(BODY_MAX_BYTES + 1)}, {"Content-Length": "9" * 500}])
def test_a_body_that_is_too_large_is_refused_whether_or_not_it_says_so(stated: dict[str, str]) -> None:
    inlet = Inlet()
    parts = [b" " * 65536 for _ in range(BODY_MAX_BYTES // 65536 + 1)]
    check_problem(client(inlet).post("/api/v1/push/load", parts, {**RIGHT, **stated}), 413, f"up to {BODY_MAX_BYTES}")
    assert inlet.taken == []


def test_a_body_of_just_the_limit_is_taken() -> None:
    inlet = Inlet()
    assert client(inlet).post("/api/v1/push/load", b" " * BODY_MAX_BYTES, RIGHT).status == 202
    assert len(inlet.taken[0][1]) == BODY_MAX_BYTES


def test_a_body_that_breaks_off_takes_nothing() -> None:
    inlet = Inlet()
    reply = client(inlet).post("/api/v1/push/load", (), RIGHT)
    check_problem(reply, 400, "broke off")
    assert inlet.taken == []


@pytest.mark.parametrize(
    ("fault", "status", "said"),
    [
        (AskedError("is not text", argument="results[3].detail"), 400, "is not text"),
        (Refused("not wanted", guard="reports"), 403, "not wanted"),
        (StoreError("the disk is full"), 503, "the disk is full"),
    ],
)
def test_a_refusal_says_why(fault: Exception, status: int, said: str) -> None:
    check_problem(client(Inlet(fault)).post("/api/v1/push/health", b"{}", RIGHT), status, said)


def test_what_is_at_fault_is_named() -> None:
    inlet = Inlet(AskedError("is not text", argument="results[3].detail"))
    assert client(inlet).post("/api/v1/push/health", b"{}", RIGHT).json()["argument"] == "results[3].detail"


def test_a_token_that_cannot_be_read_lets_nobody_in() -> None:
    reply = client(Inlet(token_fault=GtmError("push.token: no such file"))).post("/api/v1/push/load", b"{}", RIGHT)
    check_problem(reply, 503, "no such file")


def test_a_bug_shows_nothing() -> None:
    reply = client(Inlet(KeyError("secret"))).post("/api/v1/push/load", b"{}", RIGHT)
    check_problem(reply, 500, "internal error")
    assert "secret" not in reply.text


def test_parameters_are_refused() -> None:
    check_problem(client(Inlet()).post("/api/v1/push/load?token=x", b"{}", RIGHT), 400, "none is allowed here")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_it_is_for_post_alone(method: str) -> None:
    assert client(Inlet()).request(method, "/api/v1/push/load").status == 405
