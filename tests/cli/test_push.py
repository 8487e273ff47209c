"""`gtm push` on a deployment that has not run: what is told is in the store, what is wrong is said."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest

from gtm.app import push as push_module
from gtm.app.crew import hold
from gtm.app.folders import store_file
from gtm.cli.main import main
from gtm.model.check import Target
from gtm.model.health import Health
from gtm.model.load import LoadMetric
from gtm.model.push import Inbox
from gtm.store.store import Store
from tests.app.pushing import Served, wanted
from tests.config.folders import GOOD, write

Gtm = Callable[..., tuple[int, str, str]]


@pytest.fixture
def gtm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Gtm:
    """A gtm command on a deployment folder that serves what `wanted` gives: exit code, output, errors."""
    folder = write(tmp_path, GOOD)

    def run(*words: str) -> tuple[int, str, str]:
        code = main([*words, "-C", str(folder)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def served(tmp_path: Path) -> Served:
    (tmp_path / "state").mkdir()
    made = Served(tmp_path / "state")
    made.publish(wanted())
    return made


def told(tmp_path: Path) -> Inbox:
    with Store(store_file(tmp_path / "state")) as store:
        return store.collect(now_s=time.time())


def test_a_result_is_told(gtm: Gtm, served: Served, tmp_path: Path) -> None:
    code, out, _ = gtm(
        "push", "health", "outside@192.0.2.11", "down", "--detail", "no orders", "--ttl", "30s", "--json"
    )
    assert code == 0
    assert json.loads(out) == {
        "what": "health",
        "subject": "outside@192.0.2.11",
        "values": {"health": "DOWN", "detail": "no orders", "ttl_s": 30},
        "controller": False,
        "taken": False,
    }
    (found,) = told(tmp_path).healths
    assert found.target == Target(check="outside", address=ip_address("192.0.2.11"))
    assert (found.health, found.detail, found.ttl_s) == (Health.DOWN, "no orders", 30.0)


def test_load_is_told(gtm: Gtm, served: Served, tmp_path: Path) -> None:
    code, out, _ = gtm("push", "load", "instance/us-east/192.0.2.11", "requests=1200", "utilisation=40%")
    assert code == 0
    assert out == (
        "instance/us-east/192.0.2.11: requests 1200, utilisation 0.4\n"
        "no controller runs: one that starts in time takes it\n"
    )
    assert [(one.subject, one.metric, one.value) for one in told(tmp_path).loads] == [
        ("instance/us-east/192.0.2.11", LoadMetric.REQUESTS, 1200.0),
        ("instance/us-east/192.0.2.11", LoadMetric.UTILISATION, 0.4),
    ]


def test_where_no_node_has_run_the_files_say_what_there_is(gtm: Gtm, tmp_path: Path) -> None:
    code, out, _ = gtm("push", "load", "region/us-east", "connections=3")
    assert (code, out.splitlines()[0]) == (0, "region/us-east: connections 3")
    assert len(told(tmp_path)) == 1


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("health outside up", 2, "TARGET: 'outside' is not CHECK@ADDRESS"),
        ("health outsied@192.0.2.11 up", 2, "no pool has a check 'outsied' (allowed: outside); did you mean outside@"),
        ("health web@192.0.2.11 up", 2, "the check web probes by itself, nothing can be pushed for it"),
        ("health outside@192.0.2.99 up", 2, "192.0.2.99 is no target of the check outside (allowed: 192.0.2.11"),
        ("health outside@192.0.2.11 UP", 2, "invalid choice: 'UP'"),
        ("health outside@192.0.2.11 up --ttl 2h", 2, "--ttl: 7200 s is out of range (allowed: 1 s to the check's"),
        ("health outside@192.0.2.11 up --ttl soon", 2, "'soon' is not a duration"),
        ("load region/us-esat requests=1", 2, "there is no region 'us-esat'; did you mean region/us-"),
        ("load pool/example.com/web requests=1", 2, "is not a subject (allowed: region/REGION or instance/REG"),
        ("load region/us-east", 2, "METRIC=NUMBER"),
        ("load region/us-east rps=1", 2, "VALUE: 'rps=1' is not METRIC=NUMBER (allowed: requests=, connections=, util"),
        ("load region/us-east request=1", 2, "did you mean requests?"),
        ("load region/us-east requests=many", 2, "'many' is not a number of requests (allowed: 0 or more)"),
        ("load region/us-east requests=nan", 2, "'nan' is not a number of requests"),
        ("load region/us-east requests=40%", 2, "'40%' is not a number of requests"),
        ("load region/us-east utilisation=40", 2, "40 is not a share of capacity; did you mean 0.4?"),
        ("load region/us-east utilisation=140%", 2, "or a percentage up to 100%"),
        ("load region/us-east requests=1 requests=2", 2, "requests is given twice"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_and_nothing_is_told(
    words: str, code: int, said: str, gtm: Gtm, served: Served, tmp_path: Path
) -> None:
    found, _, errors = gtm("push", *words.split())
    assert (found, said in errors) == (code, True), errors
    assert len(told(tmp_path)) == 0


def test_load_that_the_deployment_does_not_want_is_refused(gtm: Gtm, served: Served) -> None:
    served.publish(wanted(reports=False))
    code, _, errors = gtm("push", "load", "region/us-east", "requests=1")
    assert code == 3
    assert "probes/load.yaml of the deployment does not say `reports: true`" in errors


def test_a_controller_that_takes_it_is_waited_for(gtm: Gtm, served: Served, tmp_path: Path) -> None:
    held = hold(served.state, "controller")
    taken: list[Inbox] = []

    def controller() -> None:
        with Store(store_file(served.state)) as store:
            listening.set()
            while not taken and not over.is_set():
                if (found := store.collect(now_s=time.time())).healths:
                    taken.append(found)

    listening, over = threading.Event(), threading.Event()
    thread = threading.Thread(target=controller)
    thread.start()
    listening.wait()
    code, out, _ = gtm("push", "health", "outside@192.0.2.11", "up")
    over.set()
    thread.join()
    assert (code, out) == (0, "outside@192.0.2.11: UP, for 60 s\nthe controller has taken it\n")
    assert taken[0].healths[0].health is Health.UP
    del held


def test_a_controller_that_does_not_take_it_is_not_waited_for_long(
    gtm: Gtm, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_module, "WAIT_S", 0.05)
    held = hold(served.state, "controller")
    code, out, _ = gtm("push", "health", "outside@192.0.2.11", "degraded", "--json")
    found = json.loads(out)
    assert (code, found["controller"], found["taken"]) == (0, True, False)
    del held
