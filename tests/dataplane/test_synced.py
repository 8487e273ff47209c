"""Two balancers in the kernel and state sync between them: a flow that one has learnt is known to the other."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from gtm.app.balance.sync import Sync, meaning
from gtm.decide.balance import TCP
from gtm.model.balance import SyncSettings
from gtm.publish.dataplane import layout
from gtm.publish.dataplane.events import Events
from gtm.publish.dataplane.flows import Flows
from tests.app.balance.syncing import KEY, Site, running, until
from tests.dataplane import world as w
from tests.dataplane.kernel import Kernel

NUMBERS = {"web/current": 2, "web/previous": w.OTHER}
CURRENT, PREVIOUS = "0a000002", "0a00000a"  # what they have as outer targets


@pytest.fixture
def second(built: Path, kernel: Kernel) -> Iterator[Kernel]:
    """Another balancer, whose numbers are others: what is 2 here is 10 there."""
    world = w.tables()
    swapped = {**world.backends, 2: world.backends[w.OTHER], w.OTHER: world.backends[2]}
    rings = {w.MOVING: [w.OTHER | layout.SLOT_TRANSITION | 2 << 16] * 13, w.TRACKED: world.rings[w.TRACKED]}
    with Kernel(built, replace(world, backends=swapped, rings=rings)) as loaded:
        kernel.forget()
        yield loaded
        kernel.forget()


def made(site: Site, node: str, kernel: Kernel, numbers: Mapping[str, int]) -> Sync:
    return Sync(
        SyncSettings(listen=site.endpoints[node]),
        bound=site.sockets.pop(node),
        node=node,
        region="eu-west",
        peers={name: endpoint for name, endpoint in site.endpoints.items() if name != node},
        key=KEY,
        table=meaning(w.SEED),
        flows=Flows(kernel.balancer.flows),
        events=Events(kernel.balancer.object.map_fd("events"), kernel.balancer.settings),
        numbers=numbers,
        lost=lambda: int(kernel.balancer.counters["events"]["lost"].sum()),
    )


@contextlib.asynccontextmanager
async def pair(one: Kernel, two: Kernel) -> AsyncIterator[tuple[Sync, Sync]]:
    """Both sync, and are ready."""
    site = Site("lb1", "lb2")
    syncs = made(site, "lb1", one, NUMBERS), made(site, "lb2", two, {"web/current": w.OTHER, "web/previous": 2})
    async with running(*syncs):
        await until(lambda: all(each.ready for each in syncs))
        yield syncs


def outer(kernel: Kernel, sport: int, flags: int, number: int = w.MOVING, source: str = w.CLIENT[4]) -> str:
    """Where a packet of that flow goes."""
    packet = w.packet(4, w.vip(4, number), w.tcp(sport=sport, flags=flags), protocol=TCP, source=source)
    return kernel.run(w.frame(packet))[1][30:34].hex()


def flows(kernel: Kernel) -> int:
    return sum(len(half) for half in Flows(kernel.balancer.flows).snapshot())


def test_a_flow_that_began_at_one_goes_on_at_the_other(kernel: Kernel, second: Kernel) -> None:
    """All slots are in transition: who does not know a flow sends it to the previous backend."""

    async def scenario() -> None:
        async with pair(kernel, second):
            for sport in range(2000, 2500):
                assert outer(kernel, sport, w.SYN) == CURRENT
            assert outer(second, 1999, w.ACK) == PREVIOUS
            await until(lambda: flows(second) == 501)
            assert {outer(second, sport, w.ACK) for sport in range(2000, 2500)} == {CURRENT}
            # And back: an established flow, seen at the second one first.
            await until(lambda: flows(kernel) == 501)
            assert outer(kernel, 1999, w.ACK) == PREVIOUS

    asyncio.run(scenario())


def test_who_joins_learns_what_was_before(kernel: Kernel, second: Kernel) -> None:
    async def scenario() -> None:
        for sport in range(3000, 3300):
            assert outer(kernel, sport, w.SYN) == CURRENT
        async with pair(kernel, second):
            assert flows(second) == flows(kernel) == 300
        assert {outer(second, sport, w.ACK) for sport in range(3000, 3300)} == {CURRENT}

    asyncio.run(scenario())


def test_the_end_of_a_flow_is_known_at_both(kernel: Kernel, second: Kernel) -> None:
    async def scenario() -> None:
        async with pair(kernel, second):
            outer(kernel, 4000, w.SYN)
            await until(lambda: flows(second) == 1)
            assert Flows(second.balancer.flows).by_backend()[w.OTHER] == 1
            outer(kernel, 4000, 0x11)
            await until(lambda: not Flows(second.balancer.flows).by_backend().any())
            assert outer(second, 4000, w.ACK) == CURRENT  # the other direction may still go on

    asyncio.run(scenario())


def test_what_is_told_makes_no_events(kernel: Kernel, second: Kernel) -> None:
    """Else a flow would go back and forth for ever."""

    async def scenario() -> None:
        async with pair(kernel, second) as (one, two):
            before = two.status().told
            for sport in range(5000, 5200):
                outer(kernel, sport, w.SYN)
            await until(lambda: flows(second) == 200)
            assert two.status().told == before
            assert one.status().learnt == 0

    asyncio.run(scenario())


def test_programs_tell_only_while_somebody_listens(kernel: Kernel, second: Kernel) -> None:
    async def scenario() -> None:
        async with pair(kernel, second):
            assert int(kernel.balancer.settings["flags"]) & layout.TELL_EVENTS
        assert not int(kernel.balancer.settings["flags"]) & layout.TELL_EVENTS

    asyncio.run(scenario())
