"""`gtm balance run` itself on an interface of its own: connections live on whatever becomes of the manager.

Two backends and a client on one switch, L2 DSR: the client's frames to the VIP go to the balancer, which sends them on.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from gtm.app.announce import report as announcer_report
from gtm.app.balance import run as running
from gtm.app.balance import standing
from gtm.app.balance.capabilities import Capability
from gtm.model.balancing import BackendReport, BalancerReport, Standing
from gtm.model.errors import GtmError, StoreError
from tests import balancing
from tests.dataplane.bpffs import mounted
from tests.lab.network import Host, switch
from tests.web import announced

VIP, PORT = "10.89.9.1", 7000
SERVICES = """\
secret_file: keys/balance
services:
  web:
    vips: [10.89.9.1]
    ports: [tcp/7000]
    wrap: l2
    table_size: 251
    drain: {drain}
    backends:
      a1: {{address: 10.89.0.11, region: us-east}}
      a2: {{address: 10.89.0.12, region: us-east}}
instances:
  small: {{region: us-east, interface: eth0, mode: generic, address: 10.89.0.1, ready_file: state/ready}}
"""
SERVER = """
import socket, sys, threading
def serve(sock):
    with sock:
        while data := sock.recv(4096):
            sock.sendall(sys.argv[1].encode())
listening = socket.create_server(("", 7000), backlog=128)
while True:
    threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()
"""
PATIENCE_S = 60.0


@dataclass
class World:
    """A deployment, its hosts, and where things are pinned."""

    folder: Path
    built: Path
    pins: Path
    hosts: dict[str, Host]
    log: Path

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def where(self) -> tuple[str, ...]:
        """The options that say where things are."""
        return "--pins", str(self.pins), "--objects", str(self.built)

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "gtm.cli.main", *words, "-C", str(self.folder)]

    def gtm(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of gtm on the balancer."""
        command = self.hosts["lb"].command(*self.command(*words))
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)

    def start(self) -> subprocess.Popen[bytes]:
        """A manager, from when it says that its tables are right."""
        before = self.report().at_s if self.reported() else 0.0
        process = self.hosts["lb"].start(*self.command("balance", "run", *self.where), log=self.log)

        def up() -> bool:
            assert process.poll() is None, self.log.read_text()
            if not self.reported():
                return False
            found = self.report()
            return found.pid == process.pid and found.at_s > before and found.ready

        until(up, "the manager is ready")
        return process

    def reported(self) -> bool:
        try:
            standing.load(self.state)
        except StoreError:
            return False
        return True

    def report(self) -> BalancerReport:
        return standing.load(self.state)

    def backend(self, name: str) -> BackendReport:
        (service,) = self.report().services
        return next(each for each in service.backends if each.name == name)

    def write(self, *, drain: str) -> None:
        balancing.write(self.folder, SERVICES.format(drain=drain))

    def connect(self) -> socket.socket:
        def made() -> socket.socket:
            return socket.create_connection((VIP, PORT), timeout=PATIENCE_S)

        return self.hosts["client"].inside(made)


def ask(sock: socket.socket) -> str:
    """The name of the backend that answers on a connection."""
    sock.sendall(b"who?")
    return sock.recv(100).decode()


def until(true: Callable[[], bool], what: str) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end_s, f"not within {PATIENCE_S} s: {what}"
        time.sleep(0.02)


def ip(host: Host, words: str) -> None:
    subprocess.run(host.command("ip", *words.split()), check=True, timeout=30, capture_output=True)


@contextmanager
def world(tmp_path: Path, built: Path) -> Iterator[World]:
    hosts = [(name, [f"10.89.0.{last}/16"]) for name, last in (("lb", 1), ("client", 2), ("a1", 11), ("a2", 12))]
    with mounted(tmp_path / "bpf") as bpffs, switch(hosts) as made:
        folder = tmp_path / "deployment"
        folder.mkdir()
        for name in ("a1", "a2"):
            for setting in ("arp_ignore=1", "arp_announce=2"):
                words = made[name].command("sysctl", "-qw", f"net.ipv4.conf.all.{setting}")
                subprocess.run(words, check=True, timeout=30)
            ip(made[name], f"addr add {VIP}/32 dev lo")
            made[name].start(sys.executable, "-c", SERVER, name, log=tmp_path / f"{name}.log")
        shown = subprocess.run(
            made["lb"].command("ip", "-br", "link", "show", "eth0"), capture_output=True, text=True, check=True
        )
        ip(made["client"], f"neigh replace {VIP} lladdr {shown.stdout.split()[2]} dev eth0")
        found = World(folder=folder, built=built, pins=bpffs / "gtm", hosts=made, log=tmp_path / "balance.log")
        found.write(drain="5m")
        for name in ("a1", "a2"):
            until(partial(reachable, found, name), f"{name} listens")
        yield found


