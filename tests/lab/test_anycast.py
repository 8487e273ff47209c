"""Four PoPs announce one address to routers of two kinds: what the routers have, who answers whom, how a PoP goes.

    us-east --- r1 FRR  ==== r2 BIRD --- eu-west         transit-a, AS 64496
                 |            |
    us-west --- r4 BIRD ==== r3 FRR  --- ap-southeast    transit-b, AS 64497

Behind each router is a client, whose nearest PoP is that router's. Machines that run tests are shared, so what is lost
is asserted and what took how long is printed; a silence is asserted with SLACK_S to spare.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from gtm.model.announcing import ServiceReport
from gtm.model.anycast import Phase
from tests.lab.answers import PATIENCE_S, PORT, Answers, Client, Health, tcp_answer
from tests.lab.daemons import needs_routers
from tests.lab.fabric import fabric, only, run, until, without
from tests.lab.network import overflowed
from tests.lab.pops import PREFIXES, VIPS, Peer, Pop, Router, Seen, World, default_route, start_etcd, write_deployment

SLACK_S = 20.0
HOLD_S = 2.0
ROUTERS = {"r1": ("FRR", 64496), "r2": ("BIRD", 64496), "r3": ("FRR", 64497), "r4": ("BIRD", 64497)}
POPS = {"us-east": "r1", "eu-west": "r2", "ap-southeast": "r3", "us-west": "r4"}
RING = {"83.12": ("r1", "r2"), "83.23": ("r2", "r3"), "83.34": ("r3", "r4"), "83.41": ("r4", "r1")}

SERVICE = {
    "local": "web",
    "interval": "500ms",
    "fast_interval": "100ms",
    "rise": 2,
    "fall": 3,
    "base": {"communities": ["64500:100", "64500:1:1", "target:64500:7"], "words": "only-here"},
    "providers": {"transit-b": {"prepend": 1}},
    "addresses": list(VIPS),
    "ports": [PORT],
}
LADDER = [
    {"name": "dns", "hold": f"{HOLD_S:g}s"},
    {"name": "graceful-shutdown", "communities": "graceful-shutdown", "hold": f"{HOLD_S:g}s"},
    {"name": "unattractive", "med": 1000, "prepend": 3, "hold": f"{HOLD_S:g}s"},
    {"name": "connections", "connections": 0, "deadline": "5s"},
    {"name": "withdraw", "announce": False, "hold": f"{HOLD_S:g}s"},
    {"name": "address", "address": False},
]
MORE = {"ladder": LADDER, "guard": {"leave_window": "2s", "damping": False}, "lease": {"ttl": "2s"}}

OF_A = Seen(
    med=100,
    as_path=(64500,),
    communities=frozenset({"64500:100"}),
    extended=frozenset({"64500:7"}),
    large=frozenset({"64500:1:1", "64496:2:1"}),
    local_pref=200,
)
OF_B = replace(
    OF_A, as_path=(64500, 64500), communities=frozenset({"64500:100", "64497:10"}), large=frozenset({"64500:1:1"})
)


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: what happened, how long until the kernel showed it, and what the clients had of it.

    `overflowed`: packets that this machine dropped meanwhile, for whatever runs on it, because its backlogs were full.
    """

    what: str
    seen_s: float | None
    asked: int
    lost: int
    overflowed: int
    silence_s: float
    bound_s: float


@dataclass(slots=True)
class Story:
    """What has happened so far."""

    world: World
    answers: Answers
    health: dict[str, Health] = field(default_factory=dict)
    clients: dict[str, list[Client]] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    @contextmanager
    def chapter(self, what: str, *, bound_s: float = 0.0) -> Iterator[list[float]]:
        """Something happens in the block, which says how long it took; at its end the clients are asked.

        A bound of 0 means that no answer is lost, others how long a client may be without one.
        """
        since_s, before = time.monotonic(), overflowed()
        took_s: list[float] = []
        yield took_s
        time.sleep(PATIENCE_S + 0.1)  # until the last question of the block is answered or lost
        until_s = time.monotonic()
        clients = self.answers.clients
        self.rows.append(
            Row(
                what=what, seen_s=max(took_s, default=None), bound_s=bound_s,
                asked=sum(client.asked(since_s, until_s) for client in clients),
                lost=sum(client.lost(since_s, until_s) for client in clients),
                overflowed=overflowed() - before,
                silence_s=max(client.silence_s(since_s, until_s) for client in clients),
            )
        )  # fmt: skip

    def pop(self, region: str) -> Pop:
        return self.world.pops[region]

    def answered(self, who: dict[str, str]) -> bool:
        """Whether each region's client, by v4 and v6, hears this PoP."""
        return all(client.last() == who[region] for region, some in self.clients.items() for client in some)

    def nearest(self, **elsewhere: str) -> None:
        """Wait until each client hears its nearest PoP, but for those that are elsewhere."""
        who = {region: elsewhere.get(region.replace("-", "_"), region) for region in POPS}
        until(lambda: self.answered(who), f"clients hear {who}, not {self.heard()}")

    def heard(self) -> dict[str, list[str]]:
        return {region: [client.last() for client in some] for region, some in self.clients.items()}


