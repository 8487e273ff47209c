"""What can be seen of a balancer at work: explain says where connections go, top and the report count them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.app.balance.test_run import PATIENCE_S, PORT, VIP, World, some, until
from tests.app.balance.test_run import found as found_there

found = found_there  # the fixture: a balancer, a client and two backends on one switch
CLIENT = "10.89.0.2"


def document(world: World, *words: str) -> dict[str, object]:
    shown = world.gtm("balance", *words, "--pins", str(world.pins), "--json")
    assert shown.returncode == 0, shown.stderr
    made: dict[str, object] = json.loads(shown.stdout)
    return made


@pytest.fixture
def running(found: World) -> Iterator[World]:
    process = found.start()
    yield found
    process.terminate()
    assert process.wait(PATIENCE_S) == 0


def test_what_is_seen(running: World) -> None:
    objects = ("--objects", str(running.built))
    with ExitStack() as stack:
        known = some(running, stack)
        for sock, who in known:  # of each connection it says who answers on it
            ends = (f"{CLIENT}:{sock.getsockname()[1]}", f"{VIP}:{PORT}")
            told = document(running, "explain", *ends, "tcp", *objects)
            assert (told["backend"], told["verdict"], told["guarded"]) == (f"web/{who}", "TX_FORWARD", "PASSED")
            assert told["same_code"] is True
            assert told["service"] == "web"
            if sock is known[3][0]:
                break
        shown = document(running, "top", "--once", "--interval", "0.1")
        assert shown["alive"] is True
        (service,) = shown["services"]  # type: ignore[misc]
        opened = {each["name"]: each["counts"]["opened"] for each in service["backends"]}  # type: ignore[has-type]
        whole = [who for _, who in known]
        assert all(opened[name] >= whole.count(name) for name in ("a1", "a2"))

        def counted() -> bool:
            counts = running.report().counts
            return counts is not None and counts.verdicts["TX_FORWARD"].packets >= 3 * len(known)

        until(counted, "the report has the counters")
        status = running.gtm("status", "--json")
        balancer = json.loads(status.stdout)["balancer"]
        assert (balancer["alive"], balancer["ready"], balancer["node"]) == (True, True, "small")
        assert "balancer small in us-east" in running.gtm("status").stdout


def test_nothing_runs(tmp_path: Path, found: World) -> None:
    shown = found.gtm("balance", "explain", "10.0.0.1:1", "10.0.0.2:2", "udp", "--pins", str(found.pins))
    assert shown.returncode == 1
    assert "nothing of this release is loaded (gtm balance run)" in shown.stderr
    elsewhere = found.gtm("balance", "top", "--once", "--pins", str(tmp_path))
    assert elsewhere.returncode == 1
    assert "is not in a bpffs" in elsewhere.stderr
