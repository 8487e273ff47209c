"""A whole node whose health and load others push: answers follow at once, silence shows, a restart keeps it."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

from gtm.model.health import Health
from gtm.model.load import LoadSummary
from tests.app.node import DEADLINE_S, Node, node, until, write

CHECKS = "checks:\n  outside: {push: {ttl: 60s}}\n"
LOAD = "reports: true\n"
NONE = LoadSummary(sources=(), subjects=())
EAST = ("127.0.1.11", "127.0.1.12", "127.0.1.13")


def healths(made: Node) -> dict[str, Health]:
    """The check's own verdict on each address."""
    return {str(target.address): one.health for target, one in made.view().facts.judgements.items()}


def stale(made: Node) -> set[str]:
    return {str(target.address) for target, one in made.view().facts.judgements.items() if one.stale}


def push(made: Node, *words: str) -> None:
    done = made.gtm("push", *words, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["taken"] is True


def test_what_is_pushed_is_answered(tmp_path: Path) -> None:
    with node(tmp_path) as made:
        steering = (tmp_path / "zones/example.com.yaml").read_text().replace("check: web", "check: outside")
        write(tmp_path, {"probes/checks.yaml": CHECKS, "probes/load.yaml": LOAD, "zones/example.com.yaml": steering})
        made.serve()
        assert made.regions()["us-east"] == "us-east"
        for address in EAST:
            push(made, "health", f"outside@{address}", "down", "--detail", "no orders")
        until(lambda: made.regions()["us-east"] == "us-west")
        status = json.loads(made.gtm("status", "--json").stdout)
        seen = [one for pool in status["pools"] for part in pool["regions"] for one in part["instances"]]
        assert {one["last"]["detail"] for one in seen if one["label"] in EAST} == {"no orders"}
        push(made, "health", f"outside@{EAST[0]}", "up")
        push(made, "health", f"outside@{EAST[1]}", "up", "--ttl", "1s")
        until(lambda: made.regions()["us-east"] == "us-east")
        # Nothing more is heard of one: it is stale, with its last verdict, and answered as before.
        until(lambda: EAST[1] in stale(made))
        assert healths(made)[EAST[1]] is Health.UP
        assert EAST[0] not in stale(made)
        assert made.addresses() == set(EAST[:2])
        # What was pushed last outlives the controller.
        made.kill_controller()
        made.serve()
        assert healths(made)[EAST[0]] is Health.UP
        assert healths(made)[EAST[2]] is Health.DOWN
        assert made.addresses() == set(EAST[:2])


def test_who_knows_the_token_may_push_to_the_api(tmp_path: Path) -> None:
    with node(tmp_path, api=True) as made:
        steering = (tmp_path / "zones/example.com.yaml").read_text().replace("check: web", "check: outside")
        settings = (tmp_path / "gtm.yaml").read_text() + "push: {token_file: push.token}\n"
        write(tmp_path, {"probes/checks.yaml": CHECKS, "zones/example.com.yaml": steering, "gtm.yaml": settings})
        write(tmp_path, {"push.token": "correct-horse-battery-staple\n"})
        made.serve()
        results = [{"check": "outside", "address": address, "health": "down"} for address in EAST]
        with httpx.Client(trust_env=False, base_url=f"http://127.0.0.1:{made.api}", timeout=DEADLINE_S) as client:
            answer = client.post("/api/v1/push/health", json={"results": results})
            assert answer.status_code == 401
            right = {"Authorization": "Bearer correct-horse-battery-staple"}
            answer = client.post("/api/v1/push/health", json={"results": results}, headers=right)
            assert (answer.status_code, answer.json()) == (202, {"accepted": 3})
        until(lambda: made.regions()["us-east"] == "us-west")


def test_what_is_pushed_while_no_controller_runs_is_taken_by_the_next_and_load_is_shown(tmp_path: Path) -> None:
    with node(tmp_path) as made:
        steering = (tmp_path / "zones/example.com.yaml").read_text().replace("check: web", "check: outside")
        write(tmp_path, {"probes/checks.yaml": CHECKS, "probes/load.yaml": LOAD, "zones/example.com.yaml": steering})
        waiting = made.gtm("push", "health", f"outside@{EAST[0]}", "down")
        assert "no controller runs: one that starts in time takes it" in waiting.stdout
        made.serve()
        until(lambda: healths(made)[EAST[0]] is Health.DOWN)
        push(made, "load", f"instance/us-east/{EAST[0]}", "requests=1200", "utilisation=40%")
        until(lambda: len((made.view().facts.loads or NONE).subjects) == 4)
        load = json.loads(made.gtm("status", "--json").stdout)["load"]
        values = {(one["subject"], one["metric"]): one["load"] for one in load["subjects"]}
        assert values[f"instance/us-east/{EAST[0]}", "requests"]["value"] == 1200
        assert values["region/us-east", "utilisation"]["raw"] == 0.4
        assert values["region/us-east", "utilisation"]["parts"] == 1
