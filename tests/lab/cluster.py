"""Three nodes sharing an etcd of three, instances that all of them watch, and a client of each that goes on asking."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import httpx

from gtm.app.crew import holder, left_behind
from gtm.app.view import View, read_view
from gtm.model.cluster import PeerState
from tests.app.node import CLIENTS, OVERRIDES, REGIONS, REGIONS_YAML, ZONE, ecs_query, write
from tests.lab.network import Host, datagrams, switch

DEADLINE_S = 240.0
NODES = {"n1": "10.77.0.11", "n2": "10.77.0.12", "n3": "10.77.0.13"}
INSTANCES = {
    "us-east": ("10.77.1.11", "10.77.1.12"),
    "eu-west": ("10.77.2.21", "10.77.2.22"),
    "ap-southeast": ("10.77.3.31",),
    "us-west": ("10.77.4.41",),
}
EVERY = tuple(address for some in INSTANCES.values() for address in some)
ETCD_PORT, PEER_PORT, WEB_PORT, DNS_PORT = 2379, 2380, 8080, 5300

INTERVAL_S, TIMEOUT_S, FALL, RISE, LEASE_S = 1.0, 0.5, 2, 2, 3.0
DETECTED_S = FALL * INTERVAL_S + TIMEOUT_S + 1.0  # by every vantage point, posted and heard
ELECTED_S = 2.0  # etcd's heartbeat 100 ms and election timeout 1 s

GTM_YAML = """\
node: {name}
listen: ["127.0.0.1:{dns}"]
workers: 1
geo: []
state: etcd
etcd: {{endpoints: [{endpoints}], lease: {lease:g}s}}
"""
CHECKS_YAML = f"""\
checks:
  web:
    http: {{port: {WEB_PORT}, path: /healthz}}
    interval: {INTERVAL_S:g}s
    timeout: {TIMEOUT_S:g}s
    fall: {FALL}
    rise: {RISE}
