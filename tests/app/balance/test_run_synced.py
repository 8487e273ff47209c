"""Two managers that sync: one joins in the middle of a drain and carries on the other's connections when it dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from gtm.model.balancing import Standing
from gtm.publish.dataplane import bpf, layout
from gtm.publish.dataplane.flows import Flows
from gtm.publish.dataplane.pins import Pins
from tests import balancing
from tests.app.balance.test_run import PATIENCE_S, SERVER, VIP, World, ask, ip, reachable, some, until
from tests.dataplane.bpffs import mounted
from tests.lab.network import Host, switch

SERVICES = """\
secret_file: keys/balance
services:
  web:
    vips: [10.89.9.1]
    ports: [tcp/7000]
    wrap: l2
    table_size: 251
    backends:
      a1: {address: 10.89.0.11, region: us-east}
      a2: {address: 10.89.0.12, region: us-east}
instances:
  small: {region: us-east, interface: eth0, mode: generic, address: 10.89.0.1, sync: true, ready_file: state/ready}
  small2: {region: us-east, interface: eth0, mode: generic, address: 10.89.0.3, sync: true, ready_file: state/ready}
"""


def mac(host: Host) -> str:
    words = host.command("ip", "-br", "link", "show", "eth0")
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()[2]


@pytest.fixture
def pair(tmp_path: Path, built: Path) -> Iterator[tuple[World, World]]:
    if os.geteuid() != 0:
        pytest.skip("needs root: loads BPF programs")
    last = {"lb": 1, "lb2": 3, "client": 2, "a1": 11, "a2": 12}
    hosts = [(name, [f"10.89.0.{number}/16"]) for name, number in last.items()]
    with mounted(tmp_path / "bpf") as bpffs, switch(hosts) as made:
        for name in ("a1", "a2"):
            for setting in ("arp_ignore=1", "arp_announce=2"):
                words = made[name].command("sysctl", "-qw", f"net.ipv4.conf.all.{setting}")
                subprocess.run(words, check=True, timeout=30)
            ip(made[name], f"addr add {VIP}/32 dev lo")
            made[name].start(sys.executable, "-c", SERVER, name, log=tmp_path / f"{name}.log")
        found = []
        for node, host in (("small", "lb"), ("small2", "lb2")):
            folder = tmp_path / node
            folder.mkdir()
            balancing.write(folder, SERVICES)
            file = folder / "gtm.yaml"
            file.write_text(file.read_text().replace("node: small", f"node: {node}"))
            hosts_of = {**made, "lb": made[host]}
            found.append(
                World(folder=folder, built=built, pins=bpffs / node, hosts=hosts_of, log=tmp_path / f"{node}.log")
            )
        for name in ("a1", "a2"):
            until(partial(reachable, found[0], name), f"{name} listens")
        yield found[0], found[1]


def flows(world: World) -> int:
    """How many flows there are in the balancer's table."""
    fd = bpf.pinned(Pins(world.pins).maps / "balance" / "flows")
    assert fd is not None
    try:
        table = bpf.view(fd, layout.FLOW_BUCKETS * layout.FLOW_BUCKET.itemsize, layout.FLOW_BUCKET)
        return sum(len(half) for half in Flows(table).snapshot())
    finally:
        os.close(fd)


def through(world: World) -> None:
    """Has the client send to this balancer."""
    ip(world.hosts["client"], f"neigh replace {VIP} lladdr {mac(world.hosts['lb'])} dev eth0")


@pytest.mark.parametrize("undone", [False, True], ids=["drains", "drained and back"])
def test_who_joins_carries_on_what_the_other_had(pair: tuple[World, World], undone: bool) -> None:
    """With the drain undone nothing but its peer can tell the second one that slots are in transition."""
    one, two = pair
    with ExitStack() as stack:
        # The peer is nowhere yet, so the first one would wait for it for half a minute: it is begun by hand.
        file = one.folder / "dataplane/services.yaml"
        alone = SERVICES.replace("address: 10.89.0.1, sync: true", "address: 10.89.0.1, sync: {ready: 1s}")
        file.write_text(alone)
        first = one.start()
        through(one)
        known = some(one, stack)
        for each in pair:
            ordered = each.gtm("drain", "backend/web/a1", "--reason", "disk", "--by", "alice")
            assert ordered.returncode == 0, ordered.stderr
        until(lambda: one.backend("a1").standing is Standing.DRAINING, "a1 drains")
        for _ in range(24):
            sock = stack.enter_context(one.connect())
            known.append((sock, ask(sock)))
            assert known[-1][1] == "a2"
        if undone:
            for each in pair:
                assert each.gtm("undrain", "backend/web/a1").returncode == 0
            until(lambda: one.backend("a1").standing is Standing.ACTIVE, "a1 is back")

        second = two.start()  # knows neither the flows nor who had the slots before
        assert "synced" in two.log.read_text()
        assert two.report().services[0].moving == one.report().services[0].moving > 0
        later = stack.enter_context(one.connect())
        known.append((later, ask(later)))
        until(lambda: flows(two) == flows(one), "the last flow is told")  # what is told is on its way for a moment

        first.send_signal(signal.SIGKILL)
        first.wait(PATIENCE_S)
        through(two)
        assert [ask(sock) for sock, _ in known] == [who for _, who in known]
        assert {who for _, who in known} == {"a1", "a2"}
        for _ in range(5):
            assert ask(stack.enter_context(two.connect())) in ({"a1", "a2"} if undone else {"a2"})

        # Its peer is dead, and a manager that takes over here waits for nobody: the tables have all.
        second.send_signal(signal.SIGKILL)
        second.wait(PATIENCE_S)
        third = two.start()
        assert [ask(sock) for sock, _ in known] == [who for _, who in known]
        third.terminate()
        assert third.wait(PATIENCE_S) == 0


def test_an_instance_whose_peer_has_not_told_all_is_not_ready(pair: tuple[World, World]) -> None:
    one, two = pair
    with ExitStack() as stack:
        manager = two.hosts["lb"].start(*two.command("balance", "run", *two.where), log=two.log)
        stack.callback(manager.kill)
        until(lambda: two.reported() and two.report().services != (), "the tables are written")
        until(lambda: "flows of" in (two.report().unready or ""), "it waits for its peer")
        assert two.report().unready == "sync: flows of small are still to come"
        assert (two.state / "ready").read_text() == "down sync: flows of small are still to come\n"
        one.start()
        until(lambda: two.report().ready, "the peer has told all")
        until(lambda: (two.state / "ready").read_text() == "up\n", "and is heard")