def reachable(found: World, name: str) -> bool:
    last = {"a1": 11, "a2": 12}[name]
    try:
        found.hosts["client"].inside(lambda: socket.create_connection((f"10.89.0.{last}", PORT), 5.0)).close()
    except OSError:
        return False
    return True


@pytest.fixture
def found(tmp_path: Path, built: Path) -> Iterator[World]:
    if os.geteuid() != 0:
        pytest.skip("needs root: loads BPF programs")
    with world(tmp_path, built) as made:
        yield made


def some(found: World, stack: ExitStack, number: int = 24) -> list[tuple[socket.socket, str]]:
    """Connections, and who answers on each; both backends are among them."""
    made = []
    for _ in range(number):
        sock = stack.enter_context(found.connect())
        made.append((sock, ask(sock)))
    assert {who for _, who in made} == {"a1", "a2"}
    return made


def test_connections_outlive_managers_and_a_drain(found: World) -> None:
    with ExitStack() as stack:
        first = found.start()
        assert found.report().ready
        assert (found.state / "ready").read_text() == "up\n"
        status = Path(f"/proc/{first.pid}/status").read_text()
        effective = next(line for line in status.splitlines() if line.startswith("CapEff:"))
        assert int(effective.split()[1], 16) == 1 << Capability.BPF | 1 << Capability.NET_RAW
        known = some(found, stack)
        generation = found.report().services[0].generation

        first.send_signal(signal.SIGKILL)
        first.wait(PATIENCE_S)
        assert [ask(sock) for sock, _ in known] == [who for _, who in known]  # the kernel goes on alone
        known += some(found, stack)

        second = found.start()  # and is taken over, program and all
        assert found.report().services[0].generation == generation
        assert [ask(sock) for sock, _ in known] == [who for _, who in known]

        ordered = found.gtm("drain", "backend/web/a1", "--reason", "disk", "--by", "alice")
        assert ordered.returncode == 0, ordered.stderr
        until(lambda: found.backend("a1").standing is Standing.DRAINING, "a1 drains")
        assert found.backend("a1").reason == "drained by alice: disk"
        assert found.report().services[0].moving > 0
        for _ in range(10):
            assert ask(stack.enter_context(found.connect())) == "a2"
        assert [ask(sock) for sock, _ in known] == [who for _, who in known]
        mine = [sock for sock, who in known if who == "a1"]
        until(lambda: found.backend("a1").flows == len(mine), "the flows of a1 are counted")
        deadline_s = found.backend("a1").until_s
        shown = found.gtm("balance", "drains", "--json")
        (drain,) = json.loads(shown.stdout)["drains"]
        assert (drain["service"], drain["backend"], drain["flows"]) == ("web", "a1", len(mine))
        assert 0 < drain["eta_s"] <= 300

        second.terminate()
        assert second.wait(PATIENCE_S) == 0
        third = found.start()  # in the middle of a drain
        until(lambda: found.backend("a1").standing is Standing.DRAINING, "a1 still drains")
        assert found.backend("a1").until_s == pytest.approx(deadline_s, abs=1.0)
        assert [ask(sock) for sock, _ in known] == [who for _, who in known]

        undone = found.gtm("undrain", "backend/web/a1")
        assert undone.returncode == 0, undone.stderr
        until(lambda: found.backend("a1").standing is Standing.ACTIVE, "a1 is back")
        assert [ask(sock) for sock, _ in known] == [who for _, who in known]
        third.terminate()
        assert third.wait(PATIENCE_S) == 0
        assert found.report().pid == 0

        gone = found.gtm("balance", "detach", "--pins", str(found.pins), "--json")
        assert json.loads(gone.stdout) == {"interfaces": ["eth0"]}
        assert not found.pins.exists()
        assert (found.state / "ready").read_text() == "down manager: detached\n"


def test_a_drain_ends(found: World) -> None:
    found.write(drain="1s")
    with ExitStack() as stack:
        manager = found.start()
        known = some(found, stack)
        found.gtm("drain", "backend/web/a1", "--reason", "disk")
        until(lambda: found.backend("a1").standing is Standing.OUT, "the drain of a1 is over")
        until(lambda: found.report().services[0].moving == 0, "no slot is in transition")
        assert found.backend("a1").reason.endswith("its drain is over")
        assert [ask(sock) for sock, who in known if who == "a2"] == ["a2" for _, who in known if who == "a2"]
        for _ in range(5):
            assert ask(stack.enter_context(found.connect())) == "a2"
        manager.terminate()
        assert manager.wait(PATIENCE_S) == 0


