"""A node from end to end: real instances, real checks, real queries, and everything that may die."""

from __future__ import annotations

import json
import os
import socket
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from gtm.app.crew import holder, left_behind
from tests.app.node import INSTANCES, REGIONS, Node, ecs_query, node, until, write
from tests.app.worker import ask, free_port

HOME = {region: region for region in REGIONS}
US_EAST = ["127.0.1.11", "127.0.1.12", "127.0.1.13"]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Node]:
    """A node that serves."""
    with node(tmp_path) as made:
        made.serve()
        yield made


def test_every_client_gets_its_region_from_the_first_answer_on(served: Node) -> None:
    assert served.regions() == HOME
    assert {str(judged.health) for judged in served.view().facts.judgements.values()} == {"UP"}


def test_what_dies_leaves_the_answers_and_what_returns_comes_back(served: Node) -> None:
    served.kill("127.0.1.11")
    until(lambda: not any("127.0.1.11" in served.addresses() for _ in range(5)))
    assert served.regions() == HOME
    served.kill("127.0.1.12", "127.0.1.13")
    until(lambda: served.regions() == HOME | {"us-east": "us-west"})
    served.kill("127.0.4.41")
    until(lambda: served.regions() == HOME | {"us-east": "eu-west", "us-west": "eu-west"})
    served.kill(*list(served.standins))
    until(lambda: served.regions() == HOME)  # serve_all
    until(lambda: served.view().decision.plan.pools["example.com/web"].all_down)
    served.revive(*INSTANCES)
    until(lambda: not served.view().decision.plan.pools["example.com/web"].all_down)
    until(lambda: served.regions() == HOME)


def test_a_killed_controller_changes_no_answer_and_its_successor_carries_on(tmp_path: Path) -> None:
    with node(tmp_path, api=True) as made:
        made.serve()
        workers = {name: holder(made.state, name) for name in ("dns-0", "dns-1", "api")}
        load = Load(made)
        made.kill_controller()
        first = metric(made, "gtm_table_age_seconds")
        until(lambda: metric(made, "gtm_table_age_seconds") > first + 0.5)
        assert metric(made, "gtm_controller_up") == 0
        until(lambda: load.answered > 200)
        assert made.regions() == HOME
        revision = made.view().manifest.revision
        made.serve()
        assert {name: holder(made.state, name) for name in workers} == workers
        assert made.view().manifest.revision > revision
        assert metric(made, "gtm_controller_up") == 1
        load.stop()
        assert load.wrong == []
        assert made.stop() == 0
        assert left_behind(made.state) == []


def metric(made: Node, name: str) -> float:
    """A metric without labels, as the API process has it."""
    with urllib.request.urlopen(f"http://127.0.0.1:{made.api}/metrics", timeout=60) as reply:
        lines = reply.read().decode().splitlines()
    (line,) = [line for line in lines if line.startswith(f"{name} ")]
    return float(line.split()[1])


class Load:
    """Queries one after another from a thread; notes every answer that is late or wrong."""

    def __init__(self, made: Node) -> None:
        self.answered = 0
        self.wrong: list[bytes] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(made.port,))
        self._thread.start()

    def _run(self, port: int) -> None:
        question = ecs_query("www.example.com.", "203.0.2.0")
        while not self._stopping.is_set():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.connect(("127.0.0.1", port))
                sock.settimeout(60)
                sock.send(question)
                try:
                    reply = sock.recv(4096)
                except TimeoutError:
                    reply = b"lost"
            if b"\x7f\0\2" not in reply:
                self.wrong.append(reply)
            self.answered += 1

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()


def test_a_worker_that_dies_is_started_again(served: Node) -> None:
    pid = holder(served.state, "dns-0")
    assert pid is not None
    os.kill(pid, 9)
    until(lambda: holder(served.state, "dns-0") not in (None, pid))
    assert served.regions() == HOME


def test_a_bad_edit_changes_nothing_and_says_so_and_a_good_one_is_served(served: Node) -> None:
    steering = served.folder / "zones/example.com.yaml"
    good = steering.read_text()
    steering.write_text(good.replace("pool: web", "pool: wbe"))
    until(lambda: served.view().facts.problem is not None)
    assert "wbe" in str(served.view().facts.problem)
    assert served.regions() == HOME
    write(served.folder, {"zones/example.com.zone": "@ SOA"})
    steering.write_text(good)
    until(lambda: "example.com.zone" in str(served.view().facts.problem))
    assert served.regions() == HOME
    zone = "$TTL 60\n@ SOA ns h 2 1 1 1 1\n  NS ns\nns A 192.0.2.1\n"
    write(served.folder, {"zones/example.com.zone": zone})
    steering.write_text(good.replace("ttl: 5", "ttl: 6, steer: [{order: [eu-west]}]"))
    until(lambda: served.view().facts.problem is None)
    until(lambda: set(served.regions().values()) == {"eu-west"})


