"""The guard in the kernel before a balancer with empty tables, so that what it does not drop passes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gtm.decide.guard import Bucket, Limits, Policy, Reason
from gtm.publish.dataplane import bpf
from gtm.publish.dataplane.guard import Guard
from gtm.publish.dataplane.maps import Balancer
from tests.dataplane import world as w

DROP, PASS = 1, 2
VIP = 2
TARGETS = {w.packed(w.vip(family, VIP)): Limits() for family in w.FAMILIES}
# So long a packet's tokens grow (a minute at 250 HZ) that none do while a test runs, however slow the machine.
SLOW = 1 << 34
EVERY = frozenset(Reason)


def slow(packets: int) -> Bucket:
    """A bucket of so many packets that does not fill again; a source's, whose moments have 40 bits, has up to 32."""
    return Bucket(cost=SLOW, burst=SLOW * packets)


def policy(**more: object) -> Policy:
    return Policy(seed=w.SEED, targets=TARGETS, **more)  # type: ignore[arg-type]


class Guarded:
    """A guard, and what its counters say since the last time they were asked."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self._run = bpf.TestRun(guard.program)
        self._before = self._totals()

    def run(self, frame: bytes) -> int:
        """The XDP action."""
        action, left = self._run(frame)
        assert left == frame
        return action

    def counted(self) -> dict[str, int]:
        """Packets by "dropped REASON", "would REASON" and way on; without those that are none."""
        before, self._before = self._before, self._totals()
        return {name: packets - before[name] for name, packets in self._before.items() if packets != before[name]}

    def forget(self) -> None:
        """Fills all buckets."""
        self.guard.sources["source"] = 0
        self.guard.lanes["target"] = (0, 0)
        self.guard.floods[:] = 0

    def _totals(self) -> dict[str, int]:
        found = {f"dropped {reason.name}": packets for reason, (packets, _) in self.guard.dropped().items()}
        found |= {f"would {reason.name}": packets for reason, (packets, _) in self.guard.would().items()}
        return found | {way.name: packets for way, (packets, _) in self.guard.passed().items()}


@contextmanager
def guarded(built: Path) -> Iterator[Guarded]:
    """On one CPU, as VIPs have a bucket on each."""
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})
    try:
        with Balancer(built / "balance.bpf.o") as balancer, Guard(balancer.object, built / "guard.bpf.o") as guard:
            yield Guarded(guard)
    finally:
        os.sched_setaffinity(0, cpus)
