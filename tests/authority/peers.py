"""BIND, NSD, Knot and PowerDNS from Debian's packages, serving a folder of zones on loopback ports."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple


class Peer(NamedTuple):
    """A server's name, how to start it in the foreground, and the file with its configuration."""

    name: str
    command: tuple[str, ...]
    config: str


def peers(zones: Mapping[str, Path], folder: Path, ports: tuple[int, int, int, int]) -> list[Peer]:
    """The four servers with configurations for these zones, each in its own folder below `folder`."""
    bind, nsd, knot, power = ports
    bind_zones = "".join(
        f'zone "{zone}" {{ type primary; file "{path}"; check-names ignore; }};\n' for zone, path in zones.items()
    )
    return [
        Peer(
            "bind",
            ("named", "-g", "-c", "bind.conf", "-n", "1"),
            f"""options {{ directory "{folder / "bind"}";
  listen-on port {bind} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
  recursion no; allow-query {{ any; }}; pid-file none; notify no; empty-zones-enable no; dnssec-validation no;
  check-integrity no; check-wildcard no; check-mx ignore; check-dup-records ignore; check-srv-cname ignore;
  check-mx-cname ignore; check-sibling no; check-spf ignore; session-keyfile none;
  minimal-responses no-auth; max-records-per-type 0;
  }};
controls {{ }};
{bind_zones}""",
        ),
        Peer(
            "nsd",
            ("nsd", "-d", "-c", "nsd.conf", "-P", ""),
            f"""server:
  ip-address: 127.0.0.1@{nsd}
  username: ""
  zonesdir: "{folder / "nsd"}"
  database: ""
  pidfile: ""
  xfrdfile: "xfrd.state"
  zonelistfile: "zone.list"
  server-count: 1
remote-control:
  control-enable: no
"""
            + "".join(f'zone:\n  name: "{zone}"\n  zonefile: "{path}"\n' for zone, path in zones.items()),
        ),
        Peer(
            "knot",
            ("knotd", "-c", "knot.conf"),
            f"""server:
  listen: 127.0.0.1@{knot}
  rundir: {folder / "knot"}
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
database:
  storage: {folder / "knot"}
log:
  - target: stderr
    any: warning
template:
  - id: default
    zonefile-load: whole
    journal-content: none
    semantic-checks: off
zone:
"""
            + "".join(f'  - domain: "{zone}"\n    file: "{path}"\n' for zone, path in zones.items()),
        ),
        Peer(
            "power",
            ("pdns_server", f"--config-dir={folder / 'power'}"),
            f"""launch=bind
bind-config={folder / "power" / "named.conf"}
bind-check-interval=0
local-address=127.0.0.1
local-port={power}
socket-dir={folder / "power"}
any-to-tcp=no
8bit-dns=yes
dname-processing=yes
cache-ttl=0
query-cache-ttl=0
negquery-cache-ttl=0
zone-cache-refresh-interval=0
guardian=no
daemon=no
disable-syslog=yes
loglevel=4
security-poll-suffix=
""",
        ),
    ]


FILES = {"bind": "bind.conf", "nsd": "nsd.conf", "knot": "knot.conf", "power": "pdns.conf"}


@contextmanager
def running(zones: Mapping[str, Path], folder: Path) -> Iterator[dict[str, int]]:
    """Server name -> UDP and TCP port on 127.0.0.1, while the block runs."""
    ports = tuple(_free_port() for _ in range(4))
    processes = []
    shutil.rmtree(folder, ignore_errors=True)
    try:
        for peer in peers(zones, folder, ports):  # type: ignore[arg-type]  # four of them
            home = folder / peer.name
            home.mkdir(parents=True)
            home.chmod(0o777)
            (home / FILES[peer.name]).write_text(peer.config)
            if peer.name == "power":
                (home / "named.conf").write_text(
                    "".join(f'zone "{zone}" {{ type master; file "{path}"; }};\n' for zone, path in zones.items())
                )
            with (home / "log").open("w") as log:
                processes.append(subprocess.Popen(peer.command, cwd=home, stdout=log, stderr=log))
        answering = dict(zip(FILES, ports, strict=True))
        for name, port in answering.items():
            _wait(name, port)
        yield answering
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(20)


def _free_port() -> int:
    """A port that is free for UDP and for TCP."""
    while True:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram,
        ):
            stream.bind(("127.0.0.1", 0))
            port = int(stream.getsockname()[1])
            try:
                datagram.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _wait(name: str, port: int) -> None:
    query = bytes.fromhex("000100000001000000000000") + b"\0" + bytes.fromhex("00020001")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if ask(port, query, tcp=False, timeout_s=0.3) is not None:
            return
        time.sleep(0.1)
    raise RuntimeError(f"{name} does not answer")


def ask(port: int, query: bytes, *, tcp: bool, timeout_s: float = 2.0) -> bytes | None:
    """The reply from a port of 127.0.0.1, or None."""
    kind = socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.settimeout(timeout_s)
        try:
            sock.connect(("127.0.0.1", port))
            if not tcp:
                sock.send(query)
                return sock.recv(65535)
            sock.sendall(len(query).to_bytes(2, "big") + query)
            size = int.from_bytes(_exactly(sock, 2), "big")
            return _exactly(sock, size)
        except OSError:
            return None


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise ConnectionResetError
        data += more
    return data
