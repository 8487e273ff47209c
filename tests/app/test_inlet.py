"""The API's inlet over a real state folder, and the API process with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import httpx
import pytest

from gtm.app.folders import store_file
from gtm.app.inlet import StateInlet, TokenFile
from gtm.model.check import PushProbe, Target
from gtm.model.errors import AskedError, GtmError, Refused, StoreError
from gtm.model.health import Health
from gtm.model.load import LoadMetric
from gtm.model.push import Inbox
from gtm.model.rtt import RttSample
from gtm.store.store import Store
from tests.app.pushing import OUTSIDE, TOKEN, Served, wanted
from tests.app.worker import free_port

DEADLINE_S = 60.0
LB, NET = "instance/us-east/192.0.2.99", "192.0.2.0/24"
ONE = {"check": "outside", "address": "192.0.2.11", "health": "up"}


@pytest.fixture
def served(tmp_path: Path) -> Served:
    made = Served(tmp_path)
    made.publish(wanted())
    return made


@pytest.fixture
def inlet(served: Served, tmp_path: Path) -> StateInlet:
    (tmp_path / "token").write_text(TOKEN)
    return StateInlet(served.state, tmp_path / "token")


def body(document: object) -> bytes:
    return json.dumps(document).encode()


def collected(state: Path) -> Inbox:
    with Store(store_file(state)) as store:
        return store.collect(now_s=time.time())


def test_results_of_checks_are_left_for_the_controller(inlet: StateInlet, served: Served) -> None:
    before_s = time.time()
    results = [ONE, {**ONE, "address": "192.0.2.21", "health": "down", "detail": " no\n orders ", "ttl": 5}]
    assert inlet.take("health", body(ONE)) == 1
    assert inlet.take("health", body({"results": results})) == 2
    found = collected(served.state).healths
    assert [(one.target.address, one.health, one.detail, one.ttl_s) for one in found] == [
        (ip_address("192.0.2.11"), Health.UP, "", 60.0),
        (ip_address("192.0.2.11"), Health.UP, "", 60.0),
        (ip_address("192.0.2.21"), Health.DOWN, "no orders", 5.0),
    ]
    assert all(before_s <= one.at_s <= time.time() for one in found)
    assert all(one.target.check == "outside" for one in found)


def test_load_and_round_trip_times_too(inlet: StateInlet, served: Served) -> None:
    loads = [{"subject": "region/us-east", "requests": 1200, "utilisation": 0.4}]
    assert inlet.take("load", body({"loads": loads})) == 2
    samples = [{"prefix": "192.0.2.0/24", "rtt_ms": 12.5, "count": 4}, {"prefix": "2001:db8::/48", "rtt_ms": 80}]
    assert inlet.take("rtt", body({"region": "us-east", "samples": samples})) == 2
    found = collected(served.state)
    assert [(one.subject, one.metric, one.value) for one in found.loads] == [
        ("region/us-east", LoadMetric.REQUESTS, 1200.0),
        ("region/us-east", LoadMetric.UTILISATION, 0.4),
    ]
    at_s = found.rtts[0].at_s
    assert found.rtts == (
        RttSample(network=ip_network("192.0.2.0/24"), region="us-east", rtt_s=0.0125, at_s=at_s, count=4),
        RttSample(network=ip_network("2001:db8::/48"), region="us-east", rtt_s=0.08, at_s=at_s),
    )


@pytest.mark.parametrize(
    ("kind", "document", "argument", "said"),
    [
        ("health", [], "body", "is not an object"),
        ("health", {}, "check", "is missing") ,
        ("health", {**ONE, "check": "outsied"}, "check", "no pool has a check 'outsied' (allowed: outside)"),
        ("health", {**ONE, "check": "web"}, "check", "the check web probes by itself"),
        ("health", {**ONE, "address": "192.0.2.99"}, "address", "of the check outside (allowed: 192.0.2.11"),
        ("health", {**ONE, "address": "x"}, "address", "'x' is not an IP address"),
        ("health", {**ONE, "health": "UP"}, "health", "(allowed: up, degraded, down)"),
        ("health", {**ONE, "ttl": 61}, "ttl", "(allowed: 1 s to the check's own 60 s)"),
        ("health", {**ONE, "ttl": 0}, "ttl", "out of range"),
        ("health", {**ONE, "ttl": "60s"}, "ttl", "is not seconds"),
        ("health", {**ONE, "detail": "x" * 501}, "detail", "has 501 characters (allowed: up to 500)"),
        ("health", {**ONE, "detail": "\x1b[31m"}, "detail", "cannot be printed"),
        ("health", {**ONE, "why": ""}, "why", "no such key (allowed: check, address, health, detail, ttl)"),
        ("health", {"results": [ONE, {**ONE, "health": 5}]}, "results[1].health", "is not text"),
        ("health", {"results": [ONE] * 10_001}, "results", "has 10001 entries (allowed: 1 to 10000)"),
        ("health", {"results": [ONE], "ttl": 1}, "ttl", "no such key (allowed: results)"),
        ("load", {"loads": [{"subject": "region/us-esat", "requests": 1}]}, "loads[0].subject", "there is no region"),
        ("load", {"loads": [{"subject": LB, "requests": 1}]}, "loads[0].subject", "no instance"),
        ("rtt", {"region": "mars", "samples": []}, "region", "there is no region 'mars'"),
        ("rtt", {"region": "us-east", "samples": [{"rtt_ms": 1}]}, "samples[0].prefix", "is missing"),
        ("rtt", {"region": "us-east", "samples": [{"prefix": "10.1.0.0/8", "rtt_ms": 1}]}, "samples[0].prefix", "bits"),
        ("rtt", {"region": "us-east", "samples": [{"prefix": "::/0", "rtt_ms": 1}]}, "samples[0].prefix", "too large"),
        ("rtt", {"region": "us-east", "samples": [{"prefix": NET}]}, "samples[0].rtt_ms", "is missing"),
        ("rtt", {"region": "us-east", "samples": [{"prefix": NET, "rtt_ms": 0}]}, "samples[0].rtt_ms", "out of"),
        (
            "rtt",
            {"region": "us-east", "samples": [{"prefix": NET, "rtt_ms": 1, "count": 0}]},
            "samples[0].count",
            "allowed: 1 to 1000000",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_and_nothing_of_it_is_kept(
    kind: str, document: object, argument: str, said: str, inlet: StateInlet, served: Served
) -> None:
    with pytest.raises(AskedError) as caught:
        inlet.take(kind, body(document))
    assert caught.value.argument == argument
    assert said in str(caught.value)
    assert collected(served.state) == Inbox()


def test_what_the_deployment_does_not_want_is_refused(inlet: StateInlet, served: Served) -> None:
    served.publish(wanted(reports=False))
    for kind in ("load", "rtt"):
        with pytest.raises(Refused, match=f"probes/{kind}.yaml of the deployment does not say `reports: true`"):
            inlet.take(kind, b"{}")
    assert inlet.take("health", body(ONE)) == 1


def test_a_reload_is_noticed(inlet: StateInlet, served: Served) -> None:
    with pytest.raises(AskedError):
        inlet.take("health", body({**ONE, "ttl": 600}))
    longer = replace(OUTSIDE, probe=PushProbe(ttl_s=600.0))
    served.publish(replace(wanted(), checks={**wanted().checks, "outside": longer}))
    assert inlet.take("health", body({**ONE, "ttl": 600})) == 1


def test_a_store_that_was_deleted_is_made_again(inlet: StateInlet, served: Served) -> None:
    inlet.take("health", body(ONE))
    for path in served.state.glob("store.db*"):
        path.unlink()
    inlet.take("health", body(ONE))
    assert len(collected(served.state)) == 1


def test_before_the_first_table_nothing_can_be_pushed(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nothing has been published here yet"):
        StateInlet(tmp_path, tmp_path / "token").take("health", body(ONE))


def test_the_token_is_read_again_when_its_file_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "token"
    token = TokenFile(path)
    with pytest.raises(GtmError, match="no such file"):
        token.token()
    path.write_text(f"  {TOKEN}\n")
    assert token.token() == TOKEN.encode()
    fresh = tmp_path / "fresh"
    fresh.write_text("another-word-that-is-long")
    fresh.replace(path)
    assert token.token() == b"another-word-that-is-long"
    path.unlink()
    with pytest.raises(GtmError, match="no such file"):
        token.token()


@pytest.mark.parametrize("word", ["", "\n", "short", "two words that are long", "x" * 1025, "\u00e4" * 16])
def test_what_is_no_token_lets_nobody_in(word: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(word)
    token = TokenFile(tmp_path / "token")
    for _ in range(2):
        with pytest.raises(GtmError, match="holds no token .allowed: one word of 16 to 1024"):
            token.token()


@contextmanager
def api(state: Path, *options: str) -> Iterator[str]:
    """The API as a process, and its URL."""
    port = free_port()
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "gtm.app.api", "--state", str(state), "--listen", f"127.0.0.1:{port}"]
    process = subprocess.Popen([*command, "--ready-fd", str(writing), *options], pass_fds=(writing,))
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as pipe:
            assert pipe.read(1) == b"1"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(DEADLINE_S)


def test_the_process_takes_what_is_pushed(served: Served, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    right = {"Authorization": f"Bearer {TOKEN}"}
    with api(served.state, "--push-token", str(tmp_path / "token")) as url, httpx.Client(trust_env=False) as client:
        where = f"{url}/api/v1/push/health"
        answer = client.post(
            where, json={**ONE, "health": "down", "detail": "no orders"}, headers=right, timeout=DEADLINE_S
        )
        assert (answer.status_code, answer.json()) == (202, {"accepted": 1})
        (found,) = collected(served.state).healths
        assert found.target == Target(check="outside", address=ip_address("192.0.2.11"))
        assert (found.health, found.detail) == (Health.DOWN, "no orders")
        wrong = client.post(where, json=ONE, headers={"Authorization": "Bearer wrong"}, timeout=DEADLINE_S)
        assert wrong.status_code == 401
        bad = client.post(where, json={**ONE, "health": "sideways"}, headers=right, timeout=DEADLINE_S)
        assert (bad.status_code, bad.json()["argument"]) == (400, "health")
        large = client.post(where, content=b" " * (2 << 20), headers=right, timeout=DEADLINE_S)
        assert large.status_code == 413
        (tmp_path / "fresh").write_text("another-word-that-is-long")
        (tmp_path / "fresh").replace(tmp_path / "token")
        assert client.post(where, json=ONE, headers=right, timeout=DEADLINE_S).status_code == 401
        anew = {"Authorization": "Bearer another-word-that-is-long"}
        assert client.post(where, json=ONE, headers=anew, timeout=DEADLINE_S).status_code == 202
        assert len(collected(served.state)) == 1


def test_without_a_token_file_the_process_takes_nothing(served: Served) -> None:
    with api(served.state) as url, httpx.Client(trust_env=False) as client:
        answer = client.post(f"{url}/api/v1/push/health", json=ONE, timeout=DEADLINE_S)
        assert answer.status_code == 404
        assert "token_file" in answer.json()["detail"]
        assert client.get(f"{url}/metrics", timeout=DEADLINE_S).status_code == 200
