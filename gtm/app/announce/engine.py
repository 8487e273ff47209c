"""The ExaBGP process that started us: held by a descriptor, so that no signal can reach another of the same number."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path


class Engine:
    """A process by pidfd. `name` is different for each process since the machine booted."""

    def __init__(self, pid: int) -> None:
        """Hold on to a process. Raises ProcessLookupError where there is none."""
        self.pid = pid
        self.descriptor = os.pidfd_open(pid)
        self.name = _name(pid)

    @classmethod
    def parent(cls) -> Engine:
        """The parent of this process. Raises ProcessLookupError if it is gone."""
        found = cls(os.getppid())
        if os.getppid() != found.pid:  # it ended meanwhile, and its number may be another's already
            os.close(found.descriptor)
            raise ProcessLookupError("the parent process has ended")
        return found

    @property
    def gone(self) -> bool:
        """Whether it has ended."""
        poll = select.poll()
        poll.register(self.descriptor, select.POLLIN)
        return bool(poll.poll(0))

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; nothing if it has ended."""
        try:
            signal.pidfd_send_signal(self.descriptor, number)
        except ProcessLookupError:
            return


def _name(pid: int) -> str:
    """The number of a process and the tick in which it started (proc(5), field 22 of stat)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
        return f"{pid}.{text.rpartition(')')[2].split()[19]}"
    except (OSError, IndexError):
        return f"{pid}.gone"
