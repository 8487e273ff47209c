"""What the doctor makes of machines that are made up, and of a real interface."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from gtm.app.announce.check import Severity
from gtm.app.balance.doctor import Machine, examined, examined_text
from gtm.app.balance.instance import Balancing, find_instance
from gtm.model.errors import PublishError
from gtm.publish.dataplane.interface import Link, look
from gtm.publish.dataplane.link import Hook
from tests import balancing
from tests.dataplane.bpffs import mounted
from tests.lab.network import Host, switch

GOOD = Link(
    name="eth0", driver="mlx5_core", mtu_bytes=1600, queues=8, queues_max=32, lro=False, gro=True, strips_vlan=True
)
MACHINE = Machine(
    kernel="6.1.0-18-amd64",
    cpus=8,
    link=GOOD,
    xdp=Hook(program=None, mode=None),
    ours=False,
    bpffs=True,
    neighbours={ip_address("10.1.0.1"): bytes(6)},
    sysctls={"net/core/bpf_jit_enable": 1, "net/ipv4/ip_forward": 0},
)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Balancing:
    """An instance in native mode with an MTU of 1600, and backends by GUE and L2."""
    folder = tmp_path_factory.mktemp("deployment")
    balancing.write(folder, balancing.DATAPLANE.replace("address: 10.1.0.2,", "address: 10.1.0.2, mtu: 1600,"))
    return find_instance(folder)


def test_a_good_machine(found: Balancing) -> None:
    outcome = examined(found, MACHINE)
    assert outcome.ok
    assert outcome.findings == ()
    assert examined_text(outcome).endswith("ok")


def of_link(**more: Any) -> dict[str, Any]:
    return {"link": dataclasses.replace(GOOD, **more)}


@pytest.mark.parametrize(
    ("change", "severity", "message", "advice"),
    [
        ({"kernel": "5.10.0-28-amd64"}, "error", "older than 5.15", "a newer kernel"),
        ({"missing": ("libbpf.so.1",)}, "error", "is not there", "apt install libbpf1"),
        ({"missing": ("balance.bpf.o",)}, "error", "is not there", "make bpf"),
        ({"bpffs": False}, "error", "no bpffs", "mount -t bpf bpf /sys/fs/bpf"),
        ({"rights": ("CAP_BPF",)}, "warning", "has not CAP_BPF", "AmbientCapabilities"),
        ({"secret": "no such file"}, "error", "no such file", ""),
        ({"sysctls": {"net/core/bpf_jit_enable": 0}}, "error", "interpreted", "sysctl -w net.core.bpf_jit_enable=1"),
        ({"sysctls": {"net/ipv4/ip_forward": 1}}, "warning", "the kernel forwards", "sysctl -w net.ipv4.ip_forward=0"),
        ({"xdp": Hook(program=7, mode="native")}, "error", "another's XDP program (7)", "xdp off"),
        ({"xdp": Hook(program=7, mode="generic"), "ours": True}, "warning", "runs in generic mode", "--replace"),
        (of_link(up=False), "error", "is down", "ip link set dev eth0 up"),
        (of_link(lro=True), "error", "LRO joins packets", "ethtool -K eth0 lro off"),
        (of_link(mtu_bytes=9000), "warning", "no native XDP with an MTU of 9000", "mtu 3498"),
        (of_link(mtu_bytes=1500), "error", "its MTU is 1500, and dataplane/services.yaml says 1600", "mtu 1600"),
        (of_link(queues=2), "warning", "2 receive queues keep 6 of 8 CPUs idle", "ethtool -L eth0 combined 8"),
        (of_link(queues=2, queues_max=2), "warning", "2 receive queues keep 6 of 8 CPUs idle", ""),
        (of_link(vlans=("eth0.5",)), "warning", "takes tags off (eth0.5)", "ethtool -K eth0 rxvlan off"),
        (of_link(driver="veth"), "warning", "checksums may be unfinished", "tx off"),
        ({"neighbours": {ip_address("10.1.0.1"): None}}, "error", "10.1.0.1 does not answer", "ip neigh show dev eth0"),
        ({"own_vips": (ip_address("203.0.113.1"),)}, "warning", "203.0.113.1 is an address of this", "ip address del"),
    ],
)
def test_what_is_wrong_is_said_with_its_cure(
    found: Balancing, change: dict[str, Any], severity: str, message: str, advice: str
) -> None:
    outcome = examined(found, dataclasses.replace(MACHINE, **change))
    (finding,) = outcome.findings
    assert finding.severity == severity
    assert message in finding.message
    assert advice in (finding.advice or "")
    assert (finding.advice is None) is (advice == "")
    assert outcome.ok is (finding.severity is not Severity.ERROR)
    assert finding.message in examined_text(outcome)


def test_generic_mode_and_what_does_not_fit(tmp_path: Path) -> None:
    small = balancing.DATAPLANE.replace("address: 10.1.0.2,", "address: 10.1.0.2, mode: generic,")
    outcome = examined(find_instance(balancing.write(tmp_path, small)), MACHINE)
    messages = [each.message for each in outcome.findings]
    assert any("GRO joins packets" in each for each in messages)
    assert any("generic mode costs" in each for each in messages)
    assert any("packets of more than 1460 octets do not fit on the way to a1" in each for each in messages)
    assert any("advmss 1400" in (each.advice or "") for each in outcome.findings)
    assert outcome.ok


@pytest.fixture
def hosts() -> Iterator[dict[str, Host]]:
    with switch([("lb", ["10.1.0.2/24"]), ("rack", ["10.1.0.1/24"])]) as made:
        yield made


def test_an_interface_that_is_down(hosts: dict[str, Host]) -> None:
    assert hosts["lb"].inside(lambda: look("eth0")).up
    hosts["lb"].cut()
    assert not hosts["lb"].inside(lambda: look("eth0")).up


def test_a_real_interface(hosts: dict[str, Host], tmp_path: Path) -> None:
    there = hosts["lb"].inside(lambda: look("eth0"))
    assert (there.driver, there.mtu_bytes, there.lro) == ("veth", 1500, False)
    assert there.gro is not None
    assert (there.queues or 0) >= 1
    with pytest.raises(PublishError, match="there is no such interface"):
        hosts["lb"].inside(lambda: look("eth9"))
    folder = tmp_path / "deployment"
    folder.mkdir()
    balancing.write(folder)
    with mounted(tmp_path / "bpf") as bpffs:
        words = ("balance", "doctor", "--json", "-C", str(folder), "--pins", str(bpffs / "gtm"))
        done = subprocess.run(
            hosts["lb"].command(sys.executable, "-m", "gtm.cli.main", *words),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    outcome = json.loads(done.stdout)
    assert outcome["driver"] == "veth"
    assert outcome["attached"] is None
    assert outcome["neighbours"]["10.1.0.1"]
    assert outcome["neighbours"]["10.1.0.12"] is None  # of L2, and nobody is there
    assert any("10.1.0.12 does not answer" in each["message"] for each in outcome["findings"])
    assert done.returncode == 1
