"""One announcer at a time on a node: the one that thinks holds a lock, and the next one shows that it is there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
from pathlib import Path
from typing import IO

from gtm.app.announce.report import FOLDER
from gtm.model.errors import GtmError

LOCK, HEIR = "lock", "heir"


class Tenure:
    """The lock of one state folder. It ends with the process that holds it."""

    def __init__(self, state: Path) -> None:
        """Nothing is held. Raises GtmError if the files cannot be had."""
        self._lock = _opened(state / FOLDER / LOCK)
        self._heir = _opened(state / FOLDER / HEIR)

    def take(self) -> bool:
        """Whether this process holds it now; if not, whoever does can see that somebody waits."""
        _locked(self._heir)
        if not _locked(self._lock):
            return False
        fcntl.flock(self._heir, fcntl.LOCK_UN)
        self._lock.seek(0)
        self._lock.truncate()
        self._lock.write(f"{os.getpid()}\n")
        self._lock.flush()
        return True

    def heir(self) -> bool:
        """Whether another one waits for it."""
        if not _locked(self._heir):
            return True
        fcntl.flock(self._heir, fcntl.LOCK_UN)
        return False

    def evict(self) -> int:
        """End whoever holds it and did not give way; its process id, 0 where it is not known.

        The lock is what tells: only while somebody else holds it, its number is believed.
        """
        self._lock.seek(0)
        text = self._lock.read().strip()
        if not text.isdigit() or int(text) in (0, os.getpid()):
            return 0
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(int(text))
            try:
                if not _locked(self._lock):
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                    return int(text)
                fcntl.flock(self._lock, fcntl.LOCK_UN)
            finally:
                os.close(descriptor)
        return 0


def _opened(path: Path) -> IO[str]:
    try:
        return path.open("a+")
    except OSError as error:
        raise GtmError(f"{path}: {error.strerror}") from error


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
