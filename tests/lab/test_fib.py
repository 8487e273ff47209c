"""`gtm fib` on a router whose daemon is played by static routes of its protocol."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.fabric import Fabric, fabric, run, until
from tests.lab.network import Host

VIPS = {4: "198.18.0.10/32", 6: "2001:db8:18::10/128"}
NAMES = ("i1", "i2", "i3")
PREFIXES = ("--prefix", "198.18.0.0/24", "--prefix", "2001:db8:18::/48", "--from", "bird")


@pytest.fixture
def lab() -> Iterator[Fabric]:
    """A router with three instances."""
    with fabric() as made:
        made.host("r")
        for number, name in enumerate(NAMES, start=1):
            made.host(name)
            made.join("r", name, f"62.{number}")
        yield made


def ip(host: Host, *words: str) -> Any:
    return json.loads(run("ip", "-j", "-n", host.name, *words) or "[]")


def daemon(router: Host, names: tuple[str, ...], *, weights: tuple[int, ...] = (1, 1, 1)) -> None:
    """What BIRD would install."""
    for version, vip in VIPS.items():
        hops: list[str] = []
        for name, weight in zip(names, weights, strict=False):
            number = NAMES.index(name) + 1
            via = f"10.62.{number}.2" if version == 4 else f"fd62:{number}::2"
            hops += ["nexthop", "via", via, "dev", name, "weight", str(weight)]
        what = ("replace", vip, *hops) if names else ("del", vip)
        run(
            "ip",
            f"-{version}",
            "-n",
            router.name,
            "route",
            what[0],
            what[1],
            "proto",
            "bird",
            "metric",
            "32",
            *what[2:],
        )


def gtm(router: Host, *words: str) -> subprocess.CompletedProcess[str]:
    command = router.command(sys.executable, "-m", "gtm.cli.main", "fib", *words, *PREFIXES)
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def members(router: Host, version: int) -> dict[str, int]:
    """The links of the group that packets to the VIP go by, with weights; empty where they go by the daemon's route."""
    best: dict[str, Any] = min(
        ip(router, f"-{version}", "route", "show", VIPS[version]), key=lambda one: one["metric"], default={}
    )
    if best.get("protocol") != "103":
        return {}
    objects = {one["id"]: one for one in ip(router, "nexthop", "show", "protocol", "103")}
    group = objects[best["nhid"]]
    assert group["type"] == "resilient"
    return {objects[one["id"]]["dev"]: one.get("weight", 1) for one in group["group"]}


def everywhere(router: Host, wanted: dict[str, int]) -> bool:
    return all(members(router, version) == wanted for version in VIPS)


def test_groups_follow_the_daemon_through_its_changes_and_restarts(lab: Fabric) -> None:
    router = lab.hosts["r"]
    run("ip", "-n", router.name, "nexthop", "add", "id", "7", "via", "10.62.1.2", "dev", "i1")  # somebody else's
    daemon(router, NAMES)
    assert "nhid" in gtm(router, "plan").stdout
    assert members(router, 4) == {}  # a plan changes nothing
    fib = router.start(sys.executable, "-m", "gtm.cli.main", "fib", "run", *PREFIXES, log=lab.folder / "fib.log")
    until(lambda: everywhere(router, dict.fromkeys(NAMES, 1)), "groups of three")
    assert gtm(router, "plan").stdout.strip() == "nothing to change"

    daemon(router, ("i1", "i3"))
    until(lambda: everywhere(router, {"i1": 1, "i3": 1}), "i2 is gone")
    daemon(router, NAMES, weights=(3, 1, 2))
    until(lambda: everywhere(router, {"i1": 3, "i2": 1, "i3": 2}), "i2 is back, with weights")

    lab.unplug(router, "i2")  # the kernel removes the object itself, and the daemon its hop
    daemon(router, ("i1", "i3"))
    until(lambda: everywhere(router, {"i1": 1, "i3": 1}), "i2's link is down")
    lab.plug(router, "i2")
    until(lambda: ip(router, "link", "show", "i2")[0]["operstate"] == "UP", "the link is up")
    daemon(router, NAMES)
    until(lambda: everywhere(router, dict.fromkeys(NAMES, 1)), "i2 is there again")

    fib.send_signal(signal.SIGKILL)
    fib.wait(60)
    assert everywhere(router, dict.fromkeys(NAMES, 1))  # fail static
    daemon(router, ("i2",))
    fib = router.start(sys.executable, "-m", "gtm.cli.main", "fib", "run", *PREFIXES, log=lab.folder / "fib.log")
    until(lambda: everywhere(router, {"i2": 1}), "what happened meanwhile is followed")

    daemon(router, ())
    until(lambda: not ip(router, "-4", "route", "show", VIPS[4]), "no route, no group")
    until(lambda: not ip(router, "nexthop", "show", "protocol", "103"), "and no object of ours")
    daemon(router, NAMES)
    until(lambda: everywhere(router, dict.fromkeys(NAMES, 1)), "and again")

    fib.send_signal(signal.SIGTERM)
    assert fib.wait(60) == 0
    assert everywhere(router, dict.fromkeys(NAMES, 1))
    shown = json.loads(gtm(router, "show", "--json").stdout)["routes"]
    assert [(one["prefix"], one["kept"], [hop["link"] for hop in one["hops"]]) for one in shown] == [
        (VIPS[4], True, list(NAMES)),
        (VIPS[6], True, list(NAMES)),
    ]
    assert "no route 198.18.0.10/32" in gtm(router, "clear").stdout
    assert everywhere(router, {})
    assert gtm(router, "clear").stdout.strip() == "nothing of ours is there"
    assert len(ip(router, "-4", "route", "show", VIPS[4])) == 1  # the daemon's stands
    assert [one["id"] for one in ip(router, "nexthop", "show")] == [7]


