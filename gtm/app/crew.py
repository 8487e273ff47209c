"""The controller's children: DNS workers and the API. They outlive it, and it takes over those that it finds."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import structlog

from gtm import __version__
from gtm.model.errors import GtmError

log = structlog.get_logger()

FOLDER = "workers"
START_S = 60.0  # a worker may have to load 20,000 zones first
STOP_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A process to keep alive: a name for its lock and record, and the module and arguments that make it."""

    name: str
    module: str
    arguments: tuple[str, ...]

    def record(self) -> str:
        """What must be equal for a running process to be taken over rather than replaced."""
        return json.dumps({"version": __version__, "module": self.module, "arguments": self.arguments})


@dataclass(slots=True)
class Crew:
    """The processes of one state folder, by role name."""

    state: Path
    roles: tuple[Role, ...] = ()
    children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def muster(self, roles: Sequence[Role]) -> None:
        """Make the running processes those of `roles`: take over, start, replace one by one, and end the others.

        Raises GtmError if one does not come up.
        """
        wanted = {role.name for role in roles}
        for name in [*(role.name for role in self.roles), *left_behind(self.state)]:
            if name not in wanted:
                self._end([name])
        for kind in ("*.counters", "*.rtts"):
            for left in (self.state / FOLDER).glob(kind):
                if left.stem not in wanted:  # else it would be shown as a worker that has died
                    left.unlink(missing_ok=True)
        self.roles = tuple(roles)
        running = [role for role in roles if holder(self.state, role.name) is not None]
        self._start([role for role in roles if role not in running])
        for role in running:
            if not self._taken_over(role):
                self._start([role])

    def tend(self) -> None:
        """Start again what has died; called now and then. Raises GtmError if something does not come up."""
        for name, child in list(self.children.items()):
            if child.poll() is not None:
                log.warning("process_died", role=name, pid=child.pid, code=child.returncode)
                del self.children[name]
        self._start([role for role in self.roles if holder(self.state, role.name) is None])

    def dismiss(self, *, keep: Sequence[str] = ()) -> None:
        """End the crew's processes and wait for them, but for those of the roles in `keep`."""
        self._end([role.name for role in self.roles if role.name not in keep])

    def _taken_over(self, role: Role) -> bool:
        """Whether a process of the role runs and is as it should be; one that is not is ended."""
        pid = holder(self.state, role.name)
        record = _record_path(self.state, role.name)
        if pid is not None and record.exists() and record.read_text() == role.record():
            log.info("process_taken_over", role=role.name, pid=pid)
            return True
        if pid is not None:
            self._end([role.name])
        return False

    def _start(self, roles: Sequence[Role]) -> None:
        """Start processes side by side, and wait until each says that it serves. Raises GtmError if one does not."""
        starting = [(role, *_spawn(role)) for role in roles]
        failed = []
        for role, child, pipe in starting:
            if not _said_ready(pipe):
                child.kill()
                child.wait()
                failed.append(role.name)
                continue
            self.children[role.name] = child
            _record_path(self.state, role.name).write_text(role.record())
            log.info("process_started", role=role.name, pid=child.pid)
        if failed:
            raise GtmError(f"{', '.join(failed)} did not start; the reason is above, in its own words")

    def _end(self, names: Sequence[str]) -> None:
        pids = {name: pid for name in names if (pid := holder(self.state, name)) is not None}
        for pid in pids.values():
            _signal(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        for name, pid in pids.items():
            while holder(self.state, name) == pid:
                if time.monotonic() > deadline:
                    _signal(pid, signal.SIGKILL)
                time.sleep(0.01)
            child = self.children.pop(name, None)
            if child is not None:
                child.wait()
            _record_path(self.state, name).unlink(missing_ok=True)


def _spawn(role: Role) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    """A new process of a role, and the pipe on which it will say that it serves."""
    reading, writing = os.pipe()
    try:
        child = subprocess.Popen(
            [sys.executable, "-m", role.module, *role.arguments, "--ready-fd", str(writing)],
            pass_fds=(writing,),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    finally:
        os.close(writing)
    return child, os.fdopen(reading, "rb", buffering=0)


def _said_ready(pipe: IO[bytes]) -> bool:
    with pipe:
        poll = select.poll()  # not select, which knows descriptors up to 1023 only: probes may hold thousands
        poll.register(pipe, select.POLLIN)
        return bool(poll.poll(START_S * 1000)) and pipe.read(1) == b"1"


def hold(state: Path, name: str) -> object:
    """Take a role's lock for this process, until it ends. Raises GtmError if another process has it."""
    folder = state / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / f"{name}.lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise GtmError(f"{name} of {state} is running already, as process {holder(state, name)}") from error
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def holder(state: Path, name: str) -> int | None:
    """The process that has a role's lock now, or None. The lock decides, not the number: numbers are used again."""
    path = state / FOLDER / f"{name}.lock"
    try:
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return int(file.read() or 0) or None
    except (OSError, ValueError):
        pass
    return None


def left_behind(state: Path) -> list[str]:
    """The names of the roles that some process holds in a state folder, the controller's own aside."""
    names = sorted(path.stem for path in (state / FOLDER).glob("*.lock"))
    return [name for name in names if name != "controller" and holder(state, name) is not None]


def _record_path(state: Path, name: str) -> Path:
    return state / FOLDER / f"{name}.json"


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
