"""Nodes that share a store, in one loop: each with a way to await what it sees."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from gtm.model.cluster import Cluster
from gtm.model.node import Node
from gtm.store.shared import Shared
from gtm.store.shared_view import SharedView

DEADLINE_S = 60.0


class Sharing:
    """A node's part, and the changes it was told of."""

    def __init__(self, cluster: Cluster, name: str, folder: Path) -> None:
        self.changed = asyncio.Event()
        self.changes = 0
        self.shared = Shared(
            cluster, Node(name=name), folder=folder, cache=folder / f"{name}.shared", on_change=self._on_change
        )
        self.task: asyncio.Task[None] | None = None

    def _on_change(self) -> None:
        self.changes += 1
        self.changed.set()

    async def until(self, holds: Callable[[SharedView], bool]) -> SharedView:
        """The view as soon as it is so."""
        async with asyncio.timeout(DEADLINE_S):
            while not holds(view := self.shared.seen()):
                self.changed.clear()
                await self.changed.wait()
        return view

    async def until_posted(self, node: str, kind: str, payload: bytes) -> SharedView:
        return await self.until(lambda view: posted(view, node, kind) == payload)

    def start(self) -> None:
        self.task = asyncio.create_task(self.shared.run())

    async def leave(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
            assert self.task.cancelled()
            self.task = None


def posted(view: SharedView, node: str, kind: str) -> bytes | None:
    """What a node that is there has posted."""
    peer = view.nodes.get(node)
    return peer.postings.get(kind) if peer is not None and peer.fresh else None


@asynccontextmanager
async def sharing(cluster: Cluster, folder: Path, *names: str) -> AsyncIterator[tuple[Sharing, ...]]:
    """Nodes that take part until the end of the context."""
    nodes = tuple(Sharing(cluster, name, folder) for name in names)
    try:
        for node in nodes:
            node.start()
        yield nodes
    finally:
        for node in nodes:
            await node.leave()


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something is so of which nobody tells."""
    async with asyncio.timeout(DEADLINE_S):
        while not holds():  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.02)