def test_what_is_outside_the_prefixes_is_left_alone(lab: Fabric) -> None:
    router = lab.hosts["r"]
    run("ip", "-n", router.name, "route", "add", "192.0.2.0/24", "proto", "bird", "nexthop", "via", "10.62.1.2",
        "nexthop", "via", "10.62.2.2")  # fmt: skip
    run("ip", "-n", router.name, "route", "add", VIPS[4], "proto", "static", "via", "10.62.1.2")
    assert gtm(router, "run", "--once").returncode == 0
    assert ip(router, "nexthop", "show") == []


def test_without_the_right_to_change_routes_the_reason_is_given(lab: Fabric) -> None:
    router = lab.hosts["r"]
    daemon(router, NAMES)
    words = ("setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin")
    command = router.command(*words, sys.executable, "-m", "gtm.cli.main", "fib", "run", "--once", *PREFIXES)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "Operation not permitted" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("far", [False, True])
def test_a_link_that_is_down_is_out_of_the_groups_and_back_with_it(lab: Fabric, far: bool) -> None:
    """The daemon has not noticed: it never does where it was stopped."""
    router = lab.hosts["r"]
    host, name = (lab.hosts["i2"], "r") if far else (router, "i2")
    daemon(router, NAMES)
    fib = router.start(sys.executable, "-m", "gtm.cli.main", "fib", "run", *PREFIXES, log=lab.folder / "fib.log")
    until(lambda: everywhere(router, dict.fromkeys(NAMES, 1)), "groups of three")
    lab.unplug(host, name)
    until(lambda: everywhere(router, {"i1": 1, "i3": 1}), "i2 is out")
    other = "198.18.0.11/32"  # something else happens while the link is down
    run("ip", "-n", router.name, "route", "add", other, "proto", "bird", "metric", "32", "via", "10.62.1.2")
    until(lambda: bool(ip(router, "route", "show", other, "proto", "103")), "another route has a group")
    lab.plug(host, name)
    until(lambda: everywhere(router, dict.fromkeys(NAMES, 1)), "i2 is back, and the daemon has said nothing")
    assert fib.poll() is None


def test_other_settings_are_taken_over_at_a_start(lab: Fabric) -> None:
    router = lab.hosts["r"]
    daemon(router, NAMES)
    for words, wanted in (
        (("--buckets", "64"), {"buckets": 64, "idle_timer": 60}),
        (("--buckets", "1024", "--idle", "2m"), {"buckets": 1024, "idle_timer": 120}),
    ):
        assert gtm(router, "run", "--once", *words).returncode == 0
        assert everywhere(router, dict.fromkeys(NAMES, 1))
        groups = [one for one in ip(router, "nexthop", "show", "protocol", "103") if "group" in one]
        assert len(groups) == 2
        assert all(group["resilient_args"].items() >= wanted.items() for group in groups)


def test_a_route_of_others_is_never_replaced(lab: Fabric) -> None:
    router = lab.hosts["r"]
    daemon(router, NAMES)
    done = gtm(router, "run", "--once", "--metric", "32")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--metric" in done.stderr
    assert "198.18.0.10/32 of the routing daemon has metric 32, and ours must be smaller" in done.stderr
    for version, via in ((4, "10.62.1.2"), (6, "fd62:1::2")):
        where = (f"-{version}", "-n", router.name, "route")
        run("ip", *where, "add", VIPS[version], "proto", "static", "metric", "10", "via", via)
        done = gtm(router, "run", "--once")
        assert done.returncode == 1
        assert "another's route has this metric" in done.stderr
        assert {one["protocol"] for one in ip(router, f"-{version}", "route", "show", VIPS[version])} == {
            "bird",
            "static",
        }
        run("ip", *where, "del", VIPS[version], "proto", "static")
    assert gtm(router, "run", "--once").returncode == 0
    assert everywhere(router, dict.fromkeys(NAMES, 1))
