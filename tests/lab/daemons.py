"""FRR, BIRD and ExaBGP as processes of a host, each with everything private to it."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.lab.fabric import DEADLINE_S, run, until
from tests.lab.network import Host

FRR_DAEMONS = Path("/usr/lib/frr")
EXABGP = Path(sys.executable).with_name("exabgp")
TREE = Path(__file__).parents[2]
EXABGP_SETTINGS = {
    "PYTHONPATH": str(TREE),  # the process is started in /
    "exabgp.daemon.user": "root",  # or else it drops to nobody, and gtm with it
    "exabgp.api.cli": "false",
    "exabgp.log.level": "INFO",
}


def needs_routers() -> None:
    """Skip where FRR, BIRD or ExaBGP are not installed."""
    if not (FRR_DAEMONS / "bgpd").exists() or shutil.which("bird") is None:
        pytest.skip("needs the packages frr and bird2")
    if not EXABGP.exists():
        pytest.skip("needs exabgp, the extra bgp")


@dataclass(slots=True)
class Frr:
    """FRR in a host: zebra, bfdd, and bgpd if it is a router. Its folder is one that the user frr can get to."""

    host: Host
    folder: Path
    daemons: tuple[str, ...] = ("zebra", "bfdd", "bgpd")
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, config: str) -> None:
        """Start, and then configure: a file given at the start is read by each daemon up to the first strange word."""
        self.folder.mkdir(parents=True, exist_ok=True)
        shutil.chown(self.folder, "frr", "frr")
        for name in self.daemons:
            more = ("--bfdctl", str(self.folder / "bfdd.sock")) if name == "bfdd" else ()
            self.processes[name] = self.host.start(
                str(FRR_DAEMONS / name), "-f", "/dev/null", "-i", str(self.folder / f"{name}.pid"),
                "-z", str(self.folder / "zserv.api"), "--vty_socket", str(self.folder), "-A", "127.0.0.1",
                "--log", f"file:{self.folder / name}.log", *more, log=self.folder / "out",
            )  # fmt: skip
            ready = self.folder / ("zserv.api" if name == "zebra" else f"{name}.vty")
            until(ready.exists, f"{name} is up")
        until((self.folder / "zebra.vty").exists, "zebra can be configured")
        file = self.folder / "frr.conf"
        file.write_text(config)
        run("vtysh", "--vty_socket", str(self.folder), "-f", str(file))

    def show(self, words: str) -> Any:
        """What a show command says, as JSON; nothing where it says no such thing, which is not JSON."""
        said = run("vtysh", "--vty_socket", str(self.folder), "-c", words)
        return {} if said.startswith("%") or not said.strip() else json.loads(said)

    def command(self, *lines: str) -> None:
        """Say lines to the running daemons."""
        words = [word for line in lines for word in ("-c", line)]
        run("vtysh", "--vty_socket", str(self.folder), *words)


@dataclass(slots=True)
class Bird:
    """BIRD in a host."""

    host: Host
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def control(self) -> Path:
        """Its control socket."""
        return self.folder / "bird.ctl"

    def start(self, config: str) -> None:
        """Start with a configuration, and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "bird.conf"
        file.write_text(config)
        self.process = self.host.start(
            "bird", "-f", "-c", str(file), "-s", str(self.control), "-P", str(self.folder / "bird.pid"),
            log=self.folder / "out",
        )  # fmt: skip
        until(lambda: self.control.exists() and "up and running" in self.show("show status"), "BIRD is up")

    def show(self, words: str) -> str:
        """What a command says, without its numbers."""
        said = b""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock, suppress(ConnectionError, FileNotFoundError):
            sock.settimeout(DEADLINE_S)
            sock.connect(str(self.control))
            sock.recv(4096)  # the banner
            sock.sendall(f"{words}\n".encode())
            while not any(line[:5] in {b"0000 ", b"0013 "} or line[:1] in b"89" for line in said.split(b"\n") if line):
                said += sock.recv(1 << 16)
        return "\n".join(line[5:] if line[:4].isdigit() else line[1:] for line in said.decode().splitlines())


@dataclass(slots=True)
class Exabgp:
    """ExaBGP in a host, with the configuration that gtm renders; its process is ours."""

    host: Host
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self, config: Path, env: dict[str, str] | None = None) -> None:
        """Start it."""
        self.process = self.host.start(
            str(EXABGP), str(config), log=self.folder / "exabgp.log", env={**EXABGP_SETTINGS, **(env or {})}
        )

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def log(self) -> str:
        """What it said, and what the announcer said beside it."""
        return (self.folder / "exabgp.log").read_text(errors="replace")
