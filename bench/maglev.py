"""Maglev tables: how quickly they are made, how evenly slots are shared, and how many move that need not."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if not __package__:
    sys.path[0] = str(ROOT)  # this folder, first on the path, would hide dnspython's `dns`

import argparse
import json
import time
from collections.abc import Sequence

import numpy as np

from bench.machine import describe
from bench.table import lay_out, spread
from gtm.decide import maglev as plain
from gtm.decide.maglev import Member
from gtm.publish.dataplane.maglev import table, tables

SECRET = b"of the point of presence"
SIZE = 65537
COUNTS = (10, 100, 500)
NEEDLESS_MAX = 0.015  # of the table, beyond the slots that must move
SPREAD_MAX = 1.02
BUILD_MAX_S = 1.0


def members(count: int, *, service: int = 0, heavy: int = 1) -> list[Member]:
    """Backends 1 to `count`; with `heavy`, weights 1 to that in turn."""
    return [
        Member(name=f"s{service}/b{number}", number=number, weight=1 + number % heavy) for number in range(1, count + 1)
    ]


def building(services: int, count: int, *, rounds: int, heavy: int = 1) -> tuple[list[float], list[float]]:
    """Seconds on the clock and on the processor to make a table for each of `services` with `count` backends each."""
    wanted = [members(count, service=service, heavy=heavy) for service in range(services)]
    clock, processor = [], []
    for _ in range(rounds):
        began, began_cpu = time.perf_counter(), time.process_time()
        tables(wanted, secret=SECRET, size=SIZE)
        clock.append(time.perf_counter() - began)
        processor.append(time.process_time() - began_cpu)
    return clock, processor


def plainly(count: int) -> float:
    """Seconds for one table in the plain form, which must be the same table."""
    began = time.perf_counter()
    found = plain.table(members(count), secret=SECRET, size=SIZE)
    took = time.perf_counter() - began
    if found != table(members(count), secret=SECRET, size=SIZE).tolist():
        raise SystemExit(f"{count} backends: the two forms differ")
    return took


def needless(count: int, leaving: Sequence[int]) -> tuple[float, float]:
    """(must move, moved besides) as parts of the table when backends leave at once."""
    whole = members(count)
    before = table(whole, secret=SECRET, size=SIZE)
    after = table([each for each in whole if each.number not in leaving], secret=SECRET, size=SIZE)
    must = np.isin(before, leaving)
    return float(must.mean()), float(((before != after) & ~must).mean())


def disruption(trials: int) -> list[dict[str, float]]:
    """For each N: one backend leaves, and a tenth of them; each `trials` times with others."""
    found = []
    for count in COUNTS:
        shares = np.bincount(table(members(count), secret=SECRET, size=SIZE))[1:]
        for many in sorted({1, max(1, count // 10)}):
            rand = np.random.default_rng(count)
            moved = [
                needless(count, rand.choice(np.arange(1, count + 1), many, replace=False).tolist())
                for _ in range(trials)
            ]
            found.append(
                {
                    "backends": count,
                    "leave": many,
                    "must": float(np.mean([must for must, _ in moved])),
                    "besides": float(np.mean([besides for _, besides in moved])),
                    "besides_max": max(besides for _, besides in moved),
                    "max_over_min": float(shares.max() / shares.min()),
                }
            )
    return found


def main() -> None:
    """Measure and print; the exit code says whether the bounds hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", type=int, default=100, help="how many tables (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="under a minute")
    parser.add_argument("--json", action="store_true", help="the figures alone")
    args = parser.parse_args()
    rounds, trials = (3, 5) if args.quick else (9, 40)
    built = {
        f"{args.services} tables, {count} backends{each}": building(args.services, count, rounds=rounds, heavy=heavy)
        for count, heavy, each in ((10, 1, ""), (100, 1, ""), (500, 1, ""), (500, 9, ", weights 1-9"))
    }
    one = {f"1 table, {count} backends": building(1, count, rounds=rounds) for count in COUNTS}
    plain_s = {count: plainly(count) for count in COUNTS}
    moved = disruption(trials)
    built_s = min(built[f"{args.services} tables, 500 backends"][1])  # of one processor: others may be at work
    held = (
        built_s < BUILD_MAX_S * args.services / 100
        and all(each["besides_max"] < NEEDLESS_MAX for each in moved if each["leave"] == 1)
        and all(each["max_over_min"] < SPREAD_MAX for each in moved)
    )
    if args.json:
        times = {name: {"clock_s": clock, "cpu_s": cpu} for name, (clock, cpu) in (built | one).items()}
        print(json.dumps({"machine": describe(), "build": times, "plain_s": plain_s, "moved": moved, "held": held}))
    else:
        print(*(f"{key}: {value}" for key, value in describe().items()), sep="\n", end="\n\n")
        rows = [(name, spread(clock, "s", 3), spread(cpu, "s", 3)) for name, (clock, cpu) in (built | one).items()]
        rows += [(f"1 table, {count} backends, plain form", f"{took:.3f} s", "") for count, took in plain_s.items()]
        print(lay_out((f"slots: {SIZE}", "clock, least / median / most", "processor"), rows), end="\n\n")
        print(
            lay_out(
                ("backends", "leave", "must move", "moved besides", "at most", "share max/min"),
                [
                    (
                        f"{each['backends']:.0f}",
                        f"{each['leave']:.0f}",
                        f"{each['must']:.3%}",
                        f"{each['besides']:.3%}",
                        f"{each['besides_max']:.3%}",
                        f"{each['max_over_min']:.4f}",
                    )
                    for each in moved
                ],
            )
        )
        bounds = f"{BUILD_MAX_S} s of one processor, {NEEDLESS_MAX:.1%} besides, shares {SPREAD_MAX}"
        print(f"\nbuilt in {built_s:.2f} s; within the bounds of {bounds}: {held}")
    sys.exit(not held)


if __name__ == "__main__":
    main()
