"""Waiting for an event: what comes first wins, and a cancellation is never lost."""

from __future__ import annotations

import asyncio

from gtm.app.within import within


def test_an_event_that_comes_is_cleared() -> None:
    async def go() -> tuple[bool, bool]:
        event = asyncio.Event()
        event.set()
        return await within(event, 60), event.is_set()

    assert asyncio.run(go()) == (True, False)


def test_an_event_that_does_not_come_is_waited_for_no_longer() -> None:
    async def go() -> bool:
        return await within(asyncio.Event(), 0.001)

    assert not asyncio.run(go())


def test_a_cancellation_in_the_turn_of_the_event_is_not_lost() -> None:
    async def go() -> bool:
        event = asyncio.Event()

        async def forever() -> None:
            while True:
                await within(event, 60)

        task = asyncio.create_task(forever())
        await asyncio.sleep(0)
        event.set()
        task.cancel()
        await asyncio.wait([task], timeout=60)
        over = task.cancelled()
        task.cancel()
        return over

    assert asyncio.run(go())
