"""Hosts: network namespaces on one switch, with sockets and processes inside them."""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest

CLONE_NEWNET = 0x40000000
T = TypeVar("T")
_numbers = itertools.count()


def needs_network() -> None:
    """Skip where namespaces cannot be made."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to make network namespaces")
    if shutil.which("ip") is None or shutil.which("nft") is None:
        pytest.skip("needs the packages iproute2 and nftables")


def overflowed() -> int:
    """How many packets this machine has dropped since it booted, its backlogs full (net.core.netdev_max_backlog).

    All namespaces share the backlogs, so what a test loses may be the fault of something else that runs here.
    """
    rows = Path("/proc/net/softnet_stat").read_text().splitlines()
    return sum(int(row.split()[1], 16) for row in rows)


@dataclass(slots=True)
class Host:
    """A network namespace with one link to the switch and the addresses on it."""

    name: str
    link: str
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def command(self, *words: str) -> list[str]:
        """A command as it is run inside; the process that starts is the command itself."""
        return ["nsenter", f"--net=/run/netns/{self.name}", *words]

    def start(
        self, *words: str, log: Path, env: dict[str, str] | None = None, stdout: int | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a process inside, its words going into a log."""
        with log.open("ab") as file:
            process = subprocess.Popen(
                self.command(*words), stdout=stdout or file, stderr=file, env={**os.environ, **(env or {})}
            )
        self.processes.append(process)
        return process

    def inside(self, make: Callable[[], T]) -> T:
        """What `make` gives when it is called inside: mostly a socket, which then may be used anywhere."""
        with ThreadPoolExecutor(1, initializer=_enter, initargs=(self.name,)) as thread:
            return thread.submit(make).result()

    def cut(self) -> None:
        """Take the link down."""
        _run("ip", "-n", self.name, "link", "set", self.link, "down")

    def heal(self) -> None:
        """Take the link up."""
        _run("ip", "-n", self.name, "link", "set", self.link, "up")

    def block(self, *ports: int) -> None:
        """Drop what goes to or comes from these TCP ports by the link."""
        words = ", ".join(map(str, ports))
        rules = f"""table inet lab {{
            chain in {{ type filter hook input priority 0; iif {self.link} tcp sport {{ {words} }} drop;
                iif {self.link} tcp dport {{ {words} }} drop; }}
            chain out {{ type filter hook output priority 0; oif {self.link} tcp dport {{ {words} }} drop;
                oif {self.link} tcp sport {{ {words} }} drop; }}
        }}"""
        subprocess.run(self.command("nft", "-f", "-"), input=rules.encode(), check=True, timeout=30)

    def unblock(self) -> None:
        """Undo `block`."""
        _run(*self.command("nft", "delete", "table", "inet", "lab"))


@contextmanager
def switch(hosts: Sequence[tuple[str, Sequence[str]]]) -> Iterator[dict[str, Host]]:
    """Hosts by name, each with its addresses ("10.77.0.1/16"), all on one switch; gone at the end with all they ran."""
    needs_network()
    prefix = f"gl{os.getpid() % 100000}-{next(_numbers)}"
    middle = f"{prefix}-sw"
    made: dict[str, Host] = {}
    try:
        _run("ip", "netns", "add", middle)
        _run("ip", "-n", middle, "link", "add", "br0", "type", "bridge")
        _run("ip", "-n", middle, "link", "set", "br0", "up")
        for number, (name, addresses) in enumerate(hosts):
            host = made[name] = Host(name=f"{prefix}-{name}", link="eth0")
            _run("ip", "netns", "add", host.name)
            _run("ip", "-n", host.name, "link", "set", "lo", "up")
            far = f"p{number}"
            _run("ip", "link", "add", far, "netns", middle, "type", "veth", "peer", "name", "eth0", "netns", host.name)
            _run("ip", "-n", middle, "link", "set", far, "master", "br0", "up")
            for address in addresses:
                _run("ip", "-n", host.name, "addr", "add", address, "dev", "eth0")
            host.heal()
        yield made
    finally:
        for host in made.values():
            for process in host.processes:
                if process.poll() is None:
                    process.kill()
                    process.wait(60)
        for name in [*(host.name for host in made.values()), middle]:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True, timeout=30)


def datagrams(address: str, port: int) -> socket.socket:
    """A UDP socket that talks to one address."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect((address, port))
    sock.settimeout(0.25)
    return sock


def _enter(name: str) -> None:
    with Path(f"/run/netns/{name}").open() as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter {name}")


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