"""
STEERING = (
    "pools:\n  web:\n    check: web\n"
    + "".join(f"    {region}: [{', '.join(some)}]\n" for region, some in INSTANCES.items())
    + "names:\n  www: {pool: web, ttl: 5, answers: 2}\n"
)


@dataclass(slots=True)
class Heard:
    """What one client heard from one node, poll by poll: when, and the region (or "" for nothing) by client."""

    at_s: float
    regions: dict[str, str]


@dataclass(slots=True)
class Client:
    """Asks one node for every client network about ten times a second, from inside the node's host."""

    host: Host
    heard: list[Heard] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    @property
    def last_s(self) -> float:
        """When it last had a whole round of answers."""
        return self.heard[-1].at_s if self.heard else 0.0

    def start(self) -> None:
        """Begin asking."""
        self._thread = threading.Thread(target=self._ask_on)
        self._thread.start()

    def stop(self) -> None:
        """Stop asking."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _ask_on(self) -> None:
        numbers = count()
        with self.host.inside(lambda: datagrams("127.0.0.1", DNS_PORT)) as sock:
            while not self._over.wait(0.1):
                answers = {}
                for region, network in CLIENTS.items():
                    number = (next(numbers) & 0xFFFF).to_bytes(2, "big")
                    try:
                        sock.send(number + ecs_query("www.example.com.", network)[2:])
                        answers[region] = region_of(answer_to(number, sock))
                    except (TimeoutError, ConnectionError):
                        break
                if len(answers) == len(CLIENTS):
                    self.heard.append(Heard(at_s=time.monotonic(), regions=answers))


def answer_to(number: bytes, sock: socket.socket) -> bytes:
    """The answer with this ID. One that comes late, to an earlier question, is none. Raises TimeoutError."""
    while True:
        reply = sock.recv(4096)
        if reply[:2] == number:
            return reply


def region_of(reply: bytes) -> str:
    """The region of the first address in an answer, or "" for an empty one."""
    if int.from_bytes(reply[6:8], "big") == 0:
        return ""
    start = reply.index(b"\0", 12) + 5
    return REGIONS[reply[start + 14] - 1]


@dataclass(slots=True)
class Node:
    """One gtm node and its etcd member, in a host of their own."""

    name: str
    host: Host
    folder: Path
    client: Client
    env: dict[str, str]
    etcd: subprocess.Popen[bytes] | None = None
    controller: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Its address on the switch."""
        return NODES[self.name]

    def start_etcd(self, *, existing: bool = False) -> None:
        """Start its etcd member."""
        members = ",".join(f"{name}=http://{address}:{PEER_PORT}" for name, address in NODES.items())
        self.etcd = self.host.start(
            "etcd", "--name", self.name, "--data-dir", str(self.folder / "etcd"),
            "--listen-client-urls", f"http://0.0.0.0:{ETCD_PORT}",
            "--advertise-client-urls", f"http://{self.address}:{ETCD_PORT}",
            "--listen-peer-urls", f"http://{self.address}:{PEER_PORT}",
            "--initial-advertise-peer-urls", f"http://{self.address}:{PEER_PORT}",
            "--initial-cluster", members, "--initial-cluster-state", "existing" if existing else "new",
            "--heartbeat-interval", "100", "--election-timeout", "1000", "--logger", "zap", "--log-level", "error",
            log=self.folder / "etcd.log",
        )  # fmt: skip

    def serve(self) -> None:
        """Start `gtm serve` and wait until it says that it serves."""
        self.controller = self.host.start(
            sys.executable, "-m", "gtm.cli.main", "serve", "-C", str(self.folder), "--json",
            log=self.folder / "log", env=self.env, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self.controller.stdout is not None
        line = self.controller.stdout.readline()
        assert line, (self.folder / "log").read_text()
        assert "serving" in json.loads(line)

    def kill(self) -> None:
        """Kill -9 everything of it at once."""
        for process in (self.controller, self.etcd):
            if process is not None:
                process.kill()
        for pid in self.workers():
            os.kill(pid, signal.SIGKILL)
        for process in (self.controller, self.etcd):
            if process is not None:
                process.wait(DEADLINE_S)

    def workers(self) -> list[int]:
        """The processes beside the controller that serve its state."""
        state = self.folder / "state"
        return [pid for name in left_behind(state) if (pid := holder(state, name)) is not None]

    def pause(self) -> None:
        """SIGSTOP the controller."""
        assert self.controller is not None
        os.kill(self.controller.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT the controller."""
        assert self.controller is not None
        os.kill(self.controller.pid, signal.SIGCONT)

    def is_leader(self) -> bool:
        """Whether its etcd member leads. While none is elected, no member does."""
        port = ETCD_PORT
        said = self.host.inside(lambda: httpx.post(f"http://127.0.0.1:{port}/v3/maintenance/status", json={}).json())
        return bool(said.get("leader") == said["header"]["member_id"])

    def view(self) -> View:
        """What its state folder says."""
        return read_view(self.folder / "state")

    def peers(self) -> dict[str, PeerState]:
        """What it knows of all nodes."""
        cluster = self.view().facts.cluster
        return {} if cluster is None else {peer.name: peer for peer in cluster.nodes}

    def is_connected(self) -> bool:
        """Whether it reaches the store."""
        cluster = self.view().facts.cluster
        return cluster is not None and cluster.connected

    def log_of(self) -> str:
        """What its controller said."""
        return (self.folder / "log").read_text()


@dataclass(slots=True)
class Lab:
    """The whole of it. `right` says at any time what each client network should be answered."""

    nodes: dict[str, Node]
    instances: Host
    folder: Path
    servers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def revive(self, *addresses: str) -> None:
        """Start instances."""
        for address in addresses:
            region = next(region for region, some in INSTANCES.items() if address in some)
            self.servers[address] = self.instances.start(
                sys.executable, "-m", "gtm.app.standin", f"{address}:{WEB_PORT}", "--name", address,
                "--region", region, log=self.folder / "standins.log",
            )  # fmt: skip

    def kill(self, *addresses: str) -> float:
        """Kill -9 instances; when that was."""
        for address in addresses:
            self.servers[address].kill()
        for address in addresses:
            self.servers.pop(address).wait(DEADLINE_S)
        return time.monotonic()


def right(*down: str) -> dict[str, str]:
    """What each client network is answered when some regions are down."""
    nearest = {
        "us-east": ("us-east", "us-west", "eu-west"),
        "eu-west": ("eu-west", "us-east", "us-west"),
        "ap-southeast": ("ap-southeast", "eu-west", "us-west"),
        "us-west": ("us-west", "us-east", "eu-west"),
    }
    return {client: next(region for region in order if region not in down) for client, order in nearest.items()}


def until(what: Callable[[], bool], doing: str) -> float:
    """Wait until something is so; when that was noticed."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not what():
        assert time.monotonic() < deadline_s, f"never came about: {doing}"
        time.sleep(0.02)
    return time.monotonic()


@contextmanager
def lab(folder: Path, environments: dict[str, dict[str, str]]) -> Iterator[Lab]:
    """The lab, all of it up and serving and every answer right."""
    hosts = [(name, [f"{address}/16"]) for name, address in NODES.items()]
    hosts.append(("world", [f"{address}/16" for address in ("10.77.0.100", *EVERY)]))
    with switch(hosts) as made:
        nodes = {}
        for name in NODES:
            place = folder / name
            endpoints = ", ".join(f'"http://{address}:{ETCD_PORT}"' for address in NODES.values())
            write(
                place,
                {
                    "gtm.yaml": GTM_YAML.format(name=name, dns=DNS_PORT, endpoints=endpoints, lease=LEASE_S),
                    "geodata/overrides.csv": OVERRIDES,
                    "geodata/regions.yaml": REGIONS_YAML,
                    "probes/checks.yaml": CHECKS_YAML,
                    "zones/example.com.zone": ZONE,
                    "zones/example.com.yaml": STEERING,
                },
            )
            nodes[name] = Node(
                name=name, host=made[name], folder=place, client=Client(host=made[name]),
                env=environments.get(name, {}),
            )  # fmt: skip
        whole = Lab(nodes=nodes, instances=made["world"], folder=folder)
        whole.revive(*EVERY)
        try:
            for node in nodes.values():
                node.start_etcd()
            for node in nodes.values():
                node.serve()
                node.client.start()
            yield whole
        finally:
            for node in nodes.values():
                node.client.stop()
                if node.controller is not None and node.controller.poll() is None:
                    node.resume()
                for pid in node.workers():
                    os.kill(pid, signal.SIGKILL)
