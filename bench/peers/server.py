"""What the benchmark needs to know of a server."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bench.netns import Arena, stop

PORT = 53
SERVER_CPU = "1"
LOAD_CPU = "0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where and with what a server runs.

    The pair of namespaces, its own empty folder, the MMDB that all of them read, the continent of every country in it,
    and for the bare loop the same as one byte per /24: the region's number.
    """

    arena: Arena
    folder: Path
    database: Path
    regions24: Path
    continents: Mapping[str, str]


class Server(ABC):
    """One server under test. `tag` is its name on the command line, `packages` are Debian's."""

    tag: str
    packages: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    start_limit_s: float = 60.0

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    @property
    @abstractmethod
    def title(self) -> str:
        """Its name in the table."""

    @abstractmethod
    def version(self) -> str:
        """Its version as it tells it."""

    @abstractmethod
    def write(self, site: Site) -> None:
        """Write its configuration into the site's folder."""

    @abstractmethod
    def command(self, site: Site) -> list[str]:
        """The foreground command that serves on port 53 of bench.netns.SERVER."""

    def missing(self) -> list[str]:
        """The programs (or files) it needs that are not there."""
        return [program for program in self.programs if _find(program) is None and not Path(program).exists()]

    def cpus(self) -> str:
        """The cores its first process may use."""
        return SERVER_CPU

    def start(self, site: Site) -> None:
        """Configure and start it in the server's namespace."""
        self.write(site)
        self._log = (site.folder / "log").open("wb")
        command = site.arena.inside(site.arena.server, *self.command(site), cpu=self.cpus())
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)

    def settle(self) -> None:
        """Pin every thread to the server's core, once the first right answer has come.

        Again, although the process was started pinned: Knot's workers choose their own cores, and the first of them the
        load's, where it would get half of what it can do.
        """
        for pid in self.serving_pids():
            pin(pid, int(SERVER_CPU))

    def serving_pids(self) -> list[int]:
        """The processes that answer queries: their CPU time is what the answers cost."""
        return [self.process.pid] if self.process else []

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            stop(self.process)
        if self._log is not None:
            self._log.close()
        self.process = self._log = None


def pin(pid: int, cpu: int) -> None:
    """Pin all threads of a process to one core, and give its session the priority of the benchmark's own."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text("-20")
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task.name), {cpu})


def _find(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")


def output(*command: str) -> str:
    """What a command prints, both streams, whatever it returns."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout
