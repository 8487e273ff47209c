"""Drains: the orders that stand on this instance, and how far a drain of a backend has come."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from gtm.app.folders import shared_file, store_file
from gtm.model.cluster import Cluster
from gtm.model.errors import StoreError
from gtm.model.override import Action, Override
from gtm.publish.dataplane import layout
from gtm.publish.dataplane.maps import Balancer
from gtm.store import shared_cache
from gtm.store.store import Store

log = structlog.get_logger()


class Orders:
    """The drains of a node's store, and of the one that nodes share as far as the controller here has heard of them.

    On a subject with an order of this node's own, that beats the shared one. What cannot be read leaves them as they
    were, and is the `problem`. Threads may share it.
    """

    def __init__(self, state: Path, cluster: Cluster | None, clock: Callable[[], float] = time.time) -> None:
        """Nothing is read before `look`."""
        self._state = state
        self._cluster = cluster
        self._clock = clock
        self._store: Store | None = None
        self._lock = threading.Lock()
        self.standing: tuple[Override, ...] = ()
        self.problem: str | None = None

    def look(self) -> bool:
        """Whether what stands has changed since the last look."""
        with self._lock:
            return self._look(self._clock())

    def close(self) -> None:
        """Close the store."""
        with self._lock:
            if self._store is not None:
                self._store.close()

    def _look(self, now_s: float) -> bool:
        try:
            found = self._read(now_s)
        except StoreError as error:
            if str(error) != self.problem:
                log.warning("orders_not_read", reason=str(error))
            self.problem = str(error)
            found = tuple(one for one in self.standing if one.active(now_s))
        else:
            self.problem = None
        changed = found != self.standing
        self.standing = found
        return changed

    def _read(self, now_s: float) -> tuple[Override, ...]:
        if self._store is None and store_file(self._state).exists():
            self._store = Store(store_file(self._state))
        own: tuple[Override, ...] = ()
        if self._store is not None:
            self._store.changes()  # one that was replaced is opened anew
            own = self._store.active(now_s)
        shared: tuple[Override, ...] = ()
        if self._cluster is not None:
            cached = shared_cache.load(shared_file(self._state), self._cluster.prefix)
            shared = () if cached is None else cached.overrides
        subjects = {one.subject for one in own}
        every = (*own, *(one for one in shared if one.subject not in subjects and one.active(now_s)))
        return tuple(one for one in every if one.action is Action.DRAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Of each backend number: flows in the flow table, and packets since the program was loaded; at `at_s`."""

    at_s: float
    flows: NDArray[np.int64]
    packets: NDArray[np.uint64]

    def packets_per_s(self, before: Counted | None, number: int) -> float | None:
        """The rate since an earlier count; None where there is none."""
        if before is None or self.at_s <= before.at_s:
            return None
        return float(self.packets[number] - before.packets[number]) / (self.at_s - before.at_s)


def count(balancer: Balancer, at_s: float) -> Counted:
    """Count now: 8 MiB of flows and as much of counters are read, which takes some 20 ms.

    The flow table has the flows that were seen while their slot was in transition, and those of VIPs that always
    track; those whose client has sent FIN or RST are left out. One that just went away stays until its place is
    needed, so the figure is an upper bound of those.
    """
    words = balancer.flows["flow"].reshape(-1)
    owners = (words & np.uint64(layout.FLOW_BACKEND)).astype(np.int64)
    owners[words & np.uint64(layout.FLOW_CLOSED) != 0] = 0
    flows = np.bincount(owners, minlength=layout.BACKENDS)[: layout.BACKENDS]
    flows[0] = 0
    packets = balancer.counters["backend"]["packets"].sum(axis=0)
    return Counted(at_s=at_s, flows=flows, packets=packets)
