"""Instances that sync over loopback, with flow tables in plain memory."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from ipaddress import ip_address

import numpy as np

from gtm.app.balance.sync import Sync, bind, meaning
from gtm.model.address import Endpoint
from gtm.model.balance import SyncSettings
from gtm.publish.dataplane import layout
from gtm.publish.dataplane.flows import Flows, Words

KEY = bytes(range(32))
SEED = (11, 22)
DEADLINE_S = 60.0
LOOPBACK = Endpoint(address=ip_address("127.0.0.1"), port=0)


def words(count: int, backend: int = 5, start: int = 0) -> Words:
    """Flows of as many different buckets, as far as there are so many."""
    numbers = np.arange(start + 1, start + count + 1, dtype=np.uint64)
    return numbers << np.uint64(40) | numbers << np.uint64(20) | np.uint64(backend)


class Site:
    """Instances of one PoP: a socket of each, then as many lives as a test wants."""

    def __init__(self, *nodes: str) -> None:
        self.sockets = {node: bind(LOOPBACK) for node in nodes}
        self.endpoints = {node: _endpoint(each) for node, each in self.sockets.items()}

    def make(
        self,
        node: str,
        *,
        flows: Flows | None = None,
        numbers: Mapping[str, int] | None = None,
        ready_s: float = 600.0,
        key: bytes = KEY,
        seed: tuple[int, int] = SEED,
    ) -> tuple[Sync, np.ndarray]:
        """An instance that knows nothing, or what is in `flows`, and its table."""
        bound = self.sockets.pop(node, None) or bind(self.endpoints[node])
        buckets = np.zeros(layout.FLOW_BUCKETS, layout.FLOW_BUCKET)
        made = Sync(
            SyncSettings(listen=self.endpoints[node], ready_s=ready_s),
            bound=bound,
            node=node,
            region="eu-west",
            peers={name: endpoint for name, endpoint in self.endpoints.items() if name != node},
            key=key,
            table=meaning(seed),
            flows=Flows(buckets) if flows is None else flows,
            events=None,
            numbers={"web/a": 5, "web/b": 6} if numbers is None else numbers,
        )
        return made, buckets

    def close(self) -> None:
        for each in self.sockets.values():
            each.close()


def _endpoint(bound: socket.socket) -> Endpoint:
    host, port = bound.getsockname()
    return Endpoint(address=ip_address(host), port=port)


@contextlib.asynccontextmanager
async def running(*syncs: Sync) -> AsyncIterator[None]:
    """They run meanwhile; what ends one of them ends the test."""
    tasks = [asyncio.create_task(each.run()) for each in syncs]
    try:
        yield
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(true: Callable[[], bool]) -> None:
    """Waits until it is; raises TimeoutError after DEADLINE_S."""
    async with asyncio.timeout(DEADLINE_S):
        while not true():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.005)


def content(buckets: np.ndarray) -> set[int]:
    """The words of a table."""
    found = buckets["flow"].ravel()
    return set(found[found != 0].tolist())
