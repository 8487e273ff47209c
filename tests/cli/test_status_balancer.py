"""The balancer in `gtm status`, and what of it is a problem."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gtm.app.balance import standing
from gtm.app.balance.shown import balancer_of, balancer_problems, balancer_status
from gtm.app.report import problems_of, status_of_folder
from gtm.cli.main import main
from gtm.config.deployment import load
from gtm.model.balance import AttachMode
from gtm.model.balancing import BalancerReport
from gtm.web.status import BalancerStatus
from tests import balancing
from tests.cli.golden import same_as_golden
from tests.cli.test_status import shown
from tests.web import balanced as b
from tests.web.sample import well

REPORT = BalancerReport(
    node="small",
    region="us-east",
    interface="eth0",
    mode=AttachMode.GENERIC,
    at_s=1000.0,
    started_s=900.0,
    pid=77,
    pins="/sys/fs/bpf/gtm",
    layout="x",
    services=b.BALANCED.services,
    ready=True,
    counts=b.COUNTS,
)


def test_the_text() -> None:
    same_as_golden("status_balancer", shown(replace(well(), balancer=b.BALANCED)))


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (b.BALANCED, []),
        (b.SILENT, ["says nothing for 60 s"]),
        (b.ENDED, ["has ended"]),
        (b.UNREADY, ["not ready: sync: flows of lb2 are missing", "no MAC for 10.1.0.1"]),
        (b.NEVER, ["no gtm balance run has run here"]),
        (
            replace(
                b.BALANCED, services=(replace(b.BALANCED.services[0], backends=b.BALANCED.services[0].backends[1:]),)
            ),
            ["web has no backend that takes new flows"],
        ),
    ],
)
def test_problems(told: BalancerStatus, said: list[str]) -> None:
    found = list(balancer_problems(told))
    assert [word in line for word, line in zip(said, found, strict=True)] == [True] * len(said)
    assert problems_of(replace(well(), balancer=told)) == tuple(found)


@pytest.mark.parametrize(("now_s", "alive"), [(1000.5, True), (1004.9, True), (1005.1, False)])
def test_who_says_something_lately_lives(now_s: float, alive: bool) -> None:
    assert balancer_status(REPORT, now_s).alive is alive
    assert not balancer_status(replace(REPORT, pid=0), now_s).alive


def test_of_a_node_that_balances(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before its manager has run, and with nobody else's report beside the manager's."""
    folder = balancing.write(tmp_path / "node")
    state = folder / "state"
    state.mkdir(exist_ok=True)
    assert balancer_of(state, load(folder)) == b.NEVER.__class__(
        node="small", region="us-east", interface="eth0", mode="native"
    )
    assert balancer_of(state, None) is None
    standing.folder(state)
    standing.save(state, REPORT)
    status = status_of_folder(folder)
    assert status.node == "small"
    assert status.balancer is not None
    assert [each.name for each in status.balancer.services] == ["web"]
    assert main(["status", "--json", "-C", str(folder)]) == 1  # nobody has said anything since 1970
    document = json.loads(capsys.readouterr().out)
    assert document["balancer"]["counts"]["backends"]["1"]["packets"] == 12000
    assert document["balancer"]["services"][0]["backends"][1]["standing"] == "draining"
