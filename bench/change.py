"""From a health change to changed answers on the wire, with 10,000 steered names.

  one pool     all names share a pool; one of its instances changes: one set of answers is compiled anew
  own pools    every name has a pool of its own; one pool's instance changes
  all at once  every name has a pool of its own, and one target that all of them hang on changes
  drain        the same deployment; an override of a whole region is stored (`gtm drain`), which touches all pools

The targets are HTTP servers in this program. The clock starts when the bad (or good) response to a probe is sent (the
check has fall 1 and rise 1, so this one decides), for a drain when the order is committed to the store, and ends with
the first changed answer to a query; a socket asks in a tight loop, every half millisecond. So the network, the probe's
reading and folding, the decision, the compilation, the publishing and the worker's reload are all in the figure; for a
drain also the controller's look at the store, which it takes every 25 ms. Each pool answers addresses of its own, so
nothing is the same for two pools.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if not __package__:
    sys.path[0] = str(ROOT)  # this folder, first on the path, would hide dnspython's `dns`

import argparse
import json
import sqlite3
import subprocess
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address

from bench import machine
from bench.netns import ArenaError
from bench.peers.gtm import REGIONS_YAML, ZONE_FILE
from bench.question import TTL_S, ZONE
from bench.served import Served, environment, plain, serve
from bench.table import lay_out, median, spread

BUDGET_MS = 50.0
BEFORE = IPv4Address("192.0.2.11")  # us-east, of the first pool
AFTER = IPv4Address("192.0.2.21")  # eu-west
SWITCHED, STEADY = "127.0.0.1", "127.0.0.2"  # where the two regions' targets are


class Target(ThreadingHTTPServer):
    """A probe target whose health is a switch; it notes when it first tells of the new state."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str, port: int = 0) -> None:
        super().__init__((host, port), _Handler)
        self._lock = threading.Lock()
        self._status = 200
        self._told_at_s: float | None = None
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def turn(self, status: int) -> None:
        """Answer with this status from the next probe on."""
        with self._lock:
            self._status, self._told_at_s = status, None

    def tell(self) -> int:
        """The status to answer with; notes the time of the first since `turn`."""
        with self._lock:
            if self._told_at_s is None:
                self._told_at_s = time.monotonic()
            return self._status

    def told_at_s(self) -> float:
        """When the new status was first told."""
        with self._lock:
            if self._told_at_s is None:
                raise ArenaError("the answer changed before any probe was told why")
            return self._told_at_s


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if isinstance(self.server, Target):
            self.wfile.write(b"HTTP/1.1 %d -\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % self.server.tell())


def write(folder: Path, count: int, port: int, *, own_pools: bool, shared_target: bool) -> None:
    """Write a deployment of `count` names; us-east comes first for everybody, eu-west second."""
    for name in ("geodata", "zones", "probes"):
        (folder / name).mkdir(parents=True)
    (folder / "gtm.yaml").write_text("node: bench\nworkers: 1\napi: off\n")
    (folder / "geodata" / "regions.yaml").write_text(REGIONS_YAML)
    (folder / "probes" / "checks.yaml").write_text(
        f"checks:\n  web: {{http: {{port: {port}}}, interval: 500ms, timeout: 400ms, fall: 1, rise: 1, jitter: 0%}}\n"
    )
    (folder / "zones" / f"{ZONE}.zone").write_text(ZONE_FILE.format(zone=ZONE, ttl=TTL_S))
    lines = ["pools:"]
    for number in range(count if own_pools else 1):
        checked = shared_target or number == 0
        lines.append(f"  p{number}:")
        lines.extend(["    check: web"] if checked else [])
        for region, address, probe in (("us-east", BEFORE, SWITCHED), ("eu-west", AFTER, STEADY)):
            lines.append(f"    {region}: {{a: {of_pool(address, number)}{f', probe: {probe}' if checked else ''}}}")
    lines.append("names:")
    for number in range(count):
        pool = f"p{number if own_pools else 0}"
        lines.append(f"  n{number}: {{pool: {pool}, ttl: {TTL_S}, steer: [{{order: [us-east, eu-west]}}]}}")
    (folder / "zones" / f"{ZONE}.yaml").write_text("\n".join(lines) + "\n")


def of_pool(address: IPv4Address, number: int) -> IPv4Address:
    """The address that a pool has where the first one has this."""
    return address + (number << 8)


def by_health(served: Served, target: Target, name: int, pool: int, repeats: int) -> list[float]:
    """Milliseconds from the response that decides to the first changed answer, down and up in turn."""
    packet = plain(f"n{name}.{ZONE}")
    before, after = of_pool(BEFORE, pool).packed, of_pool(AFTER, pool).packed
    taken = []
    for repeat in range(2 * repeats):
        down = repeat % 2 == 0
        target.turn(500 if down else 200)
        changed_at_s = served.await_answer(packet, after if down else before, 60)
        taken.append((changed_at_s - target.told_at_s()) * 1000)
        time.sleep(0.3)
    target.turn(200)
    served.await_answer(packet, before, 60)
    return taken


def by_order(served: Served, folder: Path, name: int, repeats: int) -> list[float]:
    """Milliseconds from the commit of a drain (or its end) to the first changed answer; the name has its own pool."""
    packet = plain(f"n{name}.{ZONE}")
    taken = []
    store = sqlite3.connect(f"file:{folder / 'state' / 'store.db'}?mode=ro", uri=True)
    try:
        for repeat in range(2 * repeats):
            drain = repeat % 2 == 0
            words = ["drain", "region/us-east", "--reason", "bench"] if drain else ["undrain", "region/us-east"]
            wanted = of_pool(AFTER if drain else BEFORE, name).packed
            command = [sys.executable, "-m", "gtm.cli.main", *words, "-C", str(folder)]
            with subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL) as order:
                while _orders(store) != drain and order.poll() is None:
                    time.sleep(0.0002)
                committed_at_s = time.monotonic()
                taken.append((served.await_answer(packet, wanted, 60) - committed_at_s) * 1000)
            time.sleep(0.3)
    finally:
        store.close()
    return taken


