"""One run of a probe: what it is doing, how long its parts took, and what must be closed at its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, runtime_checkable

from gtm.model.health import Phases


@runtime_checkable
class Closable(Protocol):
    """What holds something open: what an attempt opened, or a probe that keeps a connection."""

    def close(self) -> None:
        """Close at once, without waiting; safe more than once."""


def close(thing: object) -> None:
    """Close it, if it is something that holds anything open."""
    if isinstance(thing, Closable):
        thing.close()


class Attempt:
    """One run, under a deadline that its runner keeps.

    `doing` completes "timeout while ..."; `poor` says why the target is worse than it should be by its own account.
    `unheard`: it goes over a connection kept from the run before, and nothing has come over that yet, so that a
    timeout may be the connection's alone. `mark` is SO_MARK of what it opens, 0 for none. The phases are in seconds;
    `lap_s` ends one. `limit` is what enforces the deadline, set by the runner.
    """

    __slots__ = (
        "_clock", "_closing", "_since_s", "connect_s", "deadline_s", "doing", "first_byte_s", "limit", "mark", "poor",
        "start_s", "tls_s", "unheard",
    )  # fmt: skip

    def __init__(self, deadline_s: float, *, mark: int = 0) -> None:
        """`deadline_s` is in the running loop's time."""
        self.deadline_s = deadline_s
        self.mark = mark
        self.doing = "connecting"
        self.poor: str | None = None
        self.unheard = False
        self.connect_s: float | None = None
        self.tls_s: float | None = None
        self.first_byte_s: float | None = None
        self._clock = asyncio.get_running_loop().time
        self._since_s = self.start_s = self._clock()
        self.limit: asyncio.Timeout | None = None
        self._closing: list[Closable] = []

    def lap_s(self) -> float:
        """The seconds since the last lap, or since the start."""
        now_s = self._clock()
        lap_s, self._since_s = now_s - self._since_s, now_s
        return lap_s

    def hold(self) -> None:
        """Stop the deadline: what is waited for now is no fault of the target; `resume` must follow."""
        if self.limit is not None and not self.limit.expired():
            self.limit.reschedule(None)

    def resume(self) -> None:
        """Begin anew, with all of the time that there was at the start."""
        now_s = self._clock()
        self.deadline_s += now_s - self.start_s
        self._since_s = self.start_s = now_s
        if self.limit is not None and not self.limit.expired():
            self.limit.reschedule(self.deadline_s)

    def keep(self, thing: Closable) -> None:
        """Have something closed at the end, however that comes."""
        self._closing.append(thing)

    def let_go(self, thing: Closable) -> None:
        """Leave something open after all, for the next run; it is somebody else's to close."""
        self._closing.remove(thing)

    def close(self) -> None:
        """Close what was opened."""
        while self._closing:
            self._closing.pop().close()

    @property
    def phases(self) -> Phases:
        """How long the parts took that were reached."""
        return Phases(connect_s=self.connect_s, tls_s=self.tls_s, first_byte_s=self.first_byte_s)


Ask = Callable[[Attempt], Awaitable[str]]
"""Asks a target once and returns what it said in a few words ("200"). Raises ProbeFault where that was not good."""
