"""A budget that checks of one kind share: so many at once, so many waiting, and the others come again later."""

from __future__ import annotations

import asyncio
from collections import deque

from gtm.observe.attempt import Attempt
from gtm.observe.outcome import ProbeFault, Reason


class Turns:
    """First come, first served; waiting is not held against a target."""

    __slots__ = ("_free", "_loop", "_queue", "_waiting_max")

    def __init__(self, at_once: int, waiting_max: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._free = at_once
        self._waiting_max = waiting_max
        self._queue: deque[asyncio.Future[None]] = deque()

    async def take(self, attempt: Attempt) -> None:
        """Wait for a turn, which `give` ends; then the attempt begins. Raises ProbeFault (ours) for a full queue."""
        if self._free:
            self._free -= 1
            return
        if len(self._queue) >= self._waiting_max:
            raise ProbeFault(Reason.OURS, f"{self._waiting_max} others wait for their turn already")
        mine = self._loop.create_future()
        self._queue.append(mine)
        attempt.hold()
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self.give()  # it had just become ours
            raise
        finally:
            attempt.resume()

    def give(self) -> None:
        """End a turn: the next in the queue has it."""
        while self._queue:
            following = self._queue.popleft()
            if not following.done():  # one that was cancelled waits no more
                following.set_result(None)
                return
        self._free += 1
