"""Three instances, one address, three ways: how even, and what moves when one leaves, ordinary against resilient.

The routers run the very files of bgp/routers.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.lab.daemons import Bird, Exabgp, Frr, needs_routers
from tests.lab.fabric import Fabric, Fib, fabric, run, until
from tests.lab.flows import answering, ask, moved, shares

ROUTERS = Path(__file__).parents[2] / "bgp" / "routers"
NAMES = ("i1", "i2", "i3")
VIP4, VIP6 = "198.18.0.10", "2001:db8:18::10"
PREFIXES = (f"{VIP4}/32", f"{VIP6}/128")
FLOWS = 30_000
EVEN = 0.05  # of an even share


def exabgp_conf(number: int, bandwidth: int | None = None) -> str:
    """A speaker that announces both addresses, with a share of its own if it is to be told."""
    weight = "" if bandwidth is None else f" extended-community [ bandwidth:{65010 + number}:{bandwidth} ]"
    return f"""neighbor 10.62.{number}.1 {{
  router-id 10.62.{number}.2; local-address 10.62.{number}.2; local-as {65010 + number}; peer-as 65000; hold-time 9;
  family {{ ipv4 unicast; ipv6 unicast; }}
  capability {{ graceful-restart disable; }}
  static {{
    route {VIP4}/32 next-hop 10.62.{number}.2{weight};
    route {VIP6}/128 next-hop fd62:{number}::2{weight};
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
        folder = made.folder / "router"
        if kind == "bird":
            Bird(host=self.router, folder=folder).start(text("bird.conf"))
        else:
            Frr(host=self.router, folder=folder).start(text("frr.conf"))
        self.kind = kind
        self.speakers: dict[str, Exabgp] = {}

    def announce(self, name: str, bandwidth: int | None = None) -> None:
        """An instance announces."""
        number = NAMES.index(name) + 1
        folder = self.fabric.folder / name
        folder.mkdir(exist_ok=True)
        (folder / "exabgp.conf").write_text(exabgp_conf(number, bandwidth))
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

    def resilient(self) -> bool:
        """Whether packets to both addresses go by groups of `gtm fib`."""
        return all(
            "nhid" in run("ip", version, "-n", self.router.name, "route", "show", prefix, "proto", "103")
            for version, prefix in zip(("-4", "-6"), PREFIXES, strict=True)
        )

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


@pytest.mark.parametrize("kind", ["bird", "frr"])
def test_flows_are_even_and_stay_where_they_are(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    table: list[tuple[str, str, str, float]] = []
    with lab(kind) as made, answering({name: made.fabric.hosts[name] for name in NAMES}, (VIP4, VIP6)):
        for name in NAMES:
            made.announce(name)
        made.ways(*NAMES)
        for vip in (VIP4, VIP6):
            even = shares(ask(made.client, vip, FLOWS))
            assert all(abs(even[name] * 3 - 1) <= EVEN for name in NAMES), even
            table.append((vip, "share", "least and most", min(even.values())))
            table.append((vip, "share", "", max(even.values())))
        for how in ("ordinary", "resilient"):
            if how == "resilient":
                words = ("fib", "run", "--prefix", "198.18.0.0/24", "--prefix", "2001:db8:18::/48", "--buckets", "1024")
                command = (sys.executable, "-m", "gtm.cli.main", *words)
                made.router.start(*command, log=made.fabric.folder / "fib.log")
                until(made.resilient, "both routes have groups")
            for name in NAMES:
                made.ways(*NAMES)
                before = {vip: ask(made.client, vip, FLOWS) for vip in (VIP4, VIP6)}
                made.leave(name)
                made.ways(*(other for other in NAMES if other != name))
                for vip, flows in before.items():
                    share = moved(flows, ask(made.client, vip, FLOWS), name)
                    table.append((vip, how, name, share))
                    assert how == "ordinary" or share == 0.0
                made.announce(name)
            made.ways(*NAMES)
    with capsys.disabled():
        show(kind, table)


def show(kind: str, table: list[tuple[str, str, str, float]]) -> None:
    """The table, past what pytest captures."""
    print(f"\n\n{kind}: {FLOWS:,} flows, three instances")
    for vip, how, name, share in table:
        what = f"{how} {name}" if how == "share" else f"{how}: flows of the others that move as {name} leaves"
        print(f"  {vip:16}  {what:66} {share:7.1%}")


def test_frr_takes_weights_from_link_bandwidth() -> None:
    with lab("frr") as made:
        for name, bandwidth in zip(NAMES, (3_000_000, 1_000_000, 2_000_000), strict=True):
            made.announce(name, bandwidth)
        made.ways(*NAMES)

        def in_proportion() -> bool:
            weights = made.weights(PREFIXES[0])
            total = sum(weights.values())
            return [round(6 * weights.get(name, 0) / total) for name in NAMES] == [3, 1, 2]

        until(in_proportion, "weights as three to one to two")


@pytest.mark.parametrize("kind", ["bird", "frr"])
def test_graceful_shutdown_moves_flows_before_the_route_goes(kind: str) -> None:
    with lab(kind) as made, Fib(made.router, PREFIXES):
        for name in NAMES:
            made.announce(name)
        made.ways(*NAMES)
        folder = made.fabric.folder / "i2"
        conf = (folder / "exabgp.conf").read_text()
        (folder / "exabgp.conf").write_text(conf.replace(".2;\n", ".2 community [ 65535:0 ];\n").replace(
            "::2;\n", "::2 community [ 65535:0 ];\n"))  # fmt: skip
        made.speakers["i2"].signal(signal.SIGUSR1)  # read the configuration again
        made.ways("i1", "i3")
