"""Two network namespaces joined by a veth pair, made for one run and removed with everything in them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

SERVER = "198.18.0.1"  # RFC 2544: addresses for benchmarks
CLIENT = "198.18.0.2"
PREFIX = "gtmb"
NETNS = Path("/run/netns")


class ArenaError(Exception):
    """The namespaces cannot be made here; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arena:
    """The pair: namespace names, interface names (one queue each) and the MAC address of the server's end."""

    server: str
    client: str
    server_if: str
    client_if: str

    def inside(self, namespace: str, *command: str, cpu: str | None = None) -> list[str]:
        """The command line that runs `command` in a namespace, pinned to `cpu`, killed when its parent dies."""
        pin = ["taskset", "-c", cpu] if cpu is not None else []
        return ["nsenter", f"--net={NETNS / namespace}", "setpriv", "--pdeathsig", "KILL", *pin, *command]

    def pids(self, namespace: str) -> list[int]:
        """The processes in a namespace."""
        return _pids(namespace)

    def clear(self) -> None:
        """Kill whatever a server has left behind in its namespace."""
        _kill(self.server)

    def counters(self) -> dict[str, int]:
        """The server namespace's UDP counters: InDatagrams, OutDatagrams, RcvbufErrors and so on (/proc/net/snmp)."""
        command = self.inside(self.server, "cat", "/proc/net/snmp")
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        keys, values = (line.split()[1:] for line in text.splitlines() if line.startswith("Udp:"))
        return dict(zip(keys, map(int, values), strict=True))


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ArenaError(f"`ip {' '.join(arguments)}` failed: {done.stderr.strip()}")


def _sweep() -> None:
    """Remove what a killed run left: namespaces of ours whose process is gone."""
    if not NETNS.is_dir():
        return
    for entry in NETNS.iterdir():
        found = re.fullmatch(rf"{PREFIX}(\d+)[sc]", entry.name)
        if found and not Path("/proc", found[1]).exists():
            _remove(entry.name)


def _pids(namespace: str) -> list[int]:
    listed = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False).stdout
    return [int(pid) for pid in listed.split()]


def _kill(namespace: str) -> None:
    for pid in _pids(namespace):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _remove(namespace: str) -> None:
    """Kill whatever still runs in a namespace of ours, then remove it."""
    _kill(namespace)
    subprocess.run(["ip", "netns", "del", namespace], capture_output=True, check=False)


def _build(arena: Arena) -> None:
    for namespace in (arena.server, arena.client):
        _ip("netns", "add", namespace)
        _ip("-n", namespace, "link", "set", "lo", "up")
    queues = ["numrxqueues", "1", "numtxqueues", "1"]
    peer = ["peer", "name", arena.client_if, *queues, "netns", arena.client]
    _ip("link", "add", arena.server_if, *queues, "netns", arena.server, "type", "veth", *peer)
    for namespace, interface, address in (
        (arena.server, arena.server_if, SERVER),
        (arena.client, arena.client_if, CLIENT),
    ):
        _ip("-n", namespace, "address", "add", f"{address}/30", "dev", interface)
        _ip("-n", namespace, "link", "set", interface, "up")
    # Every other address is reached through, and lives at, the client: so a query may come from anywhere in the world.
    _ip("-n", arena.server, "route", "add", "default", "via", CLIENT)
    _ip("-n", arena.client, "route", "add", "default", "via", SERVER)
    _ip("-n", arena.client, "route", "add", "local", "0.0.0.0/1", "dev", "lo")
    _ip("-n", arena.client, "route", "add", "local", "128.0.0.0/2", "dev", "lo")
    # Neighbours are fixed: no ARP while measuring.
    for namespace, interface, address in (
        (arena.server, arena.server_if, CLIENT),
        (arena.client, arena.client_if, SERVER),
    ):
        other_ns, other_if = (
            (arena.client, arena.client_if) if namespace == arena.server else (arena.server, arena.server_if)
        )
        mac = _mac(other_ns, other_if)
        _ip("-n", namespace, "neigh", "replace", address, "lladdr", mac, "dev", interface, "nud", "permanent")


def _mac(namespace: str, interface: str) -> str:
    text = run(["ip", "-n", namespace, "-o", "link", "show", interface], limit_s=10)
    found = re.search(r"link/ether (\S+)", text)
    if found is None:
        raise ArenaError(f"no MAC address on {interface} in {namespace}")
    return found[1]


@contextlib.contextmanager
def arena() -> Iterator[Arena]:
    """Make the namespaces; on the way out (end, error, Ctrl-C, SIGTERM) kill what runs in them and remove them."""

    def leave(signum: int, _: FrameType | None) -> None:
        sys.exit(128 + signum)

    made = Arena(
        server=f"{PREFIX}{os.getpid()}s",
        client=f"{PREFIX}{os.getpid()}c",
        server_if=f"s{os.getpid()}",
        client_if=f"c{os.getpid()}",
    )
    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        _sweep()
        _build(made)
        yield made
    finally:
        for namespace in (made.client, made.server):
            _remove(namespace)
        for number, handler in before.items():
            signal.signal(number, handler)


def stop(process: subprocess.Popen[bytes], grace_s: float = 3.0) -> None:
    """End a process that was started here: TERM, then KILL after `grace_s`."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(grace_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run(command: Sequence[str], *, limit_s: float) -> str:
    """What the command printed, both streams; raises ArenaError with its last lines if it failed."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=limit_s, check=False
    )
    if done.returncode:
        raise ArenaError(f"`{' '.join(command)}` failed ({done.returncode}): {done.stdout[-2000:]}")
    return done.stdout
