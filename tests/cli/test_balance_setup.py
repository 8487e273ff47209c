"""`gtm balance setup`: what a backend's machine needs, and that a shell takes it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from gtm.app.balance.setup import BackendSetup, setup
from gtm.cli.main import main
from tests.balancing import write
from tests.lab.network import switch

FILE = """\
secret_env: X
services:
  web:
    vips: [203.0.113.1, "2001:db8:61::1"]
    ports: tcp/80
    backends:
      gue: {address: 10.1.0.11, region: us-east, wrap: gue, gue_port: 6090}
      ipip: {address: 10.1.0.12, region: us-east}
      six: {address: "2001:db8:b::13", region: us-east, wrap: gre}
      l2: {address: 10.1.0.14, wrap: l2}
      gue6: {address: "2001:db8:b::15", region: us-east, wrap: gue}
      lost: {address: 10.1.0.16, region: eu-west}
  dns: {vips: 203.0.113.2, ports: udp/53, backends: {a: {address: 10.1.0.12, region: us-east, wrap: gue}}}
  log: {vips: 203.0.113.3, ports: udp/514, backends: {a: {address: 10.1.0.11, region: us-east, wrap: gue}}}
instances:
  small: &one
    region: us-east
    interface: eth0
    address: [10.1.0.2, "2001:db8:a:1::2"]
    source: [172.31.0.0/16, "fd00:31::/112"]
    gateways: {rack: 10.1.0.1}
  small2:
    region: us-east
    interface: eth0
    address: [10.1.0.5, "2001:db8:a:2::2"]
    source: [172.30.0.0/16, "fd00:31::/64"]
    gateways: {rack: 10.1.0.1}
    mtu: 1600
"""


def found(tmp_path: Path, name: str) -> BackendSetup:
    return setup(write(tmp_path, FILE), name, interface="eth0")


def test_gue_comes_from_the_instances_own_addresses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["balance", "setup", "web/gue", "--interface", "bond0", "-C", str(write(tmp_path, FILE))]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "# 10.1.0.11, which is web/gue, log/a: gue from small, small2",
        "ip address replace 203.0.113.1/32 dev lo",
        "ip address replace 2001:db8:61::1/128 dev lo",
        "ip address replace 203.0.113.3/32 dev lo",
        "sysctl -w net.ipv4.conf.all.arp_ignore=1",
        "sysctl -w net.ipv4.conf.all.arp_announce=2",
        "sysctl -w net.ipv4.conf.all.rp_filter=0",
        "sysctl -w net.ipv4.conf.bond0.rp_filter=0",
        "gtm balance decap bond0 --from 10.1.0.0/29",
        "ip route change $(ip route show default) advmss 1428",
        "ip -6 route change $(ip -6 route show default) advmss 1408",
        "# note: it unwraps GUE at one port, not at 6080 and 6090: have one gue_port for it",
    ]


def test_others_from_their_source_networks(tmp_path: Path) -> None:
    six = found(tmp_path, "web/six")
    assert list(map(str, six.sources)) == ["fd00:31::/64"]
    assert (six.port, six.advmss4, six.advmss6) == (None, 1416, 1396)
    assert "gtm balance decap eth0 --from fd00:31::/64" in six.commands


def test_two_wraps_on_one_machine_need_one_network(tmp_path: Path) -> None:
    both = found(tmp_path, "dns/a")
    assert both.backends == ("web/ipip", "dns/a")
    assert both.wraps == ("ipip", "gue")
    assert both.sources == ()
    (note,) = both.notes
    assert note == (
        "no one network (an IPv4 network) holds the outer sources 10.1.0.2/32, 10.1.0.5/32, 172.30.0.0/16, "
        "172.31.0.0/16: move them together"
    )
    assert not any("decap" in command for command in both.commands)


def test_ipv6_sources_are_in_one_64(tmp_path: Path) -> None:
    (note,) = found(tmp_path, "web/gue6").notes
    assert note.startswith("no one network (an IPv6 /64) holds the outer sources 2001:db8:a:1::2/128, 2001:db8:a:2::2")


def test_l2_needs_its_vips_and_quiet(tmp_path: Path) -> None:
    l2 = found(tmp_path, "web/l2")
    assert (l2.sources, l2.advmss4, l2.advmss6, l2.instances) == ((), None, None, ("small", "small2"))
    assert [command.split()[0] for command in l2.commands] == ["ip", "ip", "sysctl", "sysctl"]


def test_whom_nobody_uses_is_told(tmp_path: Path) -> None:
    lost = found(tmp_path, "web/lost")
    assert (lost.instances, lost.notes) == ((), ("no instance uses it: there is none in its region",))


def test_a_backend_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["balance", "setup", "web/gu", "--json", "-C", str(write(tmp_path, FILE))]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["known"][0] == "web/gue"


def test_a_shell_takes_it_again_and_again(tmp_path: Path) -> None:
    commands = [each for each in found(tmp_path, "web/gue").commands if not each.startswith("gtm ")]
    with switch([("own", ["10.1.0.11/24", "2001:db8:b::11/64"])]) as hosts:
        routes = ("ip route add default via 10.1.0.1", "ip -6 route add default via 2001:db8:b::1")
        for script in (routes, commands, commands):
            done = subprocess.run(
                hosts["own"].command("sh", "-e"),
                input="\n".join(script),
                text=True,
                capture_output=True,
                timeout=60,
                check=False,
            )
            assert (done.returncode, done.stderr) == (0, "")
        shown = subprocess.run(
            hosts["own"].command("ip", "route"), text=True, capture_output=True, timeout=60, check=True
        )
        assert "default via 10.1.0.1 dev eth0 advmss 1428" in shown.stdout


@pytest.mark.parametrize("name", ["", "a;reboot", "$(id)", "eth0 eth1", "a" * 16, "..", "-\n"])
def test_an_interface_that_is_none_gets_into_no_shell(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    where = str(write(tmp_path, FILE))
    assert main(["balance", "setup", "web/gue", f"--interface={name}", "-C", where]) == 2
    assert "is not an interface (allowed: " in capsys.readouterr().err
