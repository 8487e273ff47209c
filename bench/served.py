"""One `gtm serve` on a loopback port: started, watched until it answers, and stopped with all that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.machine import children
from bench.netns import ArenaError
from bench.peers.gtm import worker_pids
from bench.question import query

ROOT = Path(__file__).resolve().parents[1]
HOST = "127.0.0.1"


class Served:
    """A running server: its port, its processes, and a socket to ask it with."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self._log = log
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(0.2)
        self._socket.connect((HOST, port))

    def ask(self, packet: bytes) -> bytes | None:
        """The reply to a query, or None if none came in 0.2 s or nobody listens."""
        try:
            self._socket.send(packet)
            while True:
                reply = self._socket.recv(4096)
                if reply[:2] == packet[:2]:
                    return reply
        except (TimeoutError, ConnectionRefusedError):
            return None

    def await_answer(self, packet: bytes, wanted: bytes, limit_s: float, step_s: float = 0.0005) -> float:
        """The time.monotonic() at which a reply first ended its answer section with `wanted` (an address).

        Raises ArenaError with the log's end if that takes too long or the server dies.
        """
        end = time.monotonic() + limit_s
        at = answer_end(packet)
        while time.monotonic() < end:
            reply = self.ask(packet)
            if reply is not None and reply[3] & 15 == 0 and reply[at - len(wanted) : at] == wanted:
                return time.monotonic()
            if self.process.poll() is not None:
                raise ArenaError(f"gtm ended before it answered; its log ends:\n{self.log()[-3000:]}")
            time.sleep(step_s)
        raise ArenaError(f"no right answer within {limit_s:g} s; the log ends:\n{self.log()[-3000:]}")

    def log(self) -> str:
        """What it has printed."""
        return self._log.read_text(errors="replace")

    def workers(self) -> list[int]:
        """Its DNS workers."""
        return worker_pids(children(self.process.pid))

    def close(self) -> None:
        """End it and whatever it leaves behind."""
        self._socket.close()
        family = children(self.process.pid)
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        for pid in family:
            if pid == self.process.pid or b"gtm." in _command(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait()


def answer_end(packet: bytes) -> int:
    """Where the first answer record of a reply ends, if it is an A record with a pointer for its owner."""
    return packet.find(0, 12) + 5 + 16


def plain(name: str) -> bytes:
    """A plain A query."""
    return query(0x5A5A, name)


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def free_port() -> int:
    """A port that nobody uses, for UDP and TCP."""
    with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        tcp.bind((HOST, 0))
        udp.bind((HOST, tcp.getsockname()[1]))
        return int(tcp.getsockname()[1])


def environment() -> Mapping[str, str]:
    """The environment in which the repository's own gtm runs."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[Served]:
    """`gtm serve` of a deployment folder on a free port; it may not answer yet."""
    port = free_port()
    log = folder.parent / f"{folder.name}.log"
    command = [sys.executable, "-m", "gtm.cli.main", "serve", "-C", str(folder), "--listen", f"{HOST}:{port}"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    served = Served(process, port, log)
    try:
        yield served
    finally:
        served.close()
