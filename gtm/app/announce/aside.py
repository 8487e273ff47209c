"""Log lines written by a thread of their own: whoever does not read them must not hold up an announcer."""

from __future__ import annotations

import contextlib
import io
import os
import queue
import threading
from types import TracebackType
from typing import Self

LINES_MAX = 1000
END_S = 0.5  # for what is left at the end


class Aside(io.TextIOBase):
    """A file of text that never blocks. Lines for which there is no room are left out, and counted in `left_out`."""

    def __init__(self, descriptor: int) -> None:
        """`descriptor` is written to, as fast as it takes it."""
        self._descriptor = descriptor
        self._lines: queue.Queue[str | None] = queue.Queue(LINES_MAX)
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()
        self.left_out = 0

    def write(self, text: str) -> int:
        """Have it written at some time."""
        try:
            self._lines.put_nowait(text)
        except queue.Full:
            self.left_out += 1
        return len(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(None)
            self._thread.join(END_S)

    def _write(self) -> None:
        while (text := self._lines.get()) is not None:
            data = text.encode("utf-8", "replace")
            with contextlib.suppress(OSError):
                while data:
                    data = data[os.write(self._descriptor, data) :]
