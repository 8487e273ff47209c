"""Three instances, one address, three ways: how even, and what moves when one leaves, ordinary against resilient.

The routers run the very files of bgp/routers.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.lab.daemons import Bird, Exabgp, Frr, needs_routers
from tests.lab.fabric import Fabric, fabric, run, until
from tests.lab.flows import answering, ask, moved, shares

ROUTERS = Path(__file__).parents[2] / "bgp" / "routers"
NAMES = ("i1", "i2", "i3")
VIP4, VIP6 = "198.18.0.10", "2001:db8:18::10"
PREFIXES = (f"{VIP4}/32", f"{VIP6}/128")
FLOWS = 30_000
EVEN = 0.05  # of an even share
FIB = ("--prefix", "198.18.0.0/24", "--prefix", "2001:db8:18::/48", "--buckets", "1024")


def exabgp_conf(number: int, words: str = "") -> str:
    """A speaker that announces both addresses, with some attributes in ExaBGP's words."""
    return f"""neighbor 10.62.{number}.1 {{
  router-id 10.62.{number}.2; local-address 10.62.{number}.2; local-as {65010 + number}; peer-as 65000; hold-time 9;
  family {{ ipv4 unicast; ipv6 unicast; }}
  capability {{ graceful-restart disable; }}
  static {{
    route {VIP4}/32 next-hop 10.62.{number}.2 {words};
    route {VIP6}/128 next-hop fd62:{number}::2 {words};
  }}
}}
"""


class Lab:
    """A client, a router and three instances that announce."""

    def __init__(self, made: Fabric, kind: str) -> None:
        self.fabric = made
        self.router = made.host("r")
        self.client = made.host("c")
        made.join("r", "c", "62.9")
        for number, name in enumerate(NAMES, start=1):
            made.host(name)
            made.join("r", name, f"62.{number}")
        for name in ("c", *NAMES):
            for version in (4, 6):
                gate = {"c": "62.9"}.get(name) or f"62.{NAMES.index(name) + 1}"
                via = f"10.{gate}.1" if version == 4 else f"fd{gate.replace('.', ':')}::1"
                run("ip", f"-{version}", "-n", made.hosts[name].name, "route", "add", "default", "via", via)
        for name in NAMES:
            run("ip", "-n", made.hosts[name].name, "addr", "add", f"{VIP4}/32", "dev", "lo")
            run("ip", "-n", made.hosts[name].name, "addr", "add", f"{VIP6}/128", "dev", "lo", "nodad")
        run(*self.router.command("sysctl", "-q", "-p", str(ROUTERS / "sysctl.conf")))
        self.daemon: Bird | Frr | None = None
        if kind == "linux":
            run("ip", "-n", self.router.name, "-batch", str(ROUTERS / "linux.batch"))
        else:
            self.daemon = (Bird if kind == "bird" else Frr)(host=self.router, folder=made.folder / "router")
            self.daemon.start(text(f"{kind}.conf"))
        self.speakers: dict[str, Exabgp] = {}
        self.fib: subprocess.Popen[bytes] | None = None

    def announce(self, name: str, words: str = "") -> None:
        """An instance announces, from now on with these attributes."""
        folder = self.fabric.folder / name
        folder.mkdir(exist_ok=True)
        (folder / "exabgp.conf").write_text(exabgp_conf(NAMES.index(name) + 1, words))
        if name in self.speakers:
            self.speakers[name].signal(signal.SIGUSR1)  # read the configuration again
            return
        self.speakers[name] = Exabgp(host=self.fabric.hosts[name], folder=folder)
        self.speakers[name].start(folder / "exabgp.conf")

    def leave(self, name: str) -> None:
        """An instance ends its session."""
        speaker = self.speakers.pop(name)
        speaker.signal(signal.SIGTERM)
        assert speaker.process is not None
        speaker.process.wait(60)

    def weights(self, prefix: str) -> dict[str, int]:
        """The ways of the route that packets go by, with their weights, by link."""
        version = "-6" if ":" in prefix else "-4"
        found = json.loads(run("ip", "-j", version, "-n", self.router.name, "route", "show", prefix) or "[]")
        best: dict[str, Any] = min(found, key=lambda one: one.get("metric", 0), default={})
        if "nhid" in best and best.get("protocol") == "103":
            objects = {
                one["id"]: one for one in json.loads(run("ip", "-j", "-n", self.router.name, "nexthop", "show") or "[]")
            }
            return {objects[one["id"]]["dev"]: one.get("weight", 1) for one in objects[best["nhid"]]["group"]}
        hops = best.get("nexthops") or ([best] if "dev" in best else [])
        return {hop["dev"]: hop.get("weight", 1) for hop in hops}

    def is_resilient(self) -> bool:
        """Whether there are routes of `gtm fib` to both addresses."""
        return all(
            "nhid" in run("ip", version, "-n", self.router.name, "route", "show", prefix, "proto", "103")
            for version, prefix in zip(("-4", "-6"), PREFIXES, strict=True)
        )

    def told(self, words: str) -> int:
        """How many times the router's daemon says this of its paths to the address of which it says it least."""
        assert self.daemon is not None
        if isinstance(self.daemon, Bird):
            return min(self.daemon.show(f"show route {prefix} all").count(words) for prefix in PREFIXES)
        asked = (f"show bgp ipv{4 if prefix == PREFIXES[0] else 6} unicast {prefix} json" for prefix in PREFIXES)
        return min(json.dumps(self.daemon.show(words_asked)).count(words) for words_asked in asked)

    def gtm(self, *words: str) -> list[str]:
        """A `gtm fib` command on the router."""
        return self.router.command(sys.executable, "-m", "gtm.cli.main", "fib", *words, *FIB)

    def start_fib(self) -> None:
        """`gtm fib` with groups that are new, so that all flows are spread anew."""
        if self.fib is not None:
            self.fib.send_signal(signal.SIGTERM)
            assert self.fib.wait(60) == 0
            run(*self.gtm("clear"))
        with (self.fabric.folder / "fib.log").open("ab") as log:
            self.fib = subprocess.Popen(self.gtm("run"), stderr=log)
        self.router.processes.append(self.fib)
        until(self.is_resilient, "routes by groups")

    def ways(self, *names: str) -> None:
        """Wait until both routes go by these instances alone."""
        until(lambda: all(set(self.weights(prefix)) == set(names) for prefix in PREFIXES), f"by {' '.join(names)}")