def test_four_pops_one_of_them_drained_and_killed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needs_routers()
    with fabric() as made, World(fabric=made) as world, Answers() as answers:
        story = Story(world=world, answers=answers)
        build(story, tmp_path)
        told = ""
        try:
            they_announce(story)
            what_the_routers_have_is_what_was_declared(story)
            clients_hear_their_nearest(story)
            a_pop_is_drained_and_killed(story, "us-east")
            it_returns(story, "us-east")
            another_fails_its_checks(story, "eu-west")
            another_is_killed(story, "ap-southeast")
        finally:
            told = "\n".join(pop.exabgp.log() for pop in world.pops.values())
            with capsys.disabled():
                print(f"\n{table(story.rows)}")
    assert [row for row in story.rows if row.lost > row.overflowed and not row.bound_s] == []
    assert [row for row in story.rows if row.silence_s > row.bound_s + SLACK_S] == []
    assert "Traceback" not in told


def build(story: Story, folder: Path) -> None:
    """Everything but the announcements."""
    world = story.world
    for name, (kind, asn) in ROUTERS.items():
        world.router(name, kind, asn)
    for number, (region, beside) in enumerate(POPS.items(), start=1):
        world.pop(region, region, beside, f"81.{number}", folder)
        client = world.fabric.host(f"c{number}")
        world.fabric.join(beside, f"c{number}", f"82.{number}")
        default_route(client, f"82.{number}")
    for subnet, (left, right) in RING.items():
        world.fabric.join(left, right, subnet)
    pops = list(world.pops.values())
    start_etcd(world.fabric, pops, folder)
    for name, router in world.routers.items():
        router.configure(sessions(world, name, router))
    for pop in pops:
        write_deployment(pop, pops, service=SERVICE, session={"ttl_security": 1}, more=MORE)
        story.health[pop.node] = story.answers.admit(pop.host, pop.node)
        story.answers.serve(pop.host, pop.node, VIPS)
    for number, region in enumerate(POPS, start=1):
        host = world.fabric.hosts[f"c{number}"]
        story.clients[region] = [story.answers.ask(host, region, address) for address in VIPS]


def sessions(world: World, name: str, router: Router) -> Iterator[Peer]:
    """The sessions of a router: with its PoP, and with both its neighbours on the ring."""
    # Transits prefer what customers announce to what other transits do.
    yield from (world.peer(pop, gtsm=True, preferred=True) for pop in world.pops.values() if pop.router is router)
    for subnet, ends in RING.items():
        if name in ends:
            mine = 1 + ends.index(name)
            far = ends[2 - mine]
            asn = ROUTERS[far][1]
            yield Peer(name=far, address=f"10.{subnet}.{3 - mine}", local=f"10.{subnet}.{mine}", asn=asn)


def they_announce(story: Story) -> None:
    began_s = {}
    for pop in story.world.pops.values():
        began_s[pop.node] = time.monotonic()
        pop.announce()
    took_s = [used(pop, since_s=began_s[pop.node]) - began_s[pop.node] for pop in story.world.pops.values()]
    story.nearest()
    routers = story.world.routers.values()
    until(lambda: all(router.is_up(peer.name) for router in routers for peer in router.peers), "all sessions are up")
    with story.chapter("four PoPs are announced, from ExaBGP's start") as took:
        took.extend(took_s)


def used(pop: Pop, *, since_s: float) -> float:
    """When a PoP's router sent both prefixes to it."""
    fib, doing = pop.router.fib, f"{pop.node} is used"
    return max(fib.wait(prefix, only(pop.gateway(prefix)), doing, since_s=since_s) for prefix in PREFIXES)


def unused(pop: Pop, *, since_s: float) -> float:
    """When a PoP's router sent both prefixes elsewhere."""
    fib, doing = pop.router.fib, f"{pop.node} is unused"
    return max(fib.wait(prefix, without(pop.gateway(prefix)), doing, since_s=since_s) for prefix in PREFIXES)


def wait_until_seen(pop: Pop, wanted: Seen | None, doing: str) -> None:
    """Wait until a PoP's router has both prefixes from it like this, or not at all."""
    router, name = pop.router, pop.node
    until(lambda: all(router.seen(prefix, name) == wanted for prefix in PREFIXES), f"{doing} is seen by {router.name}")


def what_the_routers_have_is_what_was_declared(story: Story) -> None:
    for pop in story.world.pops.values():
        for prefix in PREFIXES:
            assert pop.router.seen(prefix, pop.node) == (OF_A if pop.router.asn == 64496 else OF_B), pop.node


def clients_hear_their_nearest(story: Story) -> None:
    for number, region in enumerate(POPS, start=1):
        host = story.world.fabric.hosts[f"c{number}"]
        assert [tcp_answer(host, address) for address in VIPS] == [region, region]


