"""A program in a session of its own, followed by its pidfd: ended whole, reaped, and nothing left open.

The loop's own subprocesses wait for whoever still holds the output open, and reap before the group can be killed by a
number that is surely still theirs; so the few system calls are made here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable

OUTPUT_MAX_BYTES = 65536
END_S = 1.0
_READ_BYTES = 16384
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


class Process:
    """A running program. `output` is the beginning of what it has written; more is read and dropped."""

    def __init__(self, argv: tuple[str, ...], on_gone: Callable[[], None]) -> None:
        """Start it, with nothing but PATH and a locale. `on_gone` is called once it is reaped. Raises OSError."""
        self._loop = asyncio.get_running_loop()
        self._on_gone = on_gone
        self._gone = asyncio.Event()
        self.output = bytearray()
        self._out, theirs = os.pipe2(os.O_CLOEXEC)
        try:
            os.set_blocking(self._out, False)
            self._popen = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=theirs,
                stderr=subprocess.DEVNULL,
                env=_ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )
        except BaseException:
            os.close(self._out)
            raise
        finally:
            os.close(theirs)
        self._pidfd = os.pidfd_open(self._popen.pid)
        self._loop.add_reader(self._out, self._read)
        self._loop.add_reader(self._pidfd, self._exited)

    async def wait(self) -> int:
        """The exit code, or minus the signal that ended it, once the program itself is gone."""
        await self._gone.wait()
        return self._popen.returncode

    async def end(self) -> None:
        """Kill what is left of it, and wait for a moment until it is gone; if that is not enough, it goes later."""
        if self._gone.is_set():
            return
        self._kill()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await self._gone.wait()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)

    def _read(self) -> None:
        """Take in what there is; whether all of it was."""
        try:
            part = os.read(self._out, _READ_BYTES)
        except BlockingIOError:
            return
        self.output += part[: OUTPUT_MAX_BYTES - len(self.output)]
        if not part:
            self._loop.remove_reader(self._out)

    def _exited(self) -> None:
        """The program is a zombie: its number is still its own, so its children can be killed by it; then reap it."""
        self._loop.remove_reader(self._pidfd)
        self._loop.remove_reader(self._out)
        with contextlib.suppress(BlockingIOError):
            while len(self.output) < OUTPUT_MAX_BYTES and (part := os.read(self._out, _READ_BYTES)):
                self.output += part[: OUTPUT_MAX_BYTES - len(self.output)]
        self._kill()
        self._popen.wait()
        os.close(self._pidfd)
        os.close(self._out)
        self._gone.set()
        self._on_gone()
