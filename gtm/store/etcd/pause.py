"""Waits between attempts at something that is away."""

from __future__ import annotations

import asyncio
import random

PAUSE_MIN_S, PAUSE_MAX_S = 0.1, 3.0


class Pause:
    """Waits that grow, bounded, and differ between nodes: a store that comes back is not stormed."""

    def __init__(self, *, max_s: float = PAUSE_MAX_S) -> None:
        """Begin with the shortest; none is longer than `max_s`."""
        self._max_s = max_s
        self._next_s = PAUSE_MIN_S

    async def wait(self) -> None:
        """Wait, the next time longer."""
        await asyncio.sleep(self._next_s * random.uniform(0.5, 1.0))
        self._next_s = min(self._max_s, self._next_s * 2)

    def reset(self) -> None:
        """It worked: begin anew."""
        self._next_s = PAUSE_MIN_S
