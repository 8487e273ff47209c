"""What clients see when things die: the reference deployment under `gtm demo`, killed part by part.

  instance    kill -9 one stand-in: until no answer names it any more; bound: fall x interval + timeout + 1 s
  region      kill -9 a region's stand-ins: until its clients get the next region in their order; the same bound
  all         kill -9 everything: every client gets its nearest region again (serve_all)
  return      start everything again: until every client has its region back; bound: rise x interval + timeout + 1 s
              (a probe that hangs when its target returns is the timeout)
  controller  kill -9 the controller while queries are sent one after another: none lost, none wrong; the age of the
              table rises in /metrics; a new controller takes the workers over

The clock starts at the kill and is read after each answer; answers are asked for every 10 ms.
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
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from ipaddress import IPv4Address
from typing import Any

from bench.question import query
from bench.served import environment
from bench.table import lay_out, median

SERVER = ("127.0.0.1", 5300)
API = "http://127.0.0.1:8053"
NAME = "www.lb.example.com"
FALL, RISE, INTERVAL_S, TIMEOUT_S = 3, 2, 2.0, 1.0  # probes/checks.yaml
FALL_BOUND_S = FALL * INTERVAL_S + TIMEOUT_S + 1
RISE_BOUND_S = RISE * INTERVAL_S + TIMEOUT_S + 1
GIVE_UP_S = 60.0
# A /24 of each place and the third octet of the addresses of its regions, nearest first.
CLIENTS = {
    "New York": ("128.112.0.0", (1, 4, 2, 3)),
    "San Francisco": ("128.32.0.0", (4, 1, 2, 3)),
    "London": ("193.62.0.0", (2, 1, 4, 3)),
    "Tokyo": ("133.11.0.0", (3, 4, 2, 1)),
}


def ask(network: str) -> set[IPv4Address]:
    """The addresses that a client of a network gets. Raises TimeoutError."""
    packet = query(os.getpid() & 0xFFFF, NAME, ecs=(IPv4Address(network), 24))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.connect(SERVER)
        sock.send(packet)
        reply = sock.recv(4096)
    start = packet.find(0, 12) + 5
    return {IPv4Address(reply[start + 16 * i + 12 :][:4]) for i in range(reply[7])}


def region(network: str) -> int:
    """The third octet of what a client gets: its region."""
    return min(ask(network)).packed[2]


def regions() -> dict[str, int]:
    """Every client's region."""
    return {place: region(network) for place, (network, _) in CLIENTS.items()}


def expected(*gone: int) -> dict[str, int]:
    """Every client's region when these are down."""
    return {place: next(one for one in order if one not in gone) for place, (_, order) in CLIENTS.items()}


def unseen(address: IPv4Address) -> bool:
    """Whether no client of 24 networks near New York gets an address any more: two of three are in each answer."""
    return not any(address in ask(f"128.112.{number}.0") for number in range(24))


def api_status() -> dict[str, Any]:
    """The node's status."""
    with urllib.request.urlopen(f"{API}/api/v1/status", timeout=10) as reply:
        status: dict[str, Any] = json.load(reply)
        return status


def everything_up() -> bool:
    """Whether every region of every pool is available."""
    return all(one["available"] for pool in api_status()["pools"] for one in pool["regions"])


def seconds_until(what: Callable[[], bool], since_s: float) -> float:
    """Seconds from a moment until something is so. Raises TimeoutError."""
    while time.monotonic() - since_s < GIVE_UP_S:
        if what():
            return time.monotonic() - since_s
        time.sleep(0.01)
    raise TimeoutError("it did not come about")


class Demo:
    """A running demo and its stand-ins."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "gtm.cli.main", "demo", "--json"]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self.process.stdout is not None
        text = ""
        for line in self.process.stdout:
            text += line.decode()
            try:
                self.said: dict[str, Any] = json.loads(text)
                break
            except ValueError:
                continue
        else:
            raise SystemExit("the demo did not start; is another one running?")
        self.standins = {one["address"].rpartition(":")[0]: one for one in self.said["standins"]}
        self.revived: list[subprocess.Popen[bytes]] = []

    def kill(self, *octets: int) -> float:
        """Kill -9 the stand-ins of regions; when that was done."""
        for address, one in self.standins.items():
            if IPv4Address(address).packed[2] in octets:
                self.kill_one(address, one)
        return time.monotonic()

    def kill_one(self, address: str, one: dict[str, Any]) -> None:
        """Kill -9 one stand-in, if it lives."""
        for revived in self.revived:
            if address in revived.args[3] and revived.poll() is None:  # type: ignore[index, operator]
                revived.kill()
                revived.wait()
        if one["pid"]:
            os.kill(one["pid"], signal.SIGKILL)
            one["pid"] = 0

    def revive(self, *octets: int) -> float:
        """Start the stand-ins of regions again; when they all listened."""
        for address, one in self.standins.items():
            running = any(r.poll() is None and address in r.args[3] for r in self.revived)  # type: ignore[index, operator]
            if IPv4Address(address).packed[2] in octets and not one["pid"] and not running:
                command = [sys.executable, "-m", "gtm.app.standin", one["address"], "--name", "again", "--region", "r"]
                child = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE)
                assert child.stdout is not None
                child.stdout.readline()
                self.revived.append(child)
        return time.monotonic()

    def close(self) -> None:
        """End it all."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        for child in self.revived:
            child.kill()
            child.wait()