def on_rung(story: Story, region: str, rung: str) -> ServiceReport:
    """Wait until a PoP is on a rung of the ladder, or below it; what it says."""

    def there() -> bool:
        said = story.pop(region).report()
        return said is not None and rung in said.services[0].rungs

    until(there, f"{region} is on the rung {rung}", every_s=0.005)
    said = story.pop(region).report()
    assert said is not None
    return said.services[0]


def since_s(said: ServiceReport, rung: str) -> float:
    """When the rung began, by our clock; it must be the one that it is on."""
    assert said.rung == rung
    assert said.rung_since_s is not None
    return said.rung_since_s - time.time() + time.monotonic()


def a_pop_is_drained_and_killed(story: Story, region: str) -> None:
    pop = story.pop(region)
    start_controller(pop)
    with story.chapter("drain: ordered, until the first rung") as took:
        at_s = time.monotonic()
        pop.gtm("drain", f"region/{region}", "--reason", "a test")
        on_rung(story, region, "dns")
        took.append(time.monotonic() - at_s)
    honoured = replace(OF_A, communities=OF_A.communities | {"65535:0"}, local_pref=0)
    looks = {
        "graceful-shutdown": honoured,
        "unattractive": replace(honoured, med=1000, as_path=(64500,) * 4),
        "withdraw": None,
    }
    for rung, wanted in looks.items():
        with story.chapter(f"drain: rung {rung}") as took:
            began_s = since_s(on_rung(story, region, rung), rung)
            if rung == "graceful-shutdown":
                took.append(unused(pop, since_s=began_s) - began_s)
            wait_until_seen(pop, wanted, rung)
    with story.chapter("drain: rung address"):
        until(lambda: pop.phase() is Phase.DRAINED, f"{region} is drained")
        until(lambda: not addresses(pop), "the addresses are gone")
    story.nearest(us_east="eu-west")
    with story.chapter("the drained PoP is killed -9"):
        story.answers.die(region)
        pop.exabgp.signal(signal.SIGKILL)
    story.nearest(us_east="eu-west")


def it_returns(story: Story, region: str) -> None:
    pop = story.pop(region)
    assert pop.exabgp.process is not None
    pop.exabgp.process.wait(60)
    story.answers.serve(pop.host, region, VIPS)
    story.health[region] = story.answers.admit(pop.host, region)
    with story.chapter("it is started again and undrained, from the order") as took:
        pop.announce()
        until(lambda: pop.phase() is Phase.DRAINED, "it is still drained")
        at_s = time.monotonic()
        pop.gtm("undrain", f"region/{region}")
        took.append(used(pop, since_s=at_s) - at_s)
        story.nearest()


def another_fails_its_checks(story: Story, region: str) -> None:
    pop, health = story.pop(region), story.health[region]
    with story.chapter("a PoP fails its checks, from the last one that was needed") as took:
        health.well = False
        until(lambda: len(health.failures_s) >= 3, "checks fail")
        took.append(unused(pop, since_s=health.failures_s[2]) - health.failures_s[2])
        story.nearest(eu_west="us-east")
    with story.chapter("it is well again, from the first good check's time") as took:
        at_s = time.monotonic()
        health.well = True
        took.append(used(pop, since_s=at_s) - at_s)
        story.nearest()


def another_is_killed(story: Story, region: str) -> None:
    pop = story.pop(region)
    with story.chapter("a PoP that is in use is killed -9, instance and all", bound_s=1.0) as took:
        at_s = time.monotonic()
        story.answers.die(region)
        pop.exabgp.signal(signal.SIGKILL)
        took.append(unused(pop, since_s=at_s) - at_s)
        story.nearest(ap_southeast="us-west")


def addresses(pop: Pop) -> list[str]:
    """The service's addresses that a PoP's host has."""
    said = run("ip", "-n", pop.host.name, "-o", "addr", "show")
    return [address for address in VIPS if f" {address}/" in said]


def start_controller(pop: Pop) -> None:
    """`gtm serve` in a PoP, which takes orders."""
    process = pop.host.start(
        sys.executable, "-m", "gtm.cli.main", "serve", "-C", str(pop.folder), "--json",
        log=pop.folder / "serve.log", stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    line = process.stdout.readline()
    assert b"serving" in line, (pop.folder / "serve.log").read_text()


def table(rows: list[Row]) -> str:
    """The table that people read."""
    lines = [["what happened", "kernel after ms", "asked", "lost", "longest silence ms", "bound"]]
    for row in rows:
        took = "" if row.seen_s is None else f"{1000 * row.seen_s:.1f}"
        bound = f"{1000 * row.bound_s:.0f} ms" if row.bound_s else "none lost"
        lines.append([row.what, took, str(row.asked), str(row.lost), f"{1000 * row.silence_s:.0f}", bound])
    widths = [max(len(line[column]) for line in lines) for column in range(6)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
