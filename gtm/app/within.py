"""Waiting for an event, but not for ever."""

from __future__ import annotations

import asyncio


async def within(event: asyncio.Event, seconds: float) -> bool:
    """Whether the event came within some seconds; it is cleared.

    Not by `asyncio.wait_for`: before Python 3.12 it loses a cancellation that comes in the same turn as the event
    (CPython issue 81839), and a task that is cancelled once only would then run on for ever.
    """
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    event.clear()
    return True
