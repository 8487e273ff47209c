"""One probe of one target: connect, ask, judge, all before one deadline."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

from gtm.model.check import Check, HttpProbe, HttpVersion, Target, TcpProbe
from gtm.observe import kinds
from gtm.observe.attempt import Ask, Attempt, close
from gtm.observe.connection import Connection
from gtm.observe.http1 import Http1Ask
from gtm.observe.outcome import Outcome, ProbeFault, Reason

STALL_S = 0.25

Prepared = Callable[[], Awaitable[Outcome]]


def prepare(target: Target, check: Check, *, mark: int = 0) -> Prepared:
    """A probe of the target, ready to be run any number of times; each run returns an Outcome and raises nothing.

    With a `mark`, its packets over TCP and UDP carry it (SO_MARK), for this machine to send them on its own way. All
    that does not change between runs is worked out here. A check that cannot be carried out gives Reason.OURS.
    """
    try:
        ask = _ask(target, check)
    except (ValueError, re.error) as error:
        return _Unfit(f"check {check.name}: {error}")
    return _Run(check, ask, mark)


def _ask(target: Target, check: Check) -> Ask:
    match check.probe:
        case HttpProbe(version=HttpVersion.HTTP_1_1) as probe:
            return Http1Ask(target, probe)
        case TcpProbe() as probe:
            return _Tcp(target, probe.port)
        case _:
            return kinds.ask(target, check)


class _Run:
    """A probe under its deadline; its socket is closed however it ends, unless kept."""

    __slots__ = ("_ask", "_mark", "_timeout_s")

    def __init__(self, check: Check, ask: Ask, mark: int) -> None:
        self._ask = ask
        self._mark = mark
        self._timeout_s = check.cadence.timeout_s

    async def __call__(self) -> Outcome:
        loop = asyncio.get_running_loop()
        attempt = Attempt(loop.time() + self._timeout_s, mark=self._mark)
        try:
            words = await self._by(attempt)
        except ProbeFault as fault:
            if attempt.unheard and fault.reason is Reason.TIMEOUT:
                # A kept connection may have died without a word, in a firewall or with the target's kernel: that is
                # closed now, and a new one has all of the time.
                return await self()
            took_s = loop.time() - attempt.start_s
            return Outcome(reason=fault.reason, detail=fault.detail, took_s=took_s, phases=attempt.phases)
        took_s = loop.time() - attempt.start_s
        detail = f"{words} in {_milliseconds(took_s)}"
        return Outcome(reason=Reason.OK, detail=detail, took_s=took_s, poor=attempt.poor, phases=attempt.phases)

    def close(self) -> None:
        """Close what is kept for the next run, if anything is."""
        close(self._ask)

    async def _by(self, attempt: Attempt) -> str:
        try:
            async with asyncio.timeout_at(attempt.deadline_s) as attempt.limit:
                return await self._ask(attempt)
        except TimeoutError as error:
            late_s = asyncio.get_running_loop().time() - attempt.deadline_s
            if late_s > STALL_S:  # the answer may have been there; we were not
                raise ProbeFault(Reason.OURS, f"this process stalled for {late_s:.1f} s") from error
            words = f"timeout after {self._timeout_s:g} s while {attempt.doing}"
            raise ProbeFault(Reason.TIMEOUT, words) from error
        finally:
            attempt.close()


class _Unfit:
    """A check that cannot be carried out; the deployment's checks let none through."""

    __slots__ = ("_words",)

    def __init__(self, words: str) -> None:
        self._words = words

    async def __call__(self) -> Outcome:
        return Outcome(reason=Reason.OURS, detail=self._words, took_s=0.0)


class _Tcp:
    """A connection that must be accepted."""

    __slots__ = ("_port", "_target")

    def __init__(self, target: Target, port: int) -> None:
        self._target = target
        self._port = port

    async def __call__(self, attempt: Attempt) -> str:
        await Connection(attempt, self._target.address).connect(self._target.address, self._port)
        attempt.connect_s = attempt.lap_s()
        return "connected"


def _milliseconds(took_s: float) -> str:
    return f"{took_s * 1000:.0f} ms" if took_s >= 0.001 else "under 1 ms"
