"""The standing orders of people, as this node knows them: those of its own store, and those that nodes share."""

from __future__ import annotations

import structlog

from gtm.model.override import Override
from gtm.store.store import Store

log = structlog.get_logger()


class Orders:
    """Follows what people order, from any process and any node, and what expires."""

    def __init__(self, store: Store, now_s: float) -> None:
        """Start with what stands in the node's own store. Raises StoreError."""
        self._store = store
        self._seen: int | None = None
        self._local = store.active(now_s)
        self._shared: tuple[Override, ...] = ()
        self.standing = self._local

    def look(self, now_s: float) -> bool:
        """Whether what stands has changed since the last look: by an order, or by the end of one. Raises StoreError."""
        changes = self._store.changes()
        if changes != self._seen or any(not one.active(now_s) for one in self._local):
            self._store.expire(now_s)
            self._local = self._store.active(now_s)
            self._seen = changes
        return self._settle(now_s)

    def hear(self, shared: tuple[Override, ...], now_s: float) -> bool:
        """Take in the orders that nodes share; whether what stands has changed."""
        self._shared = shared
        return self._settle(now_s)

    def _settle(self, now_s: float) -> bool:
        """On a subject with an order of this node's own, that beats the shared one."""
        own = {one.subject for one in self._local}
        shared = tuple(one for one in self._shared if one.subject not in own and one.active(now_s))
        standing = (*self._local, *shared)
        if standing == self.standing:
            return False
        self.standing = standing
        log.info("overrides", standing=[f"{one.action} {one.subject}" for one in standing])
        return True
