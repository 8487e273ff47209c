"""Where orders of people are kept: in the node's own store, or in the etcd cluster that nodes share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from gtm.app.folders import store_file
from gtm.model.cluster import Cluster
from gtm.model.errors import GtmError, StoreError
from gtm.model.override import Override
from gtm.store.overrides import AuditEntry
from gtm.store.store import Store

if TYPE_CHECKING:
    from gtm.store.etcd.orders import Standing

TOTAL_S = 5.0  # for all that one command asks of etcd
TRY_S = 1.0
ALONE = "--local is for orders of this node alone"
LEAST_S = 0.2  # for the last of it, when little time is left

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The orders that stand in a book, oldest first, and the state of the book that they were read from."""

    overrides: tuple[Override, ...]
    standing: Standing | None = None


class OrderBook(Protocol):
    """Orders that can be read and changed. Every method raises StoreError.

    `put` and `remove` say whether it was done; it is not if the book has changed since the look: then look again.
    """

    def look(self, now_s: float) -> Look:
        """The orders that stand."""

    def put(self, order: Override, look: Look) -> bool:
        """Set a subject's order."""

    def remove(self, order: Override, look: Look, *, by: str, now_s: float) -> bool:
        """Take an order back."""

    def audit(self, limit: int) -> tuple[AuditEntry, ...]:
        """The latest changes, newest first."""


class NodeBook:
    """The orders of this node alone."""

    def __init__(self, state: Path) -> None:
        """In a state folder, which is made with the first order."""
        self._state = state

    def look(self, now_s: float) -> Look:
        """The orders that stand."""
        if not store_file(self._state).exists():
            return Look(overrides=())
        with Store(store_file(self._state)) as store:
            return Look(overrides=store.active(now_s))

    def put(self, order: Override, look: Look) -> bool:  # noqa: ARG002 - the store's own lock suffices
        """Set a subject's order."""
        with self._store() as store:
            store.put(order)
        return True

    def remove(self, order: Override, look: Look, *, by: str, now_s: float) -> bool:  # noqa: ARG002 - as above
        """Take an order back."""
        with self._store() as store:
            store.remove(order.subject, by=by, reason=order.reason, now_s=now_s)
        return True

    def audit(self, limit: int) -> tuple[AuditEntry, ...]:
        """The latest changes, newest first."""
        if not store_file(self._state).exists():
            return ()
        with Store(store_file(self._state)) as store:
            return store.audit(limit=limit)

    def _store(self) -> Store:
        """The node's store, made if the node has not run yet."""
        try:
            self._state.mkdir(mode=0o750, parents=True, exist_ok=True)
        except OSError as error:
            raise GtmError(f"{self._state}: {error.strerror}") from error
        return Store(store_file(self._state))


class ClusterBook:
    """The orders that all nodes of a cluster share. To be used as a context; all it does takes some five seconds."""

    def __init__(self, cluster: Cluster, folder: Path, *, total_s: float = TOTAL_S) -> None:
        """Connect to nothing yet. Raises StoreError for files that TLS cannot use."""
        from gtm.store.etcd.client import Client
        from gtm.store.etcd.orders import Orders

        self._client = Client(cluster, folder, try_s=TRY_S)
        self._orders = Orders(self._client)
        self._runner = asyncio.Runner()
        self._deadline_s = time.monotonic() + total_s

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.run(self._client.close())
        self._runner.close()

    def look(self, now_s: float) -> Look:
        """The orders that stand."""
        try:
            standing = self._do(self._orders.standing())
        except StoreError as error:
            raise StoreError(f"{error}; nothing was changed ({ALONE})") from error
        return Look(overrides=tuple(one for one in standing.overrides if one.active(now_s)), standing=standing)

    def put(self, order: Override, look: Look) -> bool:
        """Set a subject's order, if no order has changed since the look."""
        return look.standing is not None and self._change(self._orders.put(order, look.standing))

    def remove(self, order: Override, look: Look, *, by: str, now_s: float) -> bool:
        """Take an order back, if no order has changed since the look."""
        return look.standing is not None and self._change(
            self._orders.remove(order.subject, look.standing, by=by, reason=order.reason, now_s=now_s)
        )

    def audit(self, limit: int) -> tuple[AuditEntry, ...]:
        """The latest changes, newest first."""
        return self._do(self._orders.audit(limit=limit))

    def _change(self, change: Coroutine[Any, Any, bool]) -> bool:
        from gtm.store.etcd.fault import Unconfirmed

        try:
            done = self._do(change)
        except Unconfirmed:
            raise
        except StoreError as error:
            raise StoreError(f"{error}; nothing was changed ({ALONE})") from error
        if done:
            with suppress(StoreError):  # the next change tries again
                self._do(self._orders.prune())
        return done

    def _do(self, asked: Coroutine[Any, Any, T]) -> T:
        self._orders.total_s = max(LEAST_S, self._deadline_s - time.monotonic())
        return self._runner.run(asked)