def _orders(store: sqlite3.Connection) -> int:
    """How many orders stand. (The file's version says nothing: the controller writes to it as well.)"""
    return int(store.execute("SELECT count(*) FROM override").fetchone()[0])


def cases(count: int, repeats: int) -> dict[str, list[float]]:
    """All cases, in milliseconds."""
    found: dict[str, list[float]] = {}
    last = count - 1
    target = Target(SWITCHED)
    steady = Target(STEADY, target.port)
    for case, own_pools, shared_target in (
        ("one pool", False, True),
        ("own pools", True, False),
        ("all at once", True, True),
    ):
        with tempfile.TemporaryDirectory(prefix="gtm-bench-change-") as name:
            folder = Path(name) / "deployment"
            write(folder, count, target.port, own_pools=own_pools, shared_target=shared_target)
            with serve(folder) as served:
                asked = 0 if case == "own pools" else last
                pool = asked if own_pools else 0
                served.await_answer(plain(f"n{asked}.{ZONE}"), of_pool(BEFORE, pool).packed, 180)
                found[case] = by_health(served, target, asked, pool, repeats)
                if case == "all at once":
                    found["drain"] = by_order(served, folder, asked, repeats)
    for server in (target, steady):
        server.shutdown()
        server.server_close()
    return found


def main() -> int:
    """Run it; 1 if the server does not start or an answer does not change."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", type=int, default=10_000, help="steered names (default 10000)")
    parser.add_argument("--repeats", type=int, default=10, help="changes down and up, each (default 10)")
    parser.add_argument("--quick", action="store_true", help="three repeats")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        found = cases(options.names, 3 if options.quick else options.repeats)
    except ArenaError as error:
        print(error, file=sys.stderr)
        return 1
    about = machine.describe()
    if options.json:
        print(json.dumps({"machine": about, "names": options.names, "milliseconds": found}, indent=1))
        return 0
    print(f"{about['cpu']}, Linux {about['kernel']}, {about['python']}; load average {about['load']}")
    rows = [
        [case, str(len(times)), spread(times, "ms", 1), f"{BUDGET_MS:g} ms", f"{median(times) / BUDGET_MS:.2f}"]
        for case, times in found.items()
    ]
    heads = [f"change of {options.names} names", "changes", "min / median / max", "budget", "median/budget"]
    print(lay_out(heads, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