def metric(name: str) -> float:
    """A metric without labels."""
    with urllib.request.urlopen(f"{API}/metrics", timeout=10) as reply:
        lines = reply.read().decode().splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])


class Load:
    """Queries one after another, until stopped: how many, and how many lost or wrong."""

    def __init__(self) -> None:
        self.asked = self.lost = self.wrong = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            place = list(CLIENTS)[self.asked % len(CLIENTS)]
            network, order = CLIENTS[place]
            self.asked += 1
            try:
                self.wrong += region(network) != order[0]
            except (TimeoutError, ConnectionError):
                self.lost += 1

    def stop(self) -> None:
        """No more queries."""
        self._stop.set()
        self._thread.join()


def controller() -> dict[str, float]:
    """Kill -9 the controller under load, look at the table's age, and wait for the demo to start another."""
    load = Load()
    seconds_until(lambda: load.asked > 1000, time.monotonic())
    status = api_status()
    os.kill(status["controller"]["pid"], signal.SIGKILL)
    killed_s = time.monotonic()
    ages: list[float] = []
    while metric("gtm_controller_up") == 0 or not ages:
        ages.append(metric("gtm_table_age_seconds"))
        time.sleep(0.2)
        if time.monotonic() - killed_s > GIVE_UP_S:
            break
    back_s = time.monotonic() - killed_s
    asked = load.asked
    seconds_until(lambda: load.asked > asked + 1000, time.monotonic())
    load.stop()
    return {"queries": load.asked, "lost": load.lost, "wrong": load.wrong, "age_max_s": max(ages), "back_s": back_s}


def main() -> int:
    """Run it all; 1 if a bound was passed or a query lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="of each kill and return (default 5)")
    parser.add_argument("--quick", action="store_true", help="one of each: under a minute")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    repeats = 1 if options.quick else options.repeats
    times: dict[str, list[float]] = {"instance": [], "region": [], "all": [], "return": []}
    demo = Demo()
    try:
        seconds_until(lambda: regions() == expected(), time.monotonic())
        for number in range(repeats):
            address = f"127.0.1.1{1 + number % 3}"
            demo.kill_one(address, demo.standins[address])
            times["instance"].append(seconds_until(partial(unseen, IPv4Address(address)), time.monotonic()))
            times["region"].append(seconds_until(lambda: regions() == expected(1), demo.kill(1)))
            killed_s = demo.kill(2, 3, 4)
            times["all"].append(seconds_until(lambda: regions() == expected(), killed_s))
            revived_s = demo.revive(1, 2, 3, 4)
            times["return"].append(seconds_until(everything_up, revived_s))
        death = controller()
    finally:
        demo.close()
    bounds = {"instance": FALL_BOUND_S, "region": FALL_BOUND_S, "all": FALL_BOUND_S, "return": RISE_BOUND_S}
    if options.json:
        print(json.dumps({"seconds": times, "bounds_s": bounds, "controller": death}, indent=2))
    else:
        rows = [
            [what, f"{min(some):.2f}", f"{median(some):.2f}", f"{max(some):.2f}", f"{bounds[what]:.0f}"]
            for what, some in times.items()
        ]
        print(lay_out(["what dies", "min s", "median s", "max s", "bound s"], rows))
        print(
            f"controller killed under load: {death['queries']:.0f} queries, {death['lost']:.0f} lost, "
            f"{death['wrong']:.0f} wrong; table {death['age_max_s']:.1f} s old when another took over "
            f"after {death['back_s']:.1f} s"
        )
    late = any(max(some) > bounds[what] for what, some in times.items())
    return int(late or bool(death["lost"]) or bool(death["wrong"]))


if __name__ == "__main__":
    raise SystemExit(main())
