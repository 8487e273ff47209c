"""State sync between two balancers, each a process of its own, over UDP on the loopback: how long a joining one waits.

The joining instance starts with an empty table, and is ready once a bulk transfer of the other's flows came in full.
Each figure is the least and the median of several lives; CPU is that of both processes. `python bench/sync.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from socket import socket

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from gtm.app.balance.sync import Sync, bind, meaning
from gtm.model.address import Endpoint
from gtm.model.balance import SyncSettings
from gtm.publish.dataplane import layout
from gtm.publish.dataplane.flows import Flows, Words

KEY, SEED = bytes(range(32)), (1, 2)
LOOPBACK = ip_address("127.0.0.1")
DEADLINE_S = 60.0


def words(count: int) -> Words:
    """Flows with tags at random, of 500 backends."""
    rand = np.random.default_rng(1)
    return rand.integers(1, 1 << 48, count, np.uint64) << np.uint64(16) | rand.integers(1, 501, count, np.uint64)


def instance(
    bound: socket, node: str, other: str, port: int, flows: Flows, synced: Callable[[], None] = lambda: None
) -> Sync:
    """One of the two."""
    own = Endpoint(address=LOOPBACK, port=bound.getsockname()[1])
    return Sync(
        SyncSettings(listen=own, ready_s=600.0),
        bound=bound,
        node=node,
        region="bench",
        peers={other: Endpoint(address=LOOPBACK, port=port)},
        key=KEY,
        table=meaning(SEED),
        flows=flows,
        events=None,
        numbers={f"web/{number}": number for number in range(1, 501)},
        synced=synced,
    )


def table() -> Flows:
    """An empty one."""
    return Flows(np.zeros(layout.FLOW_BUCKETS, layout.FLOW_BUCKET))


async def serve(sync: Sync) -> None:
    """Until it is ended."""
    await sync.run()


async def join(bound: socket, port: int, flows: Flows) -> float:
    """Seconds until it is ready."""
    ready = asyncio.Event()
    started_s = time.perf_counter()
    task = asyncio.create_task(instance(bound, "lb2", "lb1", port, flows, ready.set).run())
    async with asyncio.timeout(DEADLINE_S):
        await ready.wait()
    took_s = time.perf_counter() - started_s
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return took_s


def measure(count: int, rounds: int) -> dict[str, float]:
    """Seconds to be ready with so many flows, datagrams sent again, and flows that found no room."""
    first, second = (bind(Endpoint(address=LOOPBACK, port=0)) for _ in range(2))
    ports = [each.getsockname()[1] for each in (first, second)]
    flows = table()
    flows.known(words(count), front=False)
    kept = sum(len(half) for half in flows.snapshot())
    child = os.fork()
    if child == 0:
        second.close()
        try:
            asyncio.run(serve(instance(first, "lb1", "lb2", ports[1], flows)))
        finally:
            os._exit(0)
    first.close()
    took: list[float] = []
    cpu: list[float] = []
    missing = 0
    try:
        for turn in range(rounds):
            bound = second if turn == 0 else bind(Endpoint(address=LOOPBACK, port=ports[1]))
            mine = table()
            begun_s = time.process_time() + cpu_s(child)
            took.append(asyncio.run(join(bound, ports[0], mine)))
            cpu.append(time.process_time() + cpu_s(child) - begun_s)
            missing = max(missing, kept - sum(len(half) for half in mine.snapshot()))
    finally:
        os.kill(child, 15)
        os.waitpid(child, 0)
    return {
        "flows": kept,
        "least_s": min(took),
        "median_s": statistics.median(took),
        "worst_s": max(took),
        "cpu_s": statistics.median(cpu),
        "missing": missing,
    }


def cpu_s(pid: int) -> float:
    """CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def learning(count: int = 14_400, rounds: int = 20) -> dict[str, float]:
    """Nanoseconds a flow that events bring costs the table, in batches of a hundred pages."""
    spent = []
    for _ in range(rounds):
        flows, some = table(), words(count)
        begun_ns = time.perf_counter_ns()
        flows.told(some)
        spent.append((time.perf_counter_ns() - begun_ns) / count)
    return {"least_ns": min(spent), "median_ns": statistics.median(spent)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each number of flows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    rounds = 5 if options.quick else 21
    found = {str(count): measure(count, rounds) for count in (0, 10_000, 100_000, 500_000)}
    told = learning()
    if options.json:
        print(json.dumps({"bulk": found, "learning": told}, indent=1))
        return
    for row in found.values():
        print(
            f"{row['flows']:7} flows: ready after {row['least_s'] * 1000:.0f} / {row['median_s'] * 1000:.0f} / "
            f"{row['worst_s'] * 1000:.0f} ms (least, median, worst of {rounds}), {row['cpu_s'] * 1000:.0f} ms of CPU, "
            f"{row['missing']} found no room"
        )
    print(f"a flow learnt: {told['least_ns']:.0f} / {told['median_ns']:.0f} ns (least, median)")


if __name__ == "__main__":
    main()
