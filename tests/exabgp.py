"""The real ExaBGP for tests: a process of it whose API is a socket here."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

DEADLINE_S = 60.0
BRIDGE = """
import os, select, socket, sys
link = socket.socket(socket.AF_UNIX)
link.connect(sys.argv[1])
while True:
    ready, _, _ = select.select([0, link], [], [])
    for source in ready:
        data = os.read(0, 65536) if source == 0 else link.recv(65536)
        if not data:
            sys.exit()
        if source == 0:
            link.sendall(data)
        while source != 0 and data:
            data = data[os.write(1, data):]
"""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A neighbour of the ExaBGP under test, on loopback."""

    address: str
    port: int
    local_asn: int = 65010
    asn: int = 65000
    add_path: bool = False

    def text(self, process: str) -> str:
        """Its section of exabgp.conf."""
        return f"""neighbor {self.address} {{
  router-id 192.0.2.9; local-address 127.0.0.1; local-as {self.local_asn}; peer-as {self.asn}; hold-time 60;
  connect {self.port};
  family {{ ipv4 unicast; ipv6 unicast; }}
  capability {{ graceful-restart disable; {"add-path send;" if self.add_path else ""} }}
  api {{ processes [ {process} ]; neighbor-changes; }}
}}
"""


@dataclass(kw_only=True)
class ExaBgp:
    """A running ExaBGP, and the socket that stands for its process's standard input and output."""

    process: subprocess.Popen[bytes]
    link: socket.socket
    log: Path


def command() -> str | None:
    """The exabgp beside this Python, or on PATH."""
    beside = Path(sys.executable).with_name("exabgp")
    return str(beside) if beside.exists() else shutil.which("exabgp")


def environment() -> dict[str, str]:
    """Without a command line of its own, and as who runs the tests: as root it would become nobody."""
    return {**os.environ, "exabgp.daemon.user": "root" if os.geteuid() == 0 else "", "exabgp.api.cli": "false"}


@contextlib.contextmanager
def exabgp(folder: Path, peers: Sequence[Peer]) -> Iterator[ExaBgp]:
    """ExaBGP with those neighbours; ended, and its process with it."""
    program = command()
    assert program is not None, "needs exabgp: pip install 'gtm[bgp]'"
    bridge, path, config = folder / "bridge.py", folder / "api.sock", folder / "exabgp.conf"
    bridge.write_text(BRIDGE)
    run = shlex.join([sys.executable, str(bridge), str(path)])
    config.write_text(f"process test {{ run {run}; encoder json; }}\n" + "".join(peer.text("test") for peer in peers))
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listener, (folder / "log").open("wb") as log:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(DEADLINE_S)
        process = subprocess.Popen(
            [program, str(config)], env=environment(), stdout=log, stderr=log, start_new_session=True
        )
        try:
            with listener.accept()[0] as link:
                link.settimeout(DEADLINE_S)
                yield ExaBgp(process=process, link=link, log=folder / "log")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # a session of its own: nobody else is in it
            process.wait(DEADLINE_S)
