"""The control block: one shared page through which the controller tells all others that there is something new.

Readers look at it as often as they like: it is memory. It outlives the controller, and then its pulse gets old.
"""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path

from gtm.model.errors import StoreError

FILE = "control"
_MAGIC = int.from_bytes(b"gtm-ctl1", "little")
_WORDS = 8
_BYTES = _WORDS * 8
_GENERATION, _PULSE_NS, _PID, _REVISION, _BOOT = 1, 2, 3, 4, 5


class Control:
    """The block of one state folder. One process, the controller, opens it with `writable`."""

    def __init__(self, state: Path, *, writable: bool = False) -> None:
        """Map the block; the writer makes it. Raises StoreError if it is not there or not a control block."""
        path = state / FILE
        try:
            if writable and (not path.exists() or path.stat().st_size != _BYTES):
                path.write_bytes(_MAGIC.to_bytes(8, "little") + bytes(_BYTES - 8))
            with path.open("r+b" if writable else "rb") as file:
                access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
                self._map = mmap.mmap(file.fileno(), _BYTES, access=access)
        except (OSError, ValueError) as error:
            raise StoreError(f"{path}: {error}") from error
        self._words = memoryview(self._map).cast("Q")
        if self._words[0] != _MAGIC:
            raise StoreError(f"{path}: not a gtm control block")

    @property
    def generation(self) -> int:
        """A number that changes whenever other tables are current. One aligned read, cheap enough for each query."""
        return self._words[_GENERATION]

    @property
    def revision(self) -> int:
        """The revision of the current tables."""
        return self._words[_REVISION]

    @property
    def pid(self) -> int:
        """The controller's process id, 0 when it ended in order."""
        return self._words[_PID]

    def age_s(self) -> float:
        """Seconds since a controller last confirmed that the tables are what it wants; infinite after a reboot."""
        if self._words[_BOOT] != boot_id():
            return float("inf")
        return max(0.0, (_now_ns() - self._words[_PULSE_NS]) / 1e9)

    def pulse(self) -> None:
        """Confirm the current tables. Uses the boot clock, so that stepping the wall clock does nothing."""
        self._words[_BOOT] = boot_id()
        self._words[_PULSE_NS] = _now_ns()
        self._words[_PID] = os.getpid()

    def publish(self, revision: int) -> None:
        """Make everybody look at the manifest again."""
        self._words[_REVISION] = revision
        self.pulse()
        self._words[_GENERATION] += 1

    def leave(self) -> None:
        """Say that the controller has ended in order."""
        self._words[_PID] = 0


def _now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def boot_id() -> int:
    """A number that is different after each boot of the machine."""
    return int(Path("/proc/sys/kernel/random/boot_id").read_text()[:8], 16)
