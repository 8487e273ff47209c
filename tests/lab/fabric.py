"""Hosts joined by wires of their own, as routers are, and what a kernel does to its routes, as it happens."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Self

from gtm.model.address import IPNetwork
from tests.lab.network import Host, needs_network

DEADLINE_S = 240.0
RTM_NEWROUTE, RTM_DELROUTE = 24, 25
RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_ROUTE = 0x40, 0x400
RTA_DST, RTA_GATEWAY, RTA_MULTIPATH, RTA_TABLE, RTA_VIA = 1, 5, 9, 15, 18
RT_TABLE_MAIN = 254
SO_RCVBUFFORCE, BUFFER_BYTES = 33, 8 << 20
_numbers = itertools.count()

SYSCTLS = (
    "net.ipv4.ip_forward=1",
    "net.ipv6.conf.all.forwarding=1",
    "net.ipv4.conf.all.rp_filter=0",
    "net.ipv4.conf.default.rp_filter=0",
    "net.ipv6.conf.all.keep_addr_on_down=1",
    "net.ipv6.conf.default.keep_addr_on_down=1",
)


@dataclass(slots=True)
class Fabric:
    """Hosts by name, made one by one. `folder` is for daemons that drop root, unlike a test's own."""

    prefix: str
    folder: Path
    hosts: dict[str, Host] = field(default_factory=dict)

    def host(self, name: str) -> Host:
        """A new host, which forwards."""
        made = Host(name=f"{self.prefix}-{name}", link="")
        run("ip", "netns", "add", made.name)
        self.hosts[name] = made
        run("ip", "-n", made.name, "link", "set", "lo", "up")
        run(*made.command("sysctl", "-q", "-w", *SYSCTLS))
        return made

    def join(self, left: str, right: str, subnet: str) -> None:
        """A wire between two hosts; its ends are named after the far one, its addresses SUBNET.1 and .2 of both kinds.

        `subnet` is "61.1": 10.61.1.0/24 and fd61:1::/64.
        """
        one, other = self.hosts[left], self.hosts[right]
        run(
            "ip", "link", "add", right, "netns", one.name, "type", "veth",
            "peer", "name", left, "netns", other.name,
        )  # fmt: skip
        for number, (host, link) in enumerate(((one, right), (other, left)), start=1):
            for address in (f"10.{subnet}.{number}/24", f"fd{subnet.replace('.', ':')}::{number}/64"):
                run("ip", "-n", host.name, "addr", "add", address, "dev", link, *(("nodad",) if ":" in address else ()))
            run("ip", "-n", host.name, "link", "set", link, "up")

    def silence(self, host: Host) -> None:
        """Drop everything that a host sends and that comes to it, without a sign of it."""
        rules = """table inet silence {
            chain in { type filter hook prerouting priority -300; iif != lo drop; }
            chain out { type filter hook output priority -300; oif != lo drop; }
        }"""
        subprocess.run(host.command("nft", "-f", "-"), input=rules.encode(), check=True, timeout=30)

    def cut(self, host: Host, link: str) -> None:
        """Drop what comes and goes by one link, without a sign of it."""
        rules = f"""table inet cut {{
            chain in {{ type filter hook prerouting priority -300; iifname {link} drop; }}
            chain out {{ type filter hook output priority -300; oifname {link} drop; }}
        }}"""
        subprocess.run(host.command("nft", "-f", "-"), input=rules.encode(), check=True, timeout=30)

    def hear_again(self, host: Host) -> None:
        """Undo `silence` and `cut`."""
        run(*host.command("nft", "flush", "ruleset"))

    def unplug(self, host: Host, *links: str) -> None:
        """Take links of a host down, in one go."""
        _batch(host, [f"link set {link} down" for link in links])

    def plug(self, host: Host, *links: str) -> None:
        """Take them up again."""
        _batch(host, [f"link set {link} up" for link in links])


@contextmanager
def fabric() -> Iterator[Fabric]:
    """An empty fabric; at the end all that was started in its hosts is killed and they are gone."""
    needs_network()
    made = Fabric(prefix=f"gf{os.getpid() % 100000}-{next(_numbers)}", folder=Path(tempfile.mkdtemp(prefix="gtm-lab-")))
    made.folder.chmod(0o755)
    try:
        yield made
    finally:
        for host in made.hosts.values():
            for process in host.processes:
                if process.poll() is None:
                    process.kill()
                    process.wait(DEADLINE_S)
            for pid in pids(host):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for host in made.hosts.values():
            subprocess.run(["ip", "netns", "del", host.name], check=False, capture_output=True, timeout=30)
        shutil.rmtree(made.folder, ignore_errors=True)


