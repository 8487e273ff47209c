"""A node on this machine, used as people use it: demo, status, explain, drain, reload, the API, and sudden deaths."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dns.edns
import dns.message
import dns.query
import dns.rdatatype
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.cli.small import free_port, write

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "USER": "tester"}
DEADLINE_S = 60.0
NEW_YORK, BERLIN = "198.51.100.9", "203.0.113.7"


@dataclass
class Node:
    folder: Path
    dns: int
    api: int
    process: subprocess.Popen[bytes]
    said: dict[str, Any]

    def gtm(self, *arguments: str, code: int = 0) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "gtm.cli.main", *arguments, "-C", str(self.folder), "--json"],
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
        )
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)

    def ask(self, name: str, client: str) -> tuple[list[str], int]:
        query = dns.message.make_query(name, "A", use_edns=True, options=[dns.edns.ECSOption(client, 32)])
        reply = dns.query.udp(query, "127.0.0.1", port=self.dns, timeout=DEADLINE_S)
        subnet = next(option for option in reply.options if isinstance(option, dns.edns.ECSOption))
        records = [rdata.address for rrset in reply.answer if rrset.rdtype == dns.rdatatype.A for rdata in rrset]
        return records, subnet.scopelen

    def get(self, path: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.api}{path}", timeout=DEADLINE_S) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def pids(self) -> set[int]:
        """Everything that runs for this node."""
        marks = (str(self.folder).encode(), b"gtm.app.standin")
        sockets = {one["pid"] for one in self.said["standins"]}
        found = {self.process.pid} | sockets
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if marks[0] in path.read_bytes():
                    found.add(int(path.parent.name))
            except OSError:
                continue
        return {pid for pid in found if alive(pid)}


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def eventually(what: Callable[[], bool]) -> None:
    """Wait until something holds that no event tells of; a deadline only ends what would hang."""
    deadline = time.monotonic() + DEADLINE_S
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    dns_port, api_port, check_port = free_port(), free_port(), free_port()
    folder = write(tmp_path / "deployment", dns=dns_port, api=api_port, check=check_port)
    process = subprocess.Popen(
        [sys.executable, "-m", "gtm.cli.main", "demo", "--json", "-C", str(folder)],
        stdout=subprocess.PIPE,
        env=ENVIRONMENT,
        start_new_session=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "the demo did not start"
    made = Node(folder=folder, dns=dns_port, api=api_port, process=process, said=json.loads(line))
    try:
        yield made
    finally:
        left = made.pids()
        process.send_signal(signal.SIGTERM)
        process.stdout.close()
        process.wait(DEADLINE_S)
        for pid in left:  # only what a failed test left behind
            if alive(pid):
                os.kill(pid, signal.SIGKILL)


def test_a_day_of_a_node(node: Node) -> None:
    # The answer, its explanation and the API's explanation are one.
    for client, region in ((NEW_YORK, "us-east"), (BERLIN, "eu-west")):
        told = node.gtm("explain", "www.example.test", "--from", client)
        assert told["choice"]["region"] == region
        assert told["live"] is True
        assert (told["answer"], told["scope"]) == node.ask("www.example.test", client)
        code, body = node.get(f"/api/v1/explain?name=www.example.test&from={client}")
        assert (code, json.loads(body)) == (200, told)
    # Everything is up, and nobody has to look at anything.
    status = node.gtm("status")
    assert status["problems"] == []
    assert [pool["all_down"] for pool in status["pools"]] == [False, False]
    assert _states(json.loads(node.get("/api/v1/status")[1])) == _states(status)
    assert node.get("/healthz")[0] == 200
    # A drain moves traffic and is in force when the command says so; undrain gives it back.
    done = node.gtm("drain", "region/us-east", "--reason", "test", "--for", "10m")
    assert done["applied"]["revision"] > status["table"]["revision"]
    assert done["owner"] in {"tester", os.environ.get("SUDO_USER")}
    eventually(lambda: node.ask("www.example.test", NEW_YORK)[0] == ["127.0.2.91"])
    assert [order["subject"] for order in node.gtm("status")["overrides"]] == ["region/us-east"]
    refused = node.gtm("drain", "region/eu-west", "--reason", "test", code=3)
    assert refused["error"]["guard"] == "last-region"
    assert node.gtm("undrain", "region/us-east")["applied"]["revision"] > done["applied"]["revision"]
    eventually(lambda: node.ask("www.example.test", NEW_YORK)[0] != ["127.0.2.91"])
    # A bad edit changes nothing and is told; status and explain go on working.
    zone = node.folder / "zones" / "example.test.yaml"
    good = zone.read_text()
    zone.write_text(good + "nonsense: 1\n")
    eventually(lambda: _problem(node))
    assert "nonsense" in node.gtm("status", code=1)["reload_problem"]
    assert node.gtm("explain", "www.example.test", "--from", NEW_YORK)["choice"]["region"] == "us-east"
    zone.write_text(good)
    eventually(lambda: not _problem(node))
    # Metrics have counted the queries.
    families = {family.name: family for family in text_string_to_metric_families(node.get("/metrics")[1].decode())}
    assert sum(sample.value for sample in families["gtm_dns_queries"].samples) >= 4
    assert families["gtm_controller_up"].samples[0].value == 1


def _states(status: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """What a status says of each instance, but for its last probe: that may be another one by now."""
    return [
        (pool["name"], region["region"], instance["label"], instance["health"])
        for pool in status["pools"]
        for region in pool["regions"]
        for instance in region["instances"]
    ]


def _problem(node: Node) -> bool:
    return json.loads(node.get("/api/v1/status")[1])["reload_problem"] is not None


def test_sudden_deaths(node: Node) -> None:
    standins = {one["region"]: [] for one in node.said["standins"]}  # type: dict[str, list[int]]
    for one in node.said["standins"]:
        standins[one["region"]].append(one["pid"])
    # A region whose instances hang is left out, and comes back with them.
    for pid in standins["us-east"]:
        os.kill(pid, signal.SIGSTOP)
    eventually(lambda: node.ask("www.example.test", NEW_YORK)[0] == ["127.0.2.91"])
    for pid in standins["us-east"]:
        os.kill(pid, signal.SIGCONT)
    eventually(lambda: node.ask("www.example.test", NEW_YORK)[0] != ["127.0.2.91"])
    # With the controller killed, answers and API go on, and say so.
    controller = json.loads(node.get("/api/v1/status")[1])["controller"]["pid"]
    os.kill(controller, signal.SIGKILL)
    eventually(lambda: not json.loads(node.get("/healthz")[1])["controller_alive"])
    assert node.ask("www.example.test", BERLIN)[0] == ["127.0.2.91"]
    assert node.get("/healthz")[0] == 200
    assert "no controller is running" in node.gtm("status", code=1)["problems"][0]
    assert node.gtm("explain", "www.example.test", "--from", BERLIN)["choice"]["region"] == "eu-west"
    # The demo starts another controller, which takes the running workers over.
    eventually(lambda: json.loads(node.get("/healthz")[1])["controller_alive"])
    assert node.gtm("status")["controller"]["pid"] != controller


def test_ctrl_c_leaves_nothing_behind(node: Node) -> None:
    running = node.pids()
    assert len(running) >= 6  # the demo, three stand-ins, the controller, a worker, the API
    node.process.send_signal(signal.SIGINT)
    assert node.process.wait(DEADLINE_S) == 0
    eventually(lambda: not any(alive(pid) for pid in running))


def test_a_killed_demo_leaves_nothing_behind(node: Node) -> None:
    running = node.pids()
    node.process.kill()
    node.process.wait(DEADLINE_S)
    eventually(lambda: not any(alive(pid) for pid in running))


def test_a_taken_port_is_said_in_words(node: Node) -> None:
    running = node.pids()
    second = subprocess.run(
        [sys.executable, "-m", "gtm.cli.main", "demo", "-C", str(node.folder)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=DEADLINE_S,
    )
    assert second.returncode == 1
    assert "is another demo running?" in second.stderr
    assert "Traceback" not in second.stderr
    third = subprocess.run(
        [sys.executable, "-m", "gtm.cli.main", "serve", "--json", "-C", str(node.folder)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=DEADLINE_S,
    )
    assert third.returncode == 1
    assert json.loads(third.stdout)["error"]["kind"] == "problem"
    assert "Traceback" not in third.stderr
    assert node.pids() == running  # what serves is none of theirs to end
    assert node.ask("www.example.test", BERLIN)[0] == ["127.0.2.91"]
