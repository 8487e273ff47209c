"""Running a process's event loop, to an end that signals may fall into."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class Loop(asyncio.SelectorEventLoop):
    """A loop that is deaf before it closes.

    The loop of CPython closes the pipe that signals are written to, and only then takes that back: one that comes in
    between (a parent that ends what is ending already) is told of on standard error as a fault, with a traceback.
    """

    def close(self) -> None:
        """Close; signals with handlers do nothing from now on."""
        if not self.is_closed():
            signal.set_wakeup_fd(-1)
        super().close()


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """As asyncio.run, in the main thread."""
    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(main)
