"""What the chronicle costs: a result, a change, and 10,000 targets that flap at once until the store is full.

    python bench/chronicle.py [--full]

With --full the tables are filled to their bounds, to weigh the file: that takes some minutes.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import time
from ipaddress import IPv4Address
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gtm.app.chronicle import Chronicle
from gtm.decide.health import fold
from gtm.model.check import Cadence, Target
from gtm.model.chronicle import Entries
from gtm.model.health import Judgement, Result
from gtm.store import runs, transitions
from gtm.store.store import Store

COUNT = 10_000
STEP_S = 10.0
TARGETS = [Target(check="web", address=IPv4Address(0x0A000000 + number)) for number in range(COUNT)]
GOOD, BAD = "200 in 12 ms", "no connection within 3 s"


def results(at_s: float, *, ok: bool) -> list[Result]:
    return [
        Result(at_s=at_s + number * STEP_S / COUNT, ok=ok, took_s=0.012, detail=GOOD if ok else BAD)
        for number in range(COUNT)
    ]


def feed(chronicle: Chronicle, at_s: float, *, ok: bool) -> float:
    """Seconds for each result."""
    some = list(zip(TARGETS, results(at_s, ok=ok), strict=True))
    gc.collect()
    begin = time.perf_counter()
    for target, result in some:
        chronicle.result(target, result)
    return (time.perf_counter() - begin) / COUNT


def flap(chronicle: Chronicle, at_s: float, before: dict[Target, Judgement], *, ok: bool) -> float:
    """Seconds for each change of a verdict; every target changes, of this node and together."""
    quick = Cadence(fall=1, rise=1)
    after = {
        target: fold(before[target], result, quick)
        for target, result in zip(TARGETS, results(at_s, ok=ok), strict=True)
    }
    begin = time.perf_counter()
    for target, judged in after.items():
        chronicle.change(target, "here", before[target], judged)
        chronicle.change(target, "", before[target], judged)
    took_s = (time.perf_counter() - begin) / COUNT / 2
    before.update(after)
    return took_s


class Timed(Store):
    """A store that notes how long its longest transaction was."""

    longest_s = 0.0

    def write(self, entries: Entries, now_s: float) -> float:
        begin = time.perf_counter()
        for start in range(0, max(len(entries.transitions), len(entries.runs)), 1000):
            part = slice(start, start + 1000)
            for few in (Entries(transitions=entries.transitions[part]), Entries(runs=entries.runs[part])):
                here = time.perf_counter()
                self.write_chronicle(few, now_s)
                self.longest_s = max(self.longest_s, time.perf_counter() - here)
        return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--full", action="store_true")
    options = parser.parse_args()
    chronicle = Chronicle("here", clock=lambda: now_s)
    now_s = 1e9
    feed(chronicle, now_s, ok=True)
    steady = []
    for _ in range(20):
        now_s += STEP_S
        steady.append(feed(chronicle, now_s, ok=True))
    print(f"a result that goes on a run    {sorted(steady)[10] * 1e6:.2f} us")
    chronicle.take()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        with Timed(path) as store:
            judged = dict.fromkeys(TARGETS, Judgement())
            rounds = 12 + (max(transitions.TRANSITIONS_MAX, runs.RUNS_MAX) // COUNT if options.full else 0)
            begins, changes, writes = [], [], []
            for number in range(rounds):
                now_s += STEP_S
                ok = bool(number % 2)
                begins.append(feed(chronicle, now_s, ok=ok))
                changes.append(flap(chronicle, now_s, judged, ok=ok))
                writes.append(store.write(chronicle.take(), now_s))
            print(f"a result that begins a run     {sorted(begins)[len(begins) // 2] * 1e6:.2f} us")
            print(f"a change                       {sorted(changes)[len(changes) // 2] * 1e6:.2f} us")
            usual_s = sorted(writes)[len(writes) // 2]
            print(f"10,000 flapping at once        written in {usual_s:.2f} s, at worst {max(writes):.2f} s")
            print(f"the longest transaction        {store.longest_s * 1e3:.1f} ms")
            with store._database.read() as connection:
                (logged,) = connection.execute("SELECT count(*) FROM transition").fetchone()
                (kept,) = connection.execute("SELECT count(*) FROM run").fetchone()
                sizes = dict(connection.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name").fetchall())
        print(f"{logged} changes and {kept} runs in a file of {path.stat().st_size / 1e6:.1f} MB")
        print(f"  {sizes['transition'] / logged:.0f} bytes for each change")
        print(f"  {(sizes['run'] + sizes['run_end']) / kept:.0f} bytes for each run, its index included")


if __name__ == "__main__":
    main()