def test_files_are_followed_and_faults_change_nothing(found: World) -> None:
    manager = found.start()
    file = found.folder / "dataplane/services.yaml"
    text = file.read_text()
    file.write_text(text.replace("a2:", "a3:"))
    until(lambda: {each.name for each in found.report().services[0].backends} == {"a1", "a2", "a3"}, "a3 is taken")
    assert found.backend("a2").standing is Standing.DRAINING
    assert found.backend("a2").reason == "no longer in the file"
    assert found.backend("a3").number not in {found.backend("a1").number, found.backend("a2").number}
    file.write_text(text.replace("wrap: l2", "wrap: l3"))
    until(lambda: "wrap" in (found.report().problem or ""), "the fault is told")
    assert {each.name for each in found.report().services[0].backends} == {"a1", "a2", "a3"}
    file.write_text(text)
    manager.send_signal(signal.SIGHUP)
    until(lambda: found.backend("a2").standing is Standing.ACTIVE, "a2 is back")
    until(lambda: found.report().problem is None, "nothing is wrong")
    manager.terminate()
    assert manager.wait(PATIENCE_S) == 0


def test_a_dry_run_changes_nothing_and_one_manager_at_a_time(found: World) -> None:
    def foreseen() -> dict[str, Any]:
        done = found.gtm("balance", "run", "--dry-run", "--json", "--pins", str(found.pins))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    first = foreseen()
    assert first["backends"] == ["web/a1", "web/a2"]
    assert first["attached"] is None
    assert first["rings"] == [{"service": "web", "slots": 251, "moved": 251, "moving": 0}]
    assert not found.pins.exists()
    once = found.gtm("balance", "run", "--once", *found.where)
    assert once.returncode == 0, once.stderr
    after = foreseen()
    assert (after["backends"], after["rings"], after["vips"], after["attached"]) == ([], [], False, "generic")
    found.gtm("drain", "backend/web/a1", "--reason", "disk")
    drained = foreseen()
    assert drained["backends"] == ["web/a1"]
    (ring,) = drained["rings"]
    assert ring["moved"] == ring["moving"] > 0
    manager = found.start()
    other = found.gtm("balance", "run", *found.where)
    assert other.returncode == 1
    assert "another `gtm balance` is at work there" in other.stderr
    manager.terminate()
    assert manager.wait(PATIENCE_S) == 0


def test_another_release_is_replaced_only_on_demand(found: World) -> None:
    once = found.gtm("balance", "run", "--once", *found.where)
    assert once.returncode == 0, once.stderr
    (folder,) = [each for each in found.pins.iterdir() if each.name.startswith("maps-")]
    folder.rename(found.pins / "maps-older")
    refused = found.gtm("balance", "run", "--once", *found.where)
    assert refused.returncode == 1
    assert "has maps of another release (older); --replace" in refused.stderr
    replaced = found.gtm("balance", "run", "--once", "--replace", *found.where)
    assert replaced.returncode == 0, replaced.stderr
    assert sorted(each.name for each in found.pins.iterdir()) == ["link-eth0", folder.name]
    with found.connect() as sock:
        assert ask(sock) in {"a1", "a2"}


def test_deny_lists_are_followed_and_outlive_the_manager(found: World) -> None:
    denied = found.folder / "denied"
    denied.write_text("192.0.2.0/24\n")
    with (found.folder / "dataplane/services.yaml").open("a") as file:
        file.write("protection: {deny_files: [denied]}\n")
    manager = found.start()

    def answered() -> bool:
        """Whether a client gets an answer within a moment."""
        with found.hosts["client"].inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as sock:
            sock.settimeout(1.0)
            return sock.connect_ex((VIP, PORT)) == 0

    assert answered()
    denied.write_text("192.0.2.0/24\n10.89.0.2\n")
    until(lambda: not answered(), "the client is denied")
    manager.terminate()
    assert manager.wait(PATIENCE_S) == 0
    assert not answered()
    again = found.start()
    assert not answered()
    denied.write_text("no network\n")
    until(lambda: "denied:1" in (found.report().problem or ""), "the fault is told")
    assert not answered()
    denied.write_text("192.0.2.0/24\n")
    until(answered, "the client is allowed")
    again.terminate()
    assert again.wait(PATIENCE_S) == 0


