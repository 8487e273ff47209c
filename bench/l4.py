"""What balancer and guard cost a packet: ns, net of the harness and, for what leaves, of one bare adjust_head (root).

A test-run does not put the frame back, so that an encapsulating program would be fed its own output: a harness restores
and varies the frame, then tail-calls the program under test (dataplane/src/harness.bpf.c). Each figure is the least and
the median of several rounds, which go through all rows in turn, since machines are noisy.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench import guards, live
from gtm.decide.balance import TCP, UDP, Tables
from gtm.publish.dataplane import bpf
from gtm.publish.dataplane.maps import OBJECT, Balancer
from tests.dataplane import world as w

TEMPLATE = np.dtype(
    [("length", "<u4"), ("flows", "<u4"), ("runs", "<u4"), ("six", "<u4"), ("bytes", "u1", 80), ("received", "<u8")]
)
FLOWS = {"1 flow": 1, "1k flows": 1 << 10, "64k flows": 1 << 16, "512k flows": 1 << 19, "new flow each": 0}
BASES = "harness", "bare adjust_head"
TX = 3  # enum xdp_action
BALANCED = list(w.WRAPS.values())


class Bench:
    """The balancer behind the restoring harness."""

    def __init__(self, tables: Tables) -> None:
        self.balancer = Balancer()
        self.harness = bpf.Object(OBJECT.with_name("harness.bpf.o"))
        self.template = self.harness.map_view(".bss", TEMPLATE)[0]
        self.run = bpf.TestRun(self.harness.program("gtm_restore"))
        self.balancer.set_vips(tables.vips, tables.seed)
        self.balancer.set_servers(tables.servers, tables.seed)
        self.balancer.set_backends(tables.backends)
        for number, slots in tables.rings.items():
            self.balancer.set_ring(number, slots, generation=1)

    def ns(self, program: int, frame: bytes, *, flows: int, repeat: int) -> tuple[int, int]:
        """(ns a packet, XDP action)."""
        bpf.set_descriptor(self.harness.map_fd("tested"), 0, program)
        padded = frame.ljust(120, b"\0")
        self.template["length"], self.template["flows"] = len(padded), flows
        self.template["six"] = frame[12:14] == b"\x86\xdd"
        self.template["bytes"] = np.frombuffer(padded[:80], np.uint8)
        result, _ = self.run(padded, repeat=repeat)
        return self.run.duration_ns, result


def rings(tables: Tables) -> Tables:
    """Full-size tables, all of one kind of backend, and one in which every slot is in transition."""
    full: dict[int, Sequence[int]] = {number: [number] * 65537 for number in BALANCED}
    full |= {
        8: [8 | w.OTHER << 16] * 65537,
        13: [13 | w.OTHER6 << 16] * 65537,
        w.QUIC: [2] * 65537,
        w.MOVING: [2 | 0x8000 | w.OTHER << 16] * 65537,
    }
    full |= {w.DEAD: tables.rings[w.DEAD]}
    return replace(tables, rings=full)


def rows(bench: Bench) -> dict[str, tuple[int, bytes, int]]:
    """Program, frame and number of flows by the row's name."""
    program = bench.balancer.program

    def frame(family: int, number: int, flags: int) -> bytes:
        return w.frame(w.packet(family, w.vip(family, number), w.tcp(flags=flags), protocol=TCP))

    found = {"harness": (bench.harness.program("gtm_nothing"), frame(4, 2, w.ACK), 1024)}
    found["bare adjust_head"] = (bench.harness.program("gtm_bare"), frame(4, 2, w.ACK), 1024)
    for name, flows in FLOWS.items():
        flags = w.ACK if flows else w.SYN
        found[f"v4 ipip, {name}"] = program, frame(4, 2, flags), flows
        found[f"v6 ip6ip6, {name}"] = program, frame(6, 3, flags), flows
        found[f"v4 ipip, all slots in transition, {name}"] = program, frame(4, w.MOVING, flags), flows
    for wrap, number in w.WRAPS.items():
        for family in w.FAMILIES:
            found[f"v{family} {wrap}, 64k flows"] = program, frame(family, number, w.ACK), 1 << 16
    for name, server_id in (("known server ID", w.SERVER_IDS[5]), ("unknown server ID", (2, bytes(15)))):
        for family in w.FAMILIES:
            quic = w.packet(family, w.vip(family, w.QUIC), w.udp(payload=w.quic(*server_id)), protocol=UDP)
            found[f"v{family} quic, {name}, 64k flows"] = program, w.frame(quic), 1 << 16
    found["v4 drop: backend gone"] = program, frame(4, w.DEAD, w.ACK), 1 << 16
    found["v4 pass: no VIP"] = program, frame(4, 99, w.ACK), 1 << 16
    root = bench.balancer.root
    found["v4 ipip by the root program, 64k flows"] = root, frame(4, 2, w.ACK), 1 << 16
    return found


