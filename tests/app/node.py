"""A whole node for tests: a deployment folder, stand-in instances, and `gtm serve` as a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from struct import pack

from gtm.app.crew import holder, left_behind
from gtm.app.view import View, read_view
from gtm.wire import name as wire_name
from tests.app.worker import ask, free_port

DEADLINE_S = 60.0
REGIONS = ("us-east", "eu-west", "ap-southeast", "us-west")
# Networks that overrides.csv places near each region, so that no database is needed.
CLIENTS = {"us-east": "203.0.1.0", "eu-west": "203.0.2.0", "ap-southeast": "203.0.3.0", "us-west": "203.0.4.0"}

GTM_YAML = """\
node: test
listen: ["127.0.0.1:{port}", "[::1]:{port}"]
api: {api}
workers: 2
geo: []
"""
OVERRIDES = """\
network,country,subdivision,latitude,longitude
203.0.1.0/24,US,US-VA,39,-77.5
203.0.2.0/24,IE,,53.3,-6.3
203.0.3.0/24,SG,,1.35,103.8
203.0.4.0/24,US,US-CA,37.3,-121.9
"""
REGIONS_YAML = """\
regions:
  us-east: {latitude: 39.04, longitude: -77.49, share: 35%}
  eu-west: {latitude: 53.35, longitude: -6.26, share: 30%}
  ap-southeast: {latitude: 1.35, longitude: 103.82, share: 25%}
  us-west: {latitude: 37.34, longitude: -121.89, share: 10%}
"""
CHECKS_YAML = """\
checks:
  web: {{http: {{port: {web}, path: /healthz}}, interval: 0.2s, timeout: 0.2s, fall: 2, rise: 2}}
"""
ZONE = """\
$TTL 300
@   SOA ns hostmaster 1 3600 600 86400 300
    NS  ns
ns  A   192.0.2.53
txt TXT "static"
"""
STEERING = """\
pools:
  web:
    check: web
    us-east: [127.0.1.11, 127.0.1.12, 127.0.1.13]
    eu-west: [127.0.2.21, 127.0.2.22]
    ap-southeast: [127.0.3.31, 127.0.3.32]
    us-west: [127.0.4.41]
names:
  www: {pool: web, ttl: 5, answers: 2}
"""
INSTANCES = "127.0.1.11 127.0.1.12 127.0.1.13 127.0.2.21 127.0.2.22 127.0.3.31 127.0.3.32 127.0.4.41".split()


@dataclass(slots=True)
class Node:
    """A deployment of four regions on loopback, whose parts a test starts and kills."""

    folder: Path
    port: int
    web: int
    api: int | None = None
    standins: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    controller: subprocess.Popen[bytes] | None = None

    @property
    def state(self) -> Path:
        """Its state folder."""
        return self.folder / "state"

    def revive(self, *addresses: str) -> None:
        """Start stand-ins and wait until they listen."""
        for address in addresses:
            region = REGIONS[int(address.split(".")[2]) - 1]
            self.standins[address] = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "gtm.app.standin",
                    f"{address}:{self.web}",
                    "--name",
                    address,
                    "--region",
                    region,
                ],
                stdout=subprocess.DEVNULL,
            )

    def kill(self, *addresses: str) -> None:
        """Kill -9 stand-ins."""
        for address in addresses:
            process = self.standins.pop(address)
            process.kill()
            process.wait(DEADLINE_S)

    def serve(self) -> None:
        """Start `gtm serve` and wait until it says that it serves."""
        self.controller = subprocess.Popen(
            [sys.executable, "-m", "gtm.cli.main", "serve", "-C", str(self.folder), "--json"],
            stdout=subprocess.PIPE,
            stderr=(self.folder / "log").open("ab"),
        )
        assert self.controller.stdout is not None
        line = self.controller.stdout.readline()
        assert line, (self.folder / "log").read_text()
        assert "serving" in json.loads(line)

    def kill_controller(self) -> None:
        """Kill -9 the controller; its workers live on."""
        assert self.controller is not None
        self.controller.kill()
        self.controller.wait(DEADLINE_S)

    def stop(self) -> int:
        """SIGTERM the controller, and its exit code."""
        assert self.controller is not None
        self.controller.send_signal(signal.SIGTERM)
        return self.controller.wait(DEADLINE_S)

    def addresses(self, client: str = "us-east", owner: str = "www.example.com.") -> set[str]:
        """The addresses that a client near a region gets."""
        reply = ask(ecs_query(owner, CLIENTS[client]), self.port)
        start = reply.index(b"\0", 12) + 5
        count = int.from_bytes(reply[6:8], "big")
        return {".".join(map(str, reply[start + 16 * i + 12 : start + 16 * i + 16])) for i in range(count)}

    def regions(self) -> dict[str, str]:
        """The region that the clients of each region get."""
        return {client: REGIONS[int(min(self.addresses(client)).split(".")[2]) - 1] for client in CLIENTS}

    def view(self) -> View:
        """What its state folder says."""
        return read_view(self.state)

    def gtm(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A gtm command on this deployment."""
        command = [sys.executable, "-m", "gtm.cli.main", *words, "-C", str(self.folder)]
        return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


def ecs_query(owner: str, network: str) -> bytes:
    """A query for A with the /24 of a client."""
    option = pack(">HHHBB", 8, 7, 1, 24, 0) + bytes(map(int, network.split(".")[:3]))
    opt = b"\0" + pack(">HHIH", 41, 1232, 0, len(option)) + option
    return b"\x12\x34\x01\0\0\1\0\0\0\0\0\1" + wire_name.parse(owner) + b"\0\1\0\1" + opt


def until(what: Callable[[], bool]) -> None:
    """Wait until something is so. Only for what no event tells, and generous: it must fail for good reasons alone."""
    deadline = time.monotonic() + DEADLINE_S
    while not what():
        assert time.monotonic() < deadline, "did not come about"
        time.sleep(0.02)


def write(folder: Path, files: dict[str, str]) -> None:
    """Write files by their path in the folder."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


@contextmanager
def node(folder: Path, *, api: bool = False) -> Iterator[Node]:
    """A node with all its stand-ins up and nothing serving yet; in the end all that it started is gone."""
    made = Node(folder=folder, port=free_port(), web=free_port("127.0.1.11"), api=free_port() if api else None)
    write(
        folder,
        {
            "gtm.yaml": GTM_YAML.format(port=made.port, api=f"127.0.0.1:{made.api}" if api else "off"),
            "geodata/overrides.csv": OVERRIDES,
            "geodata/regions.yaml": REGIONS_YAML,
            "probes/checks.yaml": CHECKS_YAML.format(web=made.web),
            "zones/example.com.zone": ZONE,
            "zones/example.com.yaml": STEERING,
        },
    )
    made.revive(*INSTANCES)
    try:
        yield made
    finally:
        made.kill(*made.standins)
        if made.controller is not None and made.controller.poll() is None:
            made.stop()
        for name in left_behind(made.state):
            pid = holder(made.state, name)
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