def text(name: str) -> str:
    return (ROUTERS / name).read_text()


@contextmanager
def lab(kind: str) -> Iterator[Lab]:
    needs_routers()
    with fabric() as made:
        yield Lab(made, kind)


@dataclass
class Figures:
    """Of one kind of route to one address: how even flows are, and the share of the others' flows that each moves.

    `back` is the share of all flows that move when the last one that left is back: those that it gets are among them.
    """

    shares: dict[str, float]
    left: list[float] = field(default_factory=list)
    back: float | None = None


@pytest.mark.parametrize("kind", ["bird", "frr"])
def test_flows_are_even_and_stay_where_they_are(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    table: dict[tuple[str, str], Figures] = {}
    with lab(kind) as made, answering({name: made.fabric.hosts[name] for name in NAMES}, (VIP4, VIP6)):
        for name in NAMES:
            made.announce(name)
        made.ways(*NAMES)
        for how in ("ordinary", "resilient"):
            for name in NAMES:
                if how == "resilient":
                    made.start_fib()
                before = {vip: ask(made.client, vip, FLOWS) for vip in (VIP4, VIP6)}
                figures = {vip: table.setdefault((vip, how), Figures(shares(before[vip]))) for vip in before}
                made.leave(name)
                made.ways(*(other for other in NAMES if other != name))
                without = {vip: ask(made.client, vip, FLOWS) for vip in before}
                for vip, flows in before.items():
                    figures[vip].left.append(moved(flows, without[vip], name))
                made.announce(name)
                made.ways(*NAMES)
                for vip, flows in without.items() if name == NAMES[-1] else ():
                    figures[vip].back = moved(flows, ask(made.client, vip, FLOWS), name)
    with capsys.disabled():
        show(kind, table)
    for (_, how), found in table.items():
        assert all(abs(found.shares[name] * 3 - 1) <= EVEN for name in NAMES)
        assert how == "ordinary" or (*found.left, found.back) == (0.0,) * 4


def show(kind: str, table: dict[tuple[str, str], Figures]) -> None:
    """The table, past what pytest captures."""
    print(
        f"\n\n{kind}: {FLOWS:,} flows over three instances, and the share of the others' flows that move as one leaves"
        ", or of all as it comes back"
    )
    print(f"  {'address':17}{'groups':12}{'share of each':24}{'1st':>8}{'2nd':>8}{'3rd leaves':>12}{'3rd back':>10}")
    for (vip, how), found in table.items():
        even = "".join(f"{share:8.1%}" for share in found.shares.values())
        first, second, third = (f"{share:.1%}" for share in found.left)
        print(f"  {vip:17}{how:10}{even:26}{first:>8}{second:>8}{third:>12}{found.back:>10.1%}")


def test_linux_alone_spreads_flows_and_leaves_them_where_they_are() -> None:
    with lab("linux") as made, answering({name: made.fabric.hosts[name] for name in NAMES}, (VIP4, VIP6)):
        before = {vip: ask(made.client, vip, FLOWS) for vip in (VIP4, VIP6)}
        for vip, group, left, stay in ((VIP4, "110", "i2", "101/103"), (VIP6, "610", "i1", "602/603")):
            found = shares(before[vip])
            assert all(abs(found[name] * 3 - 1) <= EVEN for name in NAMES)
            words = ("replace", "id", group, "group", stay, "type", "resilient", "buckets", "1024", "idle_timer", "60")
            run("ip", "-n", made.router.name, "nexthop", *words, "unbalanced_timer", "0")
            flows = ask(made.client, vip, FLOWS)
            assert moved(before[vip], flows, left) == 0.0
            assert left not in flows.values()


def test_without_the_hash_of_ports_all_flows_of_a_client_go_to_one_instance() -> None:
    with lab("linux") as made, answering({name: made.fabric.hosts[name] for name in NAMES}, (VIP4, VIP6)):
        for version, vip in (("ipv4", VIP4), ("ipv6", VIP6)):
            assert len(set(ask(made.client, vip, 300).values())) == 3
            run(*made.router.command("sysctl", "-q", "-w", f"net.{version}.fib_multipath_hash_policy=0"))
            assert len(set(ask(made.client, vip, 300).values())) == 1


def weights_in_sixths(made: Lab, prefix: str) -> list[int]:
    weights = made.weights(prefix)
    return [round(6 * weights.get(name, 0) / max(1, sum(weights.values()))) for name in NAMES]


@pytest.mark.parametrize("kind", ["bird", "frr"])
def test_what_drains_an_instance_and_what_does_not(kind: str) -> None:
    with lab(kind) as made:
        for name in NAMES:
            made.announce(name)
        made.ways(*NAMES)
        made.announce("i2", "med 1000")
        until(lambda: made.told("BGP.med: 1000" if kind == "bird" else '"metric": 1000') == 1, "the MED is known")
        assert all(set(made.weights(prefix)) == set(NAMES) for prefix in PREFIXES)  # of another AS: not compared
        made.announce("i2", "as-path [ 65012 65012 65012 ]")
        made.ways("i1", "i3")
        made.announce("i2")
        made.ways(*NAMES)
        made.announce("i2", "community [ 65535:0 ]")  # GRACEFUL_SHUTDOWN, by the routers' own policy
        made.ways("i1", "i3")
        made.announce("i2")
        made.ways(*NAMES)
        for number, (name, share) in enumerate(zip(NAMES, (3, 1, 2), strict=True), start=1):
            made.announce(name, f"extended-community [ bandwidth:{65010 + number}:{share * 1000000} ]")
        if kind == "bird":
            until(lambda: made.told("(unknown 0x4004, ") == 3, "the bandwidths are known")
            assert all(weights_in_sixths(made, prefix) == [2, 2, 2] for prefix in PREFIXES)
            return
        until(lambda: all(weights_in_sixths(made, prefix) == [3, 1, 2] for prefix in PREFIXES), "weights 3:1:2")
        made.start_fib()
        until(lambda: all(weights_in_sixths(made, prefix) == [3, 1, 2] for prefix in PREFIXES), "weights of groups")
