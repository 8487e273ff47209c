"""The kernel's counters and the flow table, read in the memory of pinned maps: no system call, no manager needed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from gtm.decide.balance import Verdict
from gtm.decide.guard import Pass, Reason
from gtm.model.balancing import Amount, BackendCounts, BalancerCounts
from gtm.model.errors import PublishError
from gtm.publish.dataplane import bpf, guard_layout, layout
from gtm.publish.dataplane.guard import OBJECT as GUARD
from gtm.publish.dataplane.maps import OBJECT as BALANCER
from gtm.publish.dataplane.pins import Pins

GUARDED = ("passed", "dropped", "would")


class Readings:
    """What is pinned, mapped; a program that takes another's place goes on counting there."""

    def __init__(self, pins: Pins) -> None:
        """Raises PublishError where nothing of this release is pinned, OSError without the right to look."""
        own, guard = pins.maps_of(BALANCER), pins.maps_of(GUARD, layout.digest(guard_layout.BY_STRUCT))
        counters, flows = (bpf.pinned(own / name) for name in ("bss", "flows"))
        if counters is None or flows is None:
            raise PublishError(
                "nothing of this release is loaded (gtm balance run)", target=str(pins.folder), change="look"
            )
        self._counters = _mapped(counters, layout.COUNTERS, 1)[0]
        self._flows: NDArray[np.uint64] = _mapped(flows, layout.FLOW_BUCKET, layout.FLOW_BUCKETS)["flow"]
        lanes = bpf.pinned(guard / "bss")
        self._lanes = None if lanes is None else _mapped(lanes, guard_layout.LANES, 1)[0]["lane"]

    def read(self, numbers: Iterable[int], at_s: float) -> BalancerCounts:
        """The counts now, of the backends with these numbers. Some 10 ms, most of it for the 8 MiB of flows."""
        wanted = sorted(set(numbers))
        counted = self._counters["backend"][:, wanted]
        sums = {name: counted[name].sum(axis=0).tolist() for name in ("packets", "bytes", "opened", "closed")}
        words = self._flows.reshape(-1)
        words = words[words != 0]
        closed = words & np.uint64(layout.FLOW_CLOSED) != 0
        owners = (words[~closed] & np.uint64(layout.FLOW_BACKEND)).astype(np.int64)
        flows = np.bincount(owners, minlength=layout.BACKENDS)
        told = self._counters["events"]
        verdicts = self._counters["verdict"]
        guard = {name: self._guard(name) for name in GUARDED}
        return BalancerCounts(
            at_s=at_s,
            backends={
                number: BackendCounts(flows=int(flows[number]), **{name: values[i] for name, values in sums.items()})
                for i, number in enumerate(wanted)
            },
            verdicts=_amounts(verdicts, {each.name: each for each in Verdict}),
            guarded=guard["passed"],
            dropped=guard["dropped"],
            would_drop=guard["would"],
            flows=len(words),
            flows_closed=int(closed.sum()),
            flow_places=self._flows.size,
            events_told=int(told["told"].sum()),
            events_lost=int(told["lost"].sum()),
        )

    def _guard(self, name: str) -> dict[str, Amount]:
        if self._lanes is None:
            return {}
        return _amounts(self._lanes[name], {each.name: each for each in (Pass if name == "passed" else Reason)})


def _mapped(fd: int, dtype: np.dtype[np.void], entries: int) -> NDArray[np.void]:
    try:
        return bpf.view(fd, dtype.itemsize * entries, dtype)
    finally:
        os.close(fd)


def _amounts(counters: NDArray[np.void], places: Mapping[str, int]) -> dict[str, Amount]:
    """Counters by name, of a table [CPU][place]."""
    packets, octets = counters["packets"].sum(axis=0), counters["bytes"].sum(axis=0)
    return {name: Amount(packets=int(packets[at]), bytes=int(octets[at])) for name, at in places.items()}
