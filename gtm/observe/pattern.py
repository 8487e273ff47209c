"""A regular expression searched in what a target sent, in bounded time: neither may hold up all other probes."""

from __future__ import annotations

import re
import signal
import threading
import time
from types import FrameType
from typing import Self

from gtm.observe.outcome import ProbeFault, Reason

SEARCH_S = 0.05
FIRST_CHARACTERS = 4096


class Pattern:
    """A compiled pattern. Raises re.error for one that is none.

    Backtracking takes time that grows exponentially with the text for some patterns, with a power of its length for
    many. Two bounds hold. The matcher looks for signals each 4096 steps, so a timer of CPU time ends a search that is
    stuck at one place. Attempts at each place of a long text are shorter than that, and together take time that grows
    with the square of its length: so its first part is searched first, and twice as much only if that is affordable.
    """

    __slots__ = ("_compiled",)

    def __init__(self, pattern: str) -> None:
        self._compiled = re.compile(pattern)

    def found_in(self, text: str) -> bool:
        """Whether it is there. Raises ProbeFault (BODY) if it has not been found after about SEARCH_S of CPU time."""
        with _Timer() as timer:
            size = FIRST_CHARACTERS
            while True:
                begin_s = time.thread_time()
                found = self._compiled.search(text, 0, size)
                # "$" also matches at the end of a part: what was found must be there in the whole.
                if found is not None and (size >= len(text) or self._compiled.match(text, found.start()) is not None):
                    return True
                if size >= len(text):
                    return False
                timer.afford(4 * (time.thread_time() - begin_s))
                size *= 2


class _Overrun(Exception):
    """The time is over."""


class _Timer:
    """A bound on CPU time while it is entered; by a signal, where signals can be had: in the main thread."""

    __slots__ = ("_end_s",)
    _armed = False

    def __enter__(self) -> Self:
        self._end_s = time.thread_time() + SEARCH_S
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGVTALRM, _Timer._over)
            _Timer._armed = True
            signal.setitimer(signal.ITIMER_VIRTUAL, SEARCH_S)
        return self

    def afford(self, cost_s: float) -> None:
        """Go on only if what comes next is likely to fit. Raises _Overrun."""
        if time.thread_time() + cost_s > self._end_s:
            raise _Overrun

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if _Timer._armed:
            _Timer._armed = False
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        if isinstance(error, _Overrun):
            words = f"the body's pattern takes too long to search (over {SEARCH_S * 1000:.0f} ms)"
            raise ProbeFault(Reason.BODY, words) from None

    @staticmethod
    def _over(_signal: int, _frame: FrameType | None) -> None:
        if _Timer._armed:
            raise _Overrun