def answers(port: int) -> bool:
    """Whether somebody answers on a port of 127.0.0.1."""
    try:
        return bool(ask(ecs_query("www.example.com.", "203.0.1.0"), port))
    except ConnectionRefusedError:
        return False


def test_an_edit_of_gtm_yaml_that_cannot_be_served_here_changes_nothing(served: Node) -> None:
    path = served.folder / "gtm.yaml"
    good = path.read_text()
    workers = {worker.pid for worker in served.view().workers}
    listen = f'"[::1]:{served.port}"'
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        for edit, problem in (
            (good.replace(listen, '"192.0.2.1:5300"'), "cannot listen on 192.0.2.1:5300 (UDP)"),
            (good.replace(listen, f'"{taken}"'), f"cannot listen on {taken} (TCP): Address already in use"),
            (good.replace("api: off", f"api: {taken}"), f"cannot listen on {taken} (TCP): Address already in use"),
            (good + "state_folder: elsewhere\n", "state_folder: has changed, and that takes a restart"),
            (good + "user: nobody\n", "user: has changed, and that takes a restart"),
            (
                good + 'state: etcd\netcd: {endpoints: ["http://127.0.0.1:1"]}\n',
                "etcd: has changed, and that takes a restart",
            ),
        ):
            path.write_text(edit)
            until(lambda said=problem: said in str(served.view().facts.problem))  # type: ignore[misc]
            assert served.regions() == HOME
    assert {worker.pid for worker in served.view().workers} == workers
    # Another address is taken up by one worker after the other, so that somebody answers all the while.
    more = free_port()
    path.write_text(good.replace(listen, f'{listen}, "127.0.0.1:{more}"'))
    until(lambda: bool(served.addresses()) and workers.isdisjoint(w.pid for w in served.view().workers if w.alive))
    until(lambda: answers(more))
    # So are fewer workers, and the one that is no more is not missed.
    more = free_port()
    path.write_text(good.replace(listen, f'"127.0.0.1:{more}"').replace("workers: 2", "workers: 1"))
    until(lambda: answers(more))
    until(lambda: [worker.alive for worker in served.view().workers] == [True])
    assert served.view().facts.problem is None
    assert served.regions() == HOME


def test_people_drain_and_take_back(served: Node) -> None:
    drained = served.gtm("drain", "region/us-east", "--reason", "kernel update", "--json")
    assert drained.returncode == 0, drained.stderr
    until(lambda: served.regions() == HOME | {"us-east": "us-west"})
    status = json.loads(served.gtm("status", "--json").stdout)
    assert "kernel update" in json.dumps(status)
    refused = [served.gtm("drain", f"region/{region}", "--reason", "oops") for region in REGIONS[1:]]
    assert [one.returncode for one in refused] == [0, 0, 3]
    served.stop()
    served.serve()
    assert set(served.regions().values()) == {"us-west"}  # drains survive a restart
    for region in REGIONS[:3]:
        assert served.gtm("undrain", f"region/{region}").returncode == 0
    until(lambda: served.regions() == HOME)


def test_an_order_for_a_while_ends_by_itself(served: Node) -> None:
    assert served.gtm("force", "down", "region/eu-west", "--reason", "test", "--for", "1s").returncode == 0
    until(lambda: served.regions()["eu-west"] != "eu-west")
    until(lambda: served.regions() == HOME)


def test_a_taken_port_is_a_clear_error(tmp_path: Path) -> None:
    with node(tmp_path) as made, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", made.port))
        failed = made.gtm("serve")
        assert failed.returncode == 1
        assert f"cannot listen on 127.0.0.1:{made.port} (UDP): Address already in use" in failed.stderr
        assert "Traceback" not in failed.stderr
        assert left_behind(made.state) == []


def test_a_second_controller_is_refused(served: Node) -> None:
    second = served.gtm("serve")
    assert second.returncode == 1
    assert "running already" in second.stderr
    assert served.regions() == HOME


def test_a_folder_of_master_files_is_a_plain_nameserver(tmp_path: Path) -> None:
    with node(tmp_path) as made:
        for path in (
            "gtm.yaml",
            "geodata/overrides.csv",
            "geodata/regions.yaml",
            "probes/checks.yaml",
            "zones/example.com.yaml",
        ):
            (tmp_path / path).unlink()
        write(tmp_path, {"gtm.yaml": f'listen: ["127.0.0.1:{made.port}"]\nworkers: 1\n'})
        made.serve()
        assert b"static" in ask(b"\0\1\0\0\0\1\0\0\0\0\0\0\3txt\7example\3com\0\0\x10\0\1", made.port)
        assert made.stop() == 0


def test_a_revision_that_cannot_be_written_is_published_as_soon_as_it_can(served: Node) -> None:
    tables, away = served.state / "tables", served.state / "tables.away"
    tables.rename(away)
    served.kill(*US_EAST)
    until(lambda: "not_published" in (served.folder / "log").read_text())
    assert served.regions() == HOME
    away.rename(tables)
    until(lambda: served.regions() == HOME | {"us-east": "us-west"})