def _batch(host: Host, lines: Sequence[str]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    subprocess.run(["ip", "-n", host.name, "-batch", "-"], input=text.encode(), check=True, timeout=30)


def pids(host: Host) -> list[int]:
    """The processes inside a host, which is ours alone."""
    said = subprocess.run(["ip", "netns", "pids", host.name], check=False, capture_output=True, text=True, timeout=30)
    return [int(pid) for pid in said.stdout.split()]


def run(*words: str) -> str:
    """What a command prints; it must succeed."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr or done.stdout}"
    return done.stdout


def until(what: Callable[[], bool], doing: str, *, every_s: float = 0.02, deadline_s: float = DEADLINE_S) -> float:
    """Wait until something is so; when that was noticed."""
    end_s = time.monotonic() + deadline_s
    while not what():
        assert time.monotonic() < end_s, f"never came about: {doing}"
        time.sleep(every_s)
    return time.monotonic()


@dataclass(frozen=True, slots=True)
class Change:
    """A route of the main table as it became: its gateways, none at all once it is gone."""

    at_s: float
    prefix: str
    gateways: tuple[str, ...]


def only(gateway: str) -> Callable[[tuple[str, ...]], bool]:
    """Whether a route goes to a gateway alone."""
    return lambda now: now == (gateway,)


def without(gateway: str) -> Callable[[tuple[str, ...]], bool]:
    """Whether there is a route, and it does not go to a gateway."""
    return lambda now: bool(now) and gateway not in now


class Fib:
    """The kernel's routes to some prefixes in one host: all changes since the start, by the kernel's own messages."""

    def __init__(self, host: Host, prefixes: Sequence[IPNetwork | str]) -> None:
        self.changes: list[Change] = []
        self.now: dict[str, tuple[str, ...]] = {}
        self.overruns = 0
        self._prefixes = {str(prefix) for prefix in prefixes}
        self._changed = threading.Condition()
        self._socket = host.inside(_listen)
        self._over = False
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._over = True
        self._thread.join()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait(self, prefix: str, good: Callable[[tuple[str, ...]], bool], doing: str, *, since_s: float = 0.0) -> float:
        """When the route to a prefix first became good after a time; or that time itself if it was so already."""

        def found() -> float | None:
            before = [change for change in self.changes if change.prefix == prefix and change.at_s <= since_s]
            if since_s and good(before[-1].gateways if before else ()):
                return since_s
            later = (change for change in self.changes if change.prefix == prefix and change.at_s > since_s)
            return next((change.at_s for change in later if good(change.gateways)), None)

        with self._changed:
            assert self._changed.wait_for(lambda: found() is not None, DEADLINE_S), (
                f"{doing}: {prefix} by {self.now.get(prefix, ())}, {self.changes[-5:]}"
            )
            at_s = found()
        assert at_s is not None
        return at_s

    def _follow(self) -> None:
        while not self._over:
            try:
                data = self._socket.recv(1 << 16)
            except TimeoutError:
                continue
            except OSError:  # ENOBUFS: some were lost, which nobody may overlook
                self.overruns += 1
                continue
            at_s = time.monotonic()
            with self._changed:
                for kind, prefix, gateways in routes(data):
                    if prefix in self._prefixes:
                        now = gateways if kind == RTM_NEWROUTE else ()
                        self.now[prefix] = now
                        self.changes.append(Change(at_s, prefix, now))
                self._changed.notify_all()


def _listen() -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
    sock.bind((0, RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE))
    sock.settimeout(0.2)
    return sock


def routes(data: bytes) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """The routes of the main table in rtnetlink messages: kind, prefix, gateways."""
    while len(data) >= 16:
        length, kind = struct.unpack_from("=IH", data)
        if kind in {RTM_NEWROUTE, RTM_DELROUTE}:
            family, bits, _, _, table = struct.unpack_from("=BBBBB", data, 16)
            attributes = dict(_attributes(data[28:length]))
            table = struct.unpack("=I", attributes[RTA_TABLE])[0] if RTA_TABLE in attributes else table
            if table == RT_TABLE_MAIN and family in {socket.AF_INET, socket.AF_INET6}:
                address = IPv4Address if family == socket.AF_INET else IPv6Address
                zero = bytes(4 if family == socket.AF_INET else 16)
                yield kind, f"{address(attributes.get(RTA_DST, zero))}/{bits}", tuple(_gateways(attributes))
        data = data[max(16, (length + 3) & ~3) :]


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4:
            return
        yield kind & 0x3FFF, data[4:length]
        data = data[(length + 3) & ~3 :]


def _gateways(attributes: dict[int, bytes]) -> Iterator[str]:
    if RTA_GATEWAY in attributes:
        yield _address(attributes[RTA_GATEWAY])
    elif RTA_VIA in attributes:
        yield _address(attributes[RTA_VIA][2:])
    hops = attributes.get(RTA_MULTIPATH, b"")
    while len(hops) >= 8:
        (length,) = struct.unpack_from("=H", hops)
        yield from _gateways(dict(_attributes(hops[8:length])))
        hops = hops[max(8, (length + 3) & ~3) :]


def _address(data: bytes) -> str:
    return str(IPv4Address(data) if len(data) == 4 else IPv6Address(data))
