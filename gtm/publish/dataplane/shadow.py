"""A balancer's tables as they are pinned, to work on without the kernel taking notice: what would change?"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gtm.publish.dataplane import bpf, layout
from gtm.publish.dataplane.maps import OBJECT, Balancer, ring_of
from gtm.publish.dataplane.pins import Pins


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """A ring that would be swapped: how many of its slots would lead elsewhere, and how many be in transition."""

    number: int
    slots: int
    moved: int
    moving: int


class Shadow(Balancer):
    """Copies of what is pinned; nothing is loaded. Needs what opening pins needs."""

    def __init__(self, pins: Pins) -> None:  # deliberately not that of Balancer, which loads
        """Where nothing is pinned, everything is empty."""
        self._folder = pins.maps / OBJECT.name.split(".")[0]
        self.vips = self._copy("vips", layout.VIP_BUCKET, layout.VIP_BUCKETS)
        self.servers = self._copy("servers", layout.FLOW_BUCKET, layout.SERVER_BUCKETS)
        self.backends = self._copy("backends", layout.BACKEND, layout.BACKENDS)
        self.flows = self._copy("flows", layout.FLOW_BUCKET, layout.FLOW_BUCKETS)
        self.settings = self._copy("data", layout.SETTINGS, 1)[0]
        self.counters = np.zeros(1, layout.COUNTERS)[0]  # what is set to zero there means nothing here
        self.swaps: list[Swap] = []
        self._rings: dict[int, NDArray[np.uint32]] = {}

    def ring(self, number: int) -> tuple[int, NDArray[np.uint32]] | None:
        """The generation and the slots of a VIP's table in the kernel; None where it has none. Needs CAP_SYS_ADMIN."""
        outer = bpf.pinned(self._folder / "rings")
        if outer is None:
            return None
        try:
            found = ring_of(outer, number)
        finally:
            os.close(outer)
        if found is not None:
            self._rings[number] = found[1]
        return found

    def set_ring(self, number: int, slots: ArrayLike, *, generation: int) -> None:  # noqa: ARG002 - nothing is swapped
        """Note what would be swapped."""
        values = np.asarray(slots, np.uint32)
        held = self._rings.get(number, np.zeros(0, np.uint32))
        mask = np.uint32(layout.SLOT_BACKEND)
        same = len(held) == len(values)
        moved = int(np.count_nonzero((held & mask) != (values & mask))) if same else len(values)
        moving = int(np.count_nonzero(values & np.uint32(layout.SLOT_TRANSITION)))
        self.swaps.append(Swap(number=number, slots=len(values), moved=moved, moving=moving))

    def _copy(self, name: str, dtype: np.dtype[Any], entries: int) -> NDArray[np.void]:
        fd = bpf.pinned(self._folder / name)
        if fd is None:
            return np.zeros(entries, dtype)
        try:
            return bpf.view(fd, entries * dtype.itemsize, dtype).copy()
        finally:
            os.close(fd)