def test_not_ready_before_the_flows_of_peers_are_there(found: World) -> None:
    file = found.folder / "dataplane/services.yaml"
    other = "  small2: {region: us-east, interface: eth0, mode: generic, address: 10.89.0.2, sync: true}\n"
    file.write_text(file.read_text().replace("address: 10.89.0.1,", "address: 10.89.0.1, sync: true,") + other)
    process = found.hosts["lb"].start(*found.command("balance", "run", *found.where), log=found.log)
    until(lambda: found.reported() and bool(found.report().peers), "state sync has begun")
    report = found.report()
    assert [peer.node for peer in report.peers] == ["small2"]
    assert report.unready == "sync: flows of small2 are still to come"
    assert (found.state / "ready").read_text().startswith("down ")
    file.write_text(file.read_text().replace(other, ""))
    until(lambda: found.report().ready, "it has no peers any more")
    assert (found.state / "ready").read_text() == "up\n"
    process.terminate()
    assert process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("eth0", "eth7", "there is no such interface"),
        ("keys/balance", "keys/none", "it has the secret that the balancers of a PoP share"),
        ("  small:", "  other:", "is no instance"),
    ],
)
def test_what_cannot_run_says_why(found: World, old: str, new: str, message: str) -> None:
    file = found.folder / "dataplane/services.yaml"
    file.write_text(file.read_text().replace(old, new))
    done = found.gtm("balance", "run", "--once", *found.where)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_announced_is_not_detached(found: World) -> None:
    once = found.gtm("balance", "run", "--once", *found.where)
    assert once.returncode == 0, once.stderr
    told = announced.REPORT
    route = dataclasses.replace(told.routes[0], prefix=ip_network("10.89.9.0/24"))
    announcer_report.folder(found.state)
    announcer_report.save(found.state, dataclasses.replace(told, pid=1, routes=(route,)))
    refused = found.gtm("balance", "detach", "--pins", str(found.pins))
    assert refused.returncode == 3
    assert "10.89.9.0/24 is announced here, and packets for 10.89.9.1 would go nowhere" in refused.stderr
    with found.connect() as sock:
        assert ask(sock) in {"a1", "a2"}
    withdrawn = dataclasses.replace(route, wished=None)
    announcer_report.save(found.state, dataclasses.replace(told, pid=1, routes=(withdrawn,)))
    assert found.gtm("balance", "detach", "--pins", str(found.pins)).stdout == "eth0: detached\n"
    assert found.gtm("balance", "detach", "--pins", str(found.pins)).stdout == "nothing was attached\n"


def test_pins_elsewhere_are_refused(found: World, tmp_path: Path) -> None:
    done = found.gtm("balance", "run", "--once", "--pins", str(tmp_path / "gtm"), "--objects", str(found.built))
    assert done.returncode == 1
    assert "is not in a bpffs" in done.stderr
    assert Path("/sys/fs/bpf/gtm") == running.PINS


def test_a_plan_that_cannot_be_written_ends_nothing(found: World) -> None:
    file = found.folder / "dataplane/services.yaml"
    text = file.read_text()
    backends = "backends: {b1: {address: 10.89.0.12, region: us-east}}"
    second = f"  api: {{vips: [10.89.9.2], ports: [tcp/7000], table_size: 251, wrap: l2, {backends}}}\n"
    file.write_text(text.replace("instances:\n", second + "instances:\n"))
    manager = found.start()
    assert {each.name for each in found.report().services} == {"web", "api"}
    rings = found.state / "balancer" / "rings"
    rings.unlink()
    rings.mkdir()
    file.write_text(text)
    until(lambda: "rings" in (found.report().problem or ""), "the fault is told")
    since_s = found.report().at_s
    until(lambda: found.report().at_s > since_s, "it is told again")  # by the plan that stands
    assert manager.poll() is None, found.log.read_text()
    assert {each.name for each in found.report().services} == {"web", "api"}
    rings.rmdir()
    until(lambda: found.report().problem is None, "it is written once it can be")
    assert {each.name for each in found.report().services} == {"web"}
    manager.terminate()
    assert manager.wait(PATIENCE_S) == 0


def test_a_drain_ends_though_nothing_can_be_remembered(found: World) -> None:
    found.write(drain="1s")
    manager = found.start()
    memory = found.state / "balancer" / "memory"
    memory.unlink()
    memory.mkdir()
    found.gtm("drain", "backend/web/a1", "--reason", "disk")
    until(lambda: found.backend("a1").standing is Standing.OUT, "the drain of a1 is over")
    assert "memory" in (found.report().problem or "")
    memory.rmdir()
    until(lambda: found.report().problem is None, "it is remembered once it can be")
    assert memory.is_file()
    manager.terminate()
    assert manager.wait(PATIENCE_S) == 0


def test_a_lock_that_cannot_be_opened_is_said(tmp_path: Path) -> None:
    (tmp_path / running.LOCK).mkdir()
    with pytest.raises(GtmError, match="lock: Is a directory"), running._alone(tmp_path):
        pass
