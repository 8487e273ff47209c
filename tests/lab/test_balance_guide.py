"""docs/dataplane.md followed to the letter: a client, an instance and two backends, set up by gtm's own commands."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import balancing
from tests.dataplane.bpffs import mounted
from tests.lab.network import Host, switch

VIP, CLIENT, PORT, MTU = "203.0.113.1", "198.51.100.7", 7000, 1500
BACKENDS = {"a1": "10.88.0.11", "a2": "10.88.0.12"}
MODES = {"a1": "generic", "a2": "tc"}
SERVICES = """\
secret_file: keys/balance
services:
  web:
    vips: 203.0.113.1
    ports: tcp/7000
    table_size: 8191
    {way}
    backends:
      a1: {{address: 10.88.0.11, region: us-east}}
      a2: {{address: 10.88.0.12, region: us-east}}
instances:
  small: {{region: us-east, interface: eth0, mode: generic, address: 10.88.0.1, source: 172.31.0.0/16}}
"""
# The way, and what it adds to a packet.
WAYS = {"ipip": ("wrap: ipip", 20), "gre": ("wrap: gre", 24), "gue": ("{wrap: gue, second_chance: true}", 40)}
SERVER = """
import socket, sys, threading
def serve(sock):
    with sock:
        size = 0
        while data := sock.recv(65536):
            size += len(data)
        sock.sendall(f"{sys.argv[1]} {size}".encode())
listening = socket.create_server(("", 7000), backlog=128)
print("listening", flush=True)
while True:
    threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()
"""
UPLOAD, TRIES, PATIENCE_S = 300_000, 24, 120.0


@dataclass
class Site:
    """A deployment, the hosts that it is for, and where the programs are."""

    folder: Path
    built: Path
    pins: Path
    hosts: dict[str, Host]

    def gtm(self, host: str, *words: str) -> str:
        """What a command of gtm says on a host."""
        return self.run(host, [sys.executable, "-m", "gtm.cli.main", *words])

    def shell(self, host: str, *commands: str) -> str:
        """What a shell says on a host; `gtm` is this one."""
        return self.run(host, ["sh", "-ec", "\n".join(commands)])

    def run(self, host: str, command: list[str]) -> str:
        done = subprocess.run(
            self.hosts[host].command(*command),
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
            env={**os.environ, "USER": "ana"},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def balance(self) -> None:
        """The instance's tables as the files and orders say; the kernel goes on alone."""
        where = ("--pins", str(self.pins / "lb"), "--objects", str(self.built), "-C", str(self.folder))
        self.gtm("lb", "balance", "run", "--once", *where)

    def set_up(self, name: str) -> int | None:
        """A backend as `gtm balance setup` says, and its server; the MSS that it tells."""
        said = json.loads(self.gtm(name, "balance", "setup", f"web/{name}", "--json", "-C", str(self.folder)))
        assert said["notes"] == []
        own = f"{sys.executable} -m gtm.cli.main"
        more = f"--mode {MODES[name]} --pins {self.pins / name} --objects {self.built}"
        for command in said["commands"]:
            is_ours = command.startswith("gtm ")
            self.shell(name, f"{own} {command.removeprefix('gtm ')} {more}" if is_ours else command)
        server = self.hosts[name].start(
            sys.executable, "-c", SERVER, name, log=self.folder / f"{name}.log", stdout=subprocess.PIPE
        )
        assert server.stdout is not None
        assert server.stdout.readline() == b"listening\n"
        mss: int | None = said["advmss4"]
        return mss

    def upload(self) -> tuple[str, int]:
        """Who took an upload from the client, and in segments of what size."""
        with self.hosts["client"].inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as sock:
            sock.settimeout(PATIENCE_S)
            sock.bind((CLIENT, 0))
            sock.connect((VIP, PORT))
            segment = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
            sock.sendall(bytes(UPLOAD))
            sock.shutdown(socket.SHUT_WR)
            name, size = sock.recv(100).split()
        assert int(size) == UPLOAD
        return name.decode(), segment


@contextmanager
def site(built: Path, folder: Path, way: str) -> Iterator[Site]:
    (folder / "deployment").mkdir()
    balancing.write(folder / "deployment", SERVICES.format(way=way))
    hosts = [("client", ["10.88.0.2/24"]), ("lb", ["10.88.0.1/24"]), *((n, [f"{a}/24"]) for n, a in BACKENDS.items())]
    with switch(hosts) as made, mounted(folder / "bpf") as pins:
        one = Site(folder=folder / "deployment", built=built, pins=pins, hosts=made)
        for name in made:
            one.shell(name, "ethtool -K eth0 tx off gro off")  # a veth would leave sums to hardware that is not there
        one.shell("client", f"ip address add {CLIENT}/32 dev lo", f"ip route add {VIP} via 10.88.0.1 src {CLIENT}")
        for name in BACKENDS:
            one.shell(name, "ip route add default via 10.88.0.2")
        yield one


@pytest.mark.parametrize("way", list(WAYS))
def test_the_guide_leads_to_a_service_and_a_drain(built: Path, tmp_path: Path, way: str) -> None:
    text, overhead = WAYS[way]
    text = text.strip("{}").replace(", ", "\n    ")
    with site(built, tmp_path, text) as made:
        told = {made.set_up(name) for name in BACKENDS}
        assert told == {MTU - overhead - 40}
        made.balance()
        taken = [made.upload() for _ in range(TRIES)]
        assert set(Counter(name for name, _ in taken)) == set(BACKENDS)
        assert all(segment <= MTU - overhead - 40 for _, segment in taken)
        made.gtm("lb", "drain", "backend/web/a1", "--reason", "disk", "-C", str(made.folder))
        made.balance()
        assert {name for name, _ in (made.upload() for _ in range(TRIES))} == {"a2"}
        made.gtm("lb", "undrain", "backend/web/a1", "-C", str(made.folder))
        made.balance()
        assert {name for name, _ in (made.upload() for _ in range(TRIES))} == set(BACKENDS)
        off = made.gtm("a1", "balance", "decap", "eth0", "--off", "--pins", str(made.pins / "a1"))
        assert off == "eth0: nothing is unwrapped any more\n"
        assert made.gtm("lb", "balance", "detach", "--pins", str(made.pins / "lb")) == "eth0: detached\n"
