"""Real clients beside a flood of random sources: what they complete with it, unprotected and protected, and without.

client - router - balancer - three backends, each in a network namespace of its own and all of it on one CPU. The kernel
makes the flood (BPF_F_TEST_XDP_LIVE_FRAMES) right at the balancer's link. In the windows without it the same frames are
made and end in a sink, so that the CPU has as much left. Needs root and kernel 5.18.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if not __package__:
    sys.path[0] = str(ROOT)  # this folder, first on the path, would hide dnspython's `dns`

import argparse
import json
import os
import statistics
import time
from dataclasses import asdict, dataclass, field
from ipaddress import ip_address

from gtm.decide.guard_policy import Machine, policy
from gtm.model.balance import Mode, Protection, Rate, Rule, Service, SourceRate
from gtm.publish.dataplane import bpf
from gtm.publish.dataplane.guard import Guard
from gtm.publish.dataplane.jiffies import measure
from gtm.publish.dataplane.maps import OBJECT
from tests.lab.balance import IPIP, SEED, VIPS, Rack, rack
from tests.lab.clients import Load, load
from tests.lab.fabric import run
from tests.lab.flood import UDP, Kind, flooding, frame

KINDS = {
    "SYN": Kind(target=VIPS[0]),
    "UDP": Kind(target=VIPS[0], protocol=UDP),
}
RATE, WINDOW_S, ROUNDS, QUICK = 100_000, 0.5, 30, 4
KEPT, ANEW = 16, 2
GOAL = 0.95  # of what is completed without a flood
SINK = "sink"
PROTECTION = Protection(
    rules={
        Rule.DENY: Mode.ON,
        Rule.MALFORMED: Mode.ON,
        Rule.AMPLIFICATION: Mode.ON,
        Rule.SOURCE_RATE: Mode.ON,
        Rule.VIP_RATE: Mode.ON,
    },
    source_rate=SourceRate(rate=Rate(packets_per_s=50_000, burst=50_000)),
    vip_rate=Rate(packets_per_s=2_000, burst=500),
)


@dataclass(slots=True)
class Row:
    """A flood, with a guard or without: requests a second in each round, beside those without the flood."""

    flood: str
    guarded: bool
    flooded: list[float] = field(default_factory=list)
    unloaded: list[float] = field(default_factory=list)
    frames: list[float] = field(default_factory=list)
    dropped: list[float] = field(default_factory=list)
    broken: int = 0

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios."""
        return statistics.median(rate / beside for rate, beside in zip(self.flooded, self.unloaded, strict=True))


def drops(guard: Guard) -> int:
    return sum(packets for packets, _ in guard.dropped().values())


def window(clients: Load) -> float:
    """Requests completed a second."""
    start_s, before = time.monotonic(), clients.answers()
    time.sleep(WINDOW_S)
    return (clients.answers() - before) / (time.monotonic() - start_s)


def one(made: Rack, clients: Load, guard: Guard, row: Row, rate: int) -> None:
    """A round: the flood into the sink and into the balancer, which of them first in turns."""
    broken = len(clients.broken())
    if row.guarded:
        guard.install()
    else:
        guard.remove()
    for link in (SINK, "lb1") if len(row.flooded) % 2 else ("lb1", SINK):
        kind = KINDS[row.flood]
        template = frame(kind, target_mac=made.macs["lb1"], source_mac=made.macs["r"])
        window(clients)  # what the flood before left behind is over
        with flooding(OBJECT.parent, made.fabric.hosts["sw"], link, template, kind, rate=rate) as flood:
            before = drops(guard)
            completed = window(clients)
            if link == SINK:
                row.unloaded.append(completed)
                continue
            row.flooded.append(completed)
            row.frames.append(flood.packets / WINDOW_S)
            row.dropped.append((drops(guard) - before) / WINDOW_S)
    row.broken += len(clients.broken()) - broken


def make_sink(made: Rack, program: bpf.Object) -> None:
    """A link of the switch whose far end drops all."""
    switch = made.fabric.hosts["sw"]
    run("ip", "-n", switch.name, "link", "add", SINK, "type", "veth", "peer", "name", "hole")
    for name in (SINK, "hole"):
        run("ip", "-n", switch.name, "link", "set", name, "up")
    made.hold(switch, SINK, program.program("gtm_sink"))
    made.hold(switch, "hole", program.program("gtm_sink"))


def show(row: Row) -> str:
    rates = (statistics.median(each) for each in (row.frames, row.dropped, row.unloaded, row.flooded))
    frames, dropped, unloaded, flooded = rates
    return (
        f"  {row.flood:16}{'guard' if row.guarded else 'none':8}{frames:10,.0f}{dropped:10,.0f}"
        f"{unloaded:10,.0f}{flooded:10,.0f}{row.ratio:8.1%}{row.broken:8}"
    )


def main() -> int:
    """Measure and print; 1 if what is guarded misses the goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=RATE, help=f"frames a second (default {RATE})")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} rounds")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    rows = [Row(flood, guarded) for flood in KINDS for guarded in (False, True)]
    services = [Service(name="web", vips=tuple(map(ip_address, VIPS)), ports=(), backends=())]
    machine = Machine(jiffies_per_s=measure().rate_per_s, cpus=1)
    with (
        bpf.Object(OBJECT.with_name("flood.bpf.o")) as program,
        rack(OBJECT.parent, IPIP) as made,
        Guard(made.balancers["lb1"].object) as guard,
        load(made.client, VIPS[:1], think_s=0) as clients,
    ):
        guard.set_policy(policy(PROTECTION, services, machine, seed=SEED))
        make_sink(made, program)
        made.route("lb1")
        clients.start(kept=KEPT, anew=ANEW)
        clients.go_on(count=KEPT)
        for _ in range(QUICK if options.quick else options.rounds):
            for row in rows:
                one(made, clients, guard, row, options.rate)
    if options.json:
        print(json.dumps([asdict(row) for row in rows]))
    else:
        heads = ("frames/s", "dropped", "without", "with", "ratio", "broken")
        print(f"  {'flood':24}" + "".join(f"{head:>{8 if head in {'ratio', 'broken'} else 10}}" for head in heads))
        print("\n".join(show(row) for row in rows))
    return int(any(row.ratio < GOAL for row in rows if row.guarded))


if __name__ == "__main__":
    raise SystemExit(main())
