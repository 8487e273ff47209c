"""A program that judges a target by its exit code, started without a shell and ended whole at the deadline.

All checks of this kind share a budget: so many programs run at once, so many wait for their turn, and the rest are
asked again later.
"""

from __future__ import annotations

import asyncio
import signal
from weakref import WeakKeyDictionary

from gtm.model.check import ExecProbe, Target
from gtm.observe.attempt import Attempt
from gtm.observe.kinds.process import Process
from gtm.observe.kinds.turns import Turns
from gtm.observe.kinds.words import printable
from gtm.observe.outcome import ProbeFault, Reason

RUNNING_MAX = 8
WAITING_MAX = 256

_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, Turns] = WeakKeyDictionary()


class ExecAsk:
    """Runs the program; the first line of its output says more. Raises ValueError if there is none to run."""

    __slots__ = ("_argv", "_degraded")

    def __init__(self, target: Target, probe: ExecProbe) -> None:
        if not probe.argv or any("\0" in each for each in probe.argv):
            raise ValueError("there is no program to run")
        self._argv = tuple(each.replace("{address}", str(target.address)) for each in probe.argv)
        self._degraded = frozenset(probe.degraded_exits)

    async def __call__(self, attempt: Attempt) -> str:
        """The program's first line, or its exit code. Raises ProbeFault."""
        turns = _turns_of(asyncio.get_running_loop())
        await turns.take(attempt)
        attempt.doing = "running the program"
        try:
            process = Process(self._argv, turns.give)
        except (OSError, ValueError) as error:
            turns.give()
            words = getattr(error, "strerror", None) or str(error)
            raise ProbeFault(Reason.OURS, f"cannot run {self._argv[0]}: {words}") from error
        try:
            code = await process.wait()
        finally:
            await process.end()
        return self._judge(attempt, code, _first_line(process.output))

    def _judge(self, attempt: Attempt, code: int, line: str) -> str:
        words = f"exit code {code}" if code >= 0 else f"ended by {_signal(-code)}"
        if code in self._degraded:
            attempt.poor = _beside(words, line)
        elif code:
            raise ProbeFault(Reason.STATUS, _beside(words, line))
        return line or words


def _turns_of(loop: asyncio.AbstractEventLoop) -> Turns:
    if (turns := _turns.get(loop)) is None:
        turns = _turns[loop] = Turns(RUNNING_MAX, WAITING_MAX)
    return turns


def _first_line(output: bytearray) -> str:
    return printable(bytes(output).decode("utf-8", "replace").strip().split("\n", 1)[0].strip())


def _beside(words: str, line: str) -> str:
    return f"{words}: {line}" if line else words


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
