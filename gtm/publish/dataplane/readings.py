"""The kernel's counters and the flow table, read in the memory of pinned maps: no system call, no manager needed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from gtm.decide.balance import ICMP, ICMP6, TCP, UDP, Verdict
from gtm.decide.guard import Pass, Reason
from gtm.model.address import IPAddress, unpacked
from gtm.model.balancing import Amount, BackendCounts, BalancerCounts, Traffic, VipCounts
from gtm.model.errors import PublishError
from gtm.publish.dataplane import bpf, guard_layout, layout
from gtm.publish.dataplane.guard import OBJECT as GUARD
from gtm.publish.dataplane.maps import OBJECT as BALANCER
from gtm.publish.dataplane.pins import Pins
from gtm.publish.dataplane.vips import VipKey, occupied

GUARDED = ("passed", "dropped", "would")
PROTOCOLS = {TCP: "tcp", UDP: "udp", ICMP: "icmp", ICMP6: "icmp"}
ECHO = frozenset({ICMP, ICMP6})


class Readings:
    """What is pinned, mapped; a program that takes another's place goes on counting there."""

    def __init__(self, pins: Pins) -> None:
        """Raises PublishError where nothing of this release is pinned, OSError without the right to look."""
        own, guard = pins.maps_of(BALANCER), pins.maps_of(GUARD, layout.digest(guard_layout.BY_STRUCT))
        counters, flows, vips = (bpf.pinned(own / name) for name in ("bss", "flows", "vips"))
        if counters is None or flows is None or vips is None:
            raise PublishError(
                "nothing of this release is loaded (gtm balance run)", target=str(pins.folder), change="look"
            )
        self._counters = _mapped(counters, layout.COUNTERS, 1)[0]
        self._flows: NDArray[np.uint64] = _mapped(flows, layout.FLOW_BUCKET, layout.FLOW_BUCKETS)["flow"]
        self._vips = _mapped(vips, layout.VIP_BUCKET, layout.VIP_BUCKETS)
        lanes = bpf.pinned(guard / "bss")
        self._lanes = None if lanes is None else _mapped(lanes, guard_layout.LANES, 1)[0]["lane"]

    def read(self, numbers: Iterable[int], at_s: float) -> BalancerCounts:
        """The counts now, of the backends with these numbers. Some 10 ms, most of it for the 8 MiB of flows."""
        wanted = sorted(set(numbers))
        sent = _traffic(self._counters["backend"], wanted)
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
                number: BackendCounts(flows=int(flows[number]), **counted)
                for number, counted in zip(wanted, sent, strict=True)
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
            vips=self._vip_counts(),
        )

    def _vip_counts(self) -> tuple[VipCounts, ...]:
        """Of each entry of the table, by address, ports first; one that moves just now stands there once or twice."""
        table = self._vips.copy()
        places = {key: place for place, key in occupied(table)}
        held = [table["vip"][place] for place in places.values()]
        came = _traffic(self._counters["vip"], [int(entry["number"]) for entry in held])
        found = [_vip(key, int(entry["ring"]), counted) for key, entry, counted in zip(places, held, came, strict=True)]
        return tuple(sorted(found, key=_order))

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


def _traffic(counters: NDArray[np.void], numbers: list[int]) -> list[dict[str, int]]:
    """The sums over all CPUs of some columns of a table [CPU][number]."""
    counted = counters[:, numbers]
    names = ("packets", "bytes", "opened", "closed")
    sums = zip(*(counted[name].sum(axis=0).tolist() for name in names), strict=True)
    return [dict(zip(names, values, strict=True)) for values in sums]


def _vip(key: VipKey, ring: int, counted: dict[str, int]) -> VipCounts:
    address, port, protocol = key
    return VipCounts(
        address=unpacked(address),
        traffic=Traffic.ECHO if protocol in ECHO else Traffic.PORT if port else Traffic.FRAGMENTS,
        protocol=PROTOCOLS[protocol],
        port=port,
        ring=ring,
        **counted,
    )


def _order(counts: VipCounts) -> tuple[int, IPAddress, bool, str, int]:
    """IPv4 first, each address's ports before what has none."""
    return counts.address.version, counts.address, counts.traffic is not Traffic.PORT, counts.protocol, counts.port
