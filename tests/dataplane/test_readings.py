"""Counters and flows as `gtm balance top` shows them, of packets that went through the program."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from gtm.app.balance import standing
from gtm.app.balance.top import figure, top, top_text
from gtm.cli.main import main
from gtm.decide.balance import ICMP, ICMP6
from gtm.decide.guard import Reason
from gtm.model.balance import AttachMode, Wrap
from gtm.model.balancing import BackendReport, BalancerReport, ServiceReport, Standing
from gtm.model.errors import PublishError
from gtm.publish.dataplane import bpf, layout
from gtm.publish.dataplane.guard import Guard
from gtm.publish.dataplane.maps import Balancer
from gtm.publish.dataplane.pins import Pins
from gtm.publish.dataplane.readings import Readings
from tests.dataplane import world as w
from tests.dataplane.bpffs import mounted
from tests.dataplane.guarded import policy
from tests.dataplane.test_testrun import load_guard

OLD, NEW, IDLE = 10, 2, 3  # of the VIP that moves
AT_S = 1000.0


def backend(name: str, number: int, stands: Standing) -> BackendReport:
    address = ip_address(f"10.0.0.{number}")
    return BackendReport(name=name, number=number, address=address, wrap=Wrap.IPIP, standing=stands, reason="")


def report(pins: Path) -> BalancerReport:
    backends = (
        backend("new", NEW, Standing.ACTIVE),
        backend("old", OLD, Standing.DRAINING),
        backend("idle", IDLE, Standing.ACTIVE),
    )
    service = ServiceReport(name="web", ring=w.MOVING, generation=4, slots=13, moving=13, backends=backends)
    return BalancerReport(
        node="lb1",
        region="us-east",
        interface="eth0",
        mode=AttachMode.NATIVE,
        at_s=AT_S,
        started_s=AT_S - 100,
        pid=77,
        pins=str(pins),
        layout=layout.digest(),
        services=(service,),
    )


@pytest.fixture
def pins(tmp_path: Path) -> Iterator[Pins]:
    with mounted(tmp_path / "bpf") as folder:
        yield Pins(folder / "gtm")


@pytest.fixture
def balancer(built: Path, pins: Pins) -> Iterator[Balancer]:
    tables = w.tables()
    with Balancer(built / "balance.bpf.o", pins.load) as made:
        made.set_vips(tables.vips, tables.seed)
        made.set_backends(tables.backends)
        made.set_ring(w.MOVING, tables.rings[w.MOVING], generation=4)
        yield made


def frames(count: int, flags: int) -> list[bytes]:
    return [
        w.frame(w.packet(4, w.vip(4, w.MOVING), w.tcp(sport=1000 + i, flags=flags, payload=b""))) for i in range(count)
    ]


def test_what_went_where(balancer: Balancer, pins: Pins) -> None:
    run, readings = bpf.TestRun(balancer.root), Readings(pins)
    before = readings.read([NEW, OLD, IDLE], AT_S)
    assert (before.flows, before.flow_places, before.guarded) == (0, layout.FLOW_BUCKETS * 8, {})
    for frame in [*frames(6, w.SYN), *frames(6, w.ACK), *frames(2, w.ACK | 1)]:
        assert run(frame)[0] == 3
    for frame in frames(8, w.ACK)[6:]:  # nobody has seen them begin
        assert run(frame)[0] == 3
    assert run(w.frame(w.packet(4, "192.0.2.250", w.tcp())))[0] == 2
    now = readings.read([NEW, OLD, IDLE], AT_S + 2)
    found = top(report(pins.folder), before, now)
    (service,) = found.services
    new, old, idle = service.backends
    assert (new.counts.packets, new.counts.bytes, new.counts.opened, new.counts.closed) == (14, 14 * 40, 6, 2)
    assert (old.counts.packets, old.counts.opened) == (2, 0)
    assert (new.counts.flows, old.counts.flows, idle.counts.flows) == (4, 2, 0)
    assert (found.flows, found.flows_closed) == (8, 2)
    assert (new.rates.packets_per_s, new.rates.bytes_per_s, new.rates.opened_per_s) == (7.0, 280.0, 3.0)
    assert (new.share, old.share, idle.share) == (14 / 16, 2 / 16, 0.0)
    assert service.counts.packets == 16
    assert {name: each.packets for name, each in found.verdicts.items()} == {"TX_FORWARD": 16, "PASS_NO_VIP": 1}
    assert found.verdicts["PASS_NO_VIP"].packets_per_s == 0.5
    assert found.alive
    text = top_text(found)
    assert "web: 8 packets/s" in text
    (port,) = (each for each in service.vips if each.counts.name == "tcp/80" and each.counts.address.version == 4)
    assert (port.counts.packets, port.counts.bytes, port.counts.opened, port.counts.closed) == (16, 16 * 40, 6, 2)
    assert (port.rates.packets_per_s, port.rates.opened_per_s) == (8.0, 3.0)
    assert re.search(r"VIP +PORT +PACKETS/S", text)
    assert re.search(r"192\.0\.2\.\d+ +tcp/80 +8 ", text)
    assert "fragments" not in text
    assert "13 of 13 rows in transition" in text
    assert "flow table: 8 of 1048576 places taken, 2 by flows that ended" in text


@pytest.mark.parametrize("family", [4, 6])
def test_what_came_for_a_vip_whatever_became_of_it(balancer: Balancer, pins: Pins, family: int) -> None:
    """Ports, pieces and echo apart, with what nobody got; a VIP that comes anew begins with nothing."""
    balancer.set_vips(w.tables().vips, w.SEED)
    run, readings = bpf.TestRun(balancer.root), Readings(pins)
    target = w.vip(family, w.MOVING)
    for _ in range(3):
        run(w.frame(w.packet(family, target, w.tcp(flags=w.SYN))))
    icmp = ICMP if family == 4 else ICMP6
    run(w.frame(w.packet(family, target, w.echo(family), protocol=icmp)))
    run(w.frame(w.packet(family, target, w.quote(family, w.MOVING), protocol=icmp)))

    def came() -> dict[str, tuple[int, int]]:
        found = readings.read([], AT_S).vips
        return {each.name: (each.packets, each.opened) for each in found if str(each.address) == target}

    assert {name: counts for name, counts in came().items() if counts[0]} == {"tcp/80": (4, 3), "echo": (1, 0)}
    balancer.set_ring(w.MOVING, [], generation=5)
    run(w.frame(w.packet(family, target, w.tcp(flags=w.SYN))))
    assert came()["tcp/80"] == (5, 4)
    mine = {key: vip for key, vip in w.tables().vips.items() if key[0] == w.packed(target)}
    balancer.set_vips({key: vip for key, vip in w.tables().vips.items() if key not in mine}, w.SEED)
    assert came() == {}
    balancer.set_vips(w.tables().vips, w.SEED)
    assert came()["tcp/80"] == (0, 0)


def test_what_the_guard_did(built: Path, balancer: Balancer, pins: Pins) -> None:
    with Guard(balancer.object, built / "guard.bpf.o", load_guard(pins)) as guard:
        guard.set_policy(policy(on=frozenset({Reason.FLAGS}), dry=frozenset({Reason.MARTIAN})))
        guard.install()
        run, readings = bpf.TestRun(balancer.root), Readings(pins)
        before = readings.read([], AT_S)
        target = w.vip(4, 2)
        for flags in (w.SYN, w.SYN | 1):
            run(w.frame(w.packet(4, target, w.tcp(flags=flags))))
        found = top(replace(report(pins.folder), services=(), pid=0), before, readings.read([], AT_S + 1))
    assert {name: each.packets for name, each in found.dropped.items()} == {"FLAGS": 1}
    assert {name: each.packets for name, each in found.would_drop.items()} == {"MARTIAN": 1}
    assert not found.alive
    assert "no manager follows" in top_text(found)


def test_the_command(balancer: Balancer, pins: Pins, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "node"
    (folder / "state").mkdir(parents=True)
    (folder / "gtm.yaml").write_text("state: state\n")
    command = ["balance", "top", "--once", "--interval", "0.1", "--pins", str(pins.folder), "-C", str(folder)]
    assert main(command) == 1
    assert "has left a report" in capsys.readouterr().err
    standing.folder(folder / "state")
    standing.save(folder / "state", report(pins.folder))
    bpf.TestRun(balancer.root)(frames(1, w.SYN)[0])
    assert main([*command, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [each["counts"]["packets"] for each in document["services"][0]["backends"]] == [1, 0, 0]
    assert document["services"][0]["backends"][1]["standing"] == "draining"
    assert main(command) == 0
    assert "draining" in capsys.readouterr().out
    ends = [f"{w.CLIENT[4]}:1000", f"{w.vip(4, w.MOVING)}:80"]
    asked = ["balance", "explain", *ends, "tcp", "--pins", str(pins.folder), "-C", str(folder)]
    assert main([*asked, "--objects", str(tmp_path / "nowhere"), "--json"]) == 1
    assert "No such file" in capsys.readouterr().err


def test_nothing_is_loaded(pins: Pins) -> None:
    with pytest.raises(PublishError, match="gtm balance run"):
        Readings(pins)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (12.4, "12"), (999, "999"), (3400, "3.4 k"), (123456, "123 k"), (5.6e6, "5.6 M")]
)
def test_figures(value: float, text: str) -> None:
    assert figure(value) == text