def base(taken: Mapping[str, list[int]], action: int) -> list[int]:
    """What "net" leaves out: the harness, and for a packet that is sent on one bare adjust_head."""
    return taken[BASES[action == TX]]


def show_live(*, json_wanted: bool, quick: bool) -> None:
    """Prints what comes back of live frames, by the root program and each number of flows."""
    bench = Bench(rings(w.tables()))
    root = bench.balancer.root
    found = {"bounce": (bench.harness.program("gtm_nothing"), w.frame(w.packet(4, w.vip(4, 2), w.tcp())), 1024)}
    for about, family, number in (
        ("v4 ipip", 4, 2),
        ("v6 ip6ip6", 6, 3),
        ("v4 l2", 4, 1),
        ("v4 gue", 4, 6),
        ("v4 ipip, all slots in transition", 4, w.MOVING),
    ):
        for name, flows in FLOWS.items():
            flags = w.ACK if flows else w.SYN
            ip = w.packet(family, w.vip(family, number), w.tcp(flags=flags))
            found[f"{about}, {name}"] = root, w.frame(ip), flows
    rounds, count = (3, 200_000) if quick else (15, 400_000)
    results = live.measure(bench, found, rounds=rounds, count=count)
    if json_wanted:
        names = ("best_mpps", "median_mpps", "lost")
        print(json.dumps({name: dict(zip(names, row, strict=True)) for name, row in results.items()}, indent=2))
        return
    print(f"{'':52} {'best':>6} {'median':>7} Mpps {'lost':>9}")
    for name, (best, median, lost) in results.items():
        print(f"{name:52} {best:6.2f} {median:7.2f}      {lost:9}")


def main() -> None:
    """Prints a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and repeats: under a minute")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--only", default="", metavar="TEXT", help="rows whose names have this")
    parser.add_argument("--live", action="store_true", help="instead: packets a second through a veth pair, one core")
    options = parser.parse_args()
    if options.live:
        show_live(json_wanted=options.json, quick=options.quick)
        return
    rounds, repeat = (3, 200_000) if options.quick else (9, 1_000_000)
    bench = Bench(rings(w.tables()))
    todo = rows(bench) | guards.rows(guards.guards(bench.balancer.object))
    todo = {name: row for name, row in todo.items() if options.only in name or name in BASES}
    taken: dict[str, list[int]] = {name: [] for name in todo}
    actions: dict[str, int] = {}
    for _ in range(rounds):
        for name, (program, frame, flows) in todo.items():
            ns, actions[name] = bench.ns(program, frame, flows=flows, repeat=repeat)
            taken[name].append(ns)
    results = {
        name: {
            "min_ns": min(times),
            "median_ns": statistics.median(times),
            "net_min_ns": min(times) - min(base(taken, actions[name])),
            "net_median_ns": statistics.median(times) - statistics.median(base(taken, actions[name])),
            "action": actions[name],
        }
        for name, times in taken.items()
    }
    if options.json:
        print(json.dumps(results, indent=2))
        return
    print(f"{'':52} {'min':>6} {'median':>7} {'net min':>8} {'net median':>10}  ns")
    for name, row in results.items():
        numbers = (row["min_ns"], row["median_ns"], row["net_min_ns"], row["net_median_ns"])
        print(f"{name:52} {numbers[0]:6} {numbers[1]:7} {numbers[2]:8} {numbers[3]:10}")


if __name__ == "__main__":
    main()
