"""How soon nodes that share etcd know of each other, on this machine: python bench/shared.py.

Three etcd members and two nodes in one process, all on loopback. Prints the time from a posting to the other node's
`on_change`; from the death of a node without a word to the moment the other one calls it gone; over the death of the
leader, from a posting right after it to its arrival; and what a node costs while nothing happens.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if not __package__:
    sys.path[0] = str(ROOT)  # this folder, first on the path, would hide dnspython's `dns`

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Callable

import structlog

from gtm.model.node import Node
from gtm.store.shared import Shared
from gtm.store.shared_view import SharedView
from tests.etcd import Etcd, etcd_cluster

Figures = dict[str, float]

PACE_S = 0.25  # a kind is put five times a second at most


class Watcher:
    """A node, and a way to await what it sees."""

    def __init__(self, etcd: Etcd, name: str, folder: Path, lease_s: float) -> None:
        self.changed = asyncio.Event()
        cluster = etcd.cluster(lease_s=lease_s)
        cache = folder / f"{name}.shared"
        self.shared = Shared(cluster, Node(name=name), folder=folder, cache=cache, on_change=self.changed.set)
        self.task = asyncio.create_task(self.shared.run())

    async def until(self, holds: Callable[[SharedView], bool]) -> None:
        async with asyncio.timeout(120):
            while not holds(self.shared.seen()):
                self.changed.clear()
                await self.changed.wait()

    async def leave(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def said(payload: bytes) -> Callable[[SharedView], bool]:
    return lambda view: "a" in view.nodes and view.nodes["a"].postings.get("opinions") == payload


async def measure(etcd: Etcd, folder: Path, options: argparse.Namespace) -> Figures:
    figures: Figures = {}
    a, b = (Watcher(etcd, name, folder, options.lease) for name in ("a", "b"))
    a.shared.post("opinions", b"ready")
    await b.until(said(b"ready"))
    times = []
    for number in range(options.rounds):
        await asyncio.sleep(PACE_S)
        payload = b"%d" % number
        began_s = time.perf_counter()
        a.shared.post("opinions", payload)
        await b.until(said(payload))
        times.append((time.perf_counter() - began_s) * 1e3)
    figures |= spread("posting seen by the other node, ms", times)

    before = [process.cpu for process in costs(etcd)]
    own = time.process_time()
    await asyncio.sleep(options.idle)
    figures["idle: a node, % of a core"] = (time.process_time() - own) / options.idle / 2 * 100
    spent = [now.cpu - then for now, then in zip(costs(etcd), before, strict=True)]
    figures["idle: the busiest member, % of a core"] = max(spent) / options.idle * 100

    times = []
    for number in range(options.deaths):
        leader = await asyncio.to_thread(etcd.leader)
        await asyncio.sleep(PACE_S)
        payload = b"leader %d" % number
        etcd.members[leader].kill()
        began_s = time.perf_counter()
        a.shared.post("opinions", payload)
        await b.until(said(payload))
        times.append((time.perf_counter() - began_s) * 1e3)
        etcd.members[leader].start()
        await asyncio.to_thread(etcd.await_ready, leader)
    figures |= spread("posting over the leader's death, ms", times)

    times = []
    for number in range(options.deaths):
        name = f"c{number}"
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            CHILD,
            *etcd.urls,
            name,
            str(options.lease),
            str(folder),
            stdout=asyncio.subprocess.DEVNULL,
        )
        await b.until(lambda view, name=name: name in view.nodes and view.nodes[name].fresh)  # type: ignore[misc]
        await asyncio.sleep(options.lease * (number + 1) / (options.deaths + 1))
        child.kill()
        began_s = time.perf_counter()
        await b.until(lambda view, name=name: not view.nodes[name].fresh)  # type: ignore[misc]
        times.append((time.perf_counter() - began_s) * 1e3)
        await child.wait()
    figures |= spread(f"killed node is gone, lease {options.lease:g} s, ms", times)
    await a.leave()
    await b.leave()
    return figures


CHILD = """
import asyncio, sys
from pathlib import Path
from gtm.model.cluster import Cluster
from gtm.model.node import Node
from gtm.store.shared import Shared
*urls, name, lease, folder = sys.argv[1:]
cluster = Cluster(endpoints=tuple(urls), lease_s=float(lease))
cache = Path(folder, name)
asyncio.run(Shared(cluster, Node(name=name), folder=Path(folder), cache=cache, on_change=lambda: None).run())
"""


class Cost:
    """What a process has used so far."""

    def __init__(self, pid: int) -> None:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        self.cpu = (int(fields[11]) + int(fields[12])) / 100


def costs(etcd: Etcd) -> list[Cost]:
    return [Cost(member.process.pid) for member in etcd.members if member.process is not None]


def spread(what: str, times: list[float]) -> Figures:
    return {f"{what}: median of {len(times)}": statistics.median(times), f"{what}: max": max(times)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="figures as JSON")
    parser.add_argument("--quick", action="store_true", help="under a minute: fewer of each")
    parser.add_argument("--rounds", type=int, default=100, help="postings to time")
    parser.add_argument("--deaths", type=int, default=5, help="leaders and nodes to kill")
    parser.add_argument("--idle", type=float, default=20.0, help="seconds of nothing")
    parser.add_argument("--lease", type=float, default=5.0, help="seconds of a lease")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.deaths, options.idle = 30, 2, 5.0
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with tempfile.TemporaryDirectory() as folder, etcd_cluster(Path(folder)) as etcd:
        figures = asyncio.run(measure(etcd, Path(folder), options))
    if options.json:
        print(json.dumps(figures, indent=2))
        return
    for what, figure in figures.items():
        print(f"{what:60} {figure:9.2f}")


if __name__ == "__main__":
    main()
