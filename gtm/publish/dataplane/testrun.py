"""The attached programs a second time, to run a frame through (BPF_PROG_TEST_RUN) without the traffic taking notice.

A twin is the same code on the same VIPs, tables and backends, which the programs only read. What they write (flows,
counters, buckets, floods, events) it has as copies of its own: nothing is counted, learnt or taken that traffic sees,
and its counters say what became of just this frame.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from gtm.decide.balance import Verdict
from gtm.decide.guard import Pass, Reason
from gtm.model.errors import PublishError
from gtm.publish.dataplane import bpf, guard, guard_layout, layout
from gtm.publish.dataplane import maps as balancer
from gtm.publish.dataplane.maps import ring_of
from gtm.publish.dataplane.pins import Pins

READ = frozenset({"vips", "backends", "rings", "servers"})
GUARD_READ = frozenset({"guard_targets", "guard_rates", "guard_pages", "guard_hosts", "guard_longer4", "guard_longer6"})
ACTIONS = ("ABORTED", "DROP", "PASS", "TX", "REDIRECT")
FRAME_MAX = 3400  # a page, less the headroom and what the kernel keeps behind a frame

Words = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """What the guard made of a frame: a Reason where it was dropped. `would`: the dry rules that match."""

    outcome: Pass | Reason
    would: tuple[Reason, ...]
    flooded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What became of a frame. `verdict` None: the guard dropped it; `guard` None: there is none before the balancer.

    `backend` is the number that was counted, 0: none. `before` and `after` are the flow table's bucket asked for.
    """

    action: str
    frame: bytes
    verdict: Verdict | None
    backend: int
    guard: Guarded | None
    before: Words
    after: Words


class Twin:
    """Loads the objects beside what is pinned. Raises PublishError where nothing is, OSError where it does not load."""

    def __init__(self, pins: Pins, objects: Path | None = None) -> None:
        """`objects` is the folder of the programs (default: gtm's own). Needs root, or what `gtm balance run` needs."""
        self._stack = ExitStack()
        self._pinned = pins.maps_of(balancer.OBJECT)
        guarding = pins.maps_of(guard.OBJECT, layout.digest(guard_layout.BY_STRUCT))
        if not self._pinned.exists():
            raise PublishError(
                "nothing of this release is loaded (gtm balance run)", target=str(pins.folder), change="look"
            )
        try:
            self._load(guarding, objects)
        except BaseException:
            self._stack.close()
            raise

    def _load(self, guarding: Path, objects: Path | None) -> None:
        self.rings = self._open(self._pinned / "rings")
        programs = self._open(self._pinned / "programs")
        self._balance = self._object(balancer.OBJECT, objects, self._pinned, READ)
        self.vips = self._balance.map_view("vips", layout.VIP_BUCKET)
        self.backends = self._balance.map_view("backends", layout.BACKEND)
        self.servers = self._balance.map_view("servers", layout.FLOW_BUCKET)
        self.flows = self._balance.map_view("flows", layout.FLOW_BUCKET)
        self.counters = self._balance.map_view(".bss", layout.COUNTERS)[0]
        self.settings = self._balance.map_view(".data", layout.SETTINGS)[0]
        self.flows[:] = self._copy(self._pinned / "flows", layout.FLOW_BUCKET, layout.FLOW_BUCKETS)
        self._balance.map_view(".data", layout.SETTINGS)[:] = self._copy(self._pinned / "data", layout.SETTINGS, 1)
        floods = self._balance.map_view("floods", np.dtype("V8"))
        floods[:] = self._copy(self._pinned / "floods", np.dtype("V8"), layout.FLOODS)
        slots = self._balance.map_fd("programs")
        own = self._balance.program("gtm_balance")
        bpf.set_descriptor(slots, layout.PROGRAM_BALANCE, own)
        same = [self._same(programs, layout.PROGRAM_BALANCE, own)]
        self.lanes: NDArray[np.void] | None = None
        if bpf.program_in(programs, layout.PROGRAM_GUARD) is not None and guarding.exists():
            own = self._guard(guarding, objects, slots)
            same.append(self._same(programs, layout.PROGRAM_GUARD, own))
        self.same_code = all(same)
        self._run = bpf.TestRun(self._balance.program("gtm_root"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def ring(self, number: int) -> tuple[int, NDArray[np.uint32]] | None:
        """The generation and the slots of a VIP's table; None where it has none."""
        return ring_of(self.rings, number)

    def run(self, frame: bytes, *, bucket: int) -> Ran:
        """Runs one frame of 14 to FRAME_MAX bytes; `bucket` of the flow table is looked at before and after."""
        before = _words(self.flows, bucket)
        verdicts = self._verdicts()
        backends = self.counters["backend"]["packets"].sum(axis=0)
        guarded = self._guard_counts()
        action, out = self._run(frame)
        gone = self._verdicts() - verdicts
        counted = np.flatnonzero(self.counters["backend"]["packets"].sum(axis=0) - backends)
        found = np.flatnonzero(gone)
        return Ran(
            action=ACTIONS[action] if action < len(ACTIONS) else str(action),
            frame=out,
            verdict=Verdict(int(found[0])) if len(found) else None,
            backend=int(counted[0]) if len(counted) else 0,
            guard=_guarded(guarded, self._guard_counts()),
            before=before,
            after=_words(self.flows, bucket),
        )

    def _guard(self, pinned: Path, objects: Path | None, slots: int) -> int:
        """Load the guard's twin into its slot; the program."""
        shared = {name: self._balance.map_fd(name) for name in guard.SHARED}
        made = self._object(guard.OBJECT, objects, pinned, GUARD_READ, shared)
        made.map_view(".data", guard_layout.SETTINGS)[:] = self._copy(pinned / "data", guard_layout.SETTINGS, 1)
        sources = made.map_view("guard_sources", guard_layout.LINE)
        sources[:] = self._copy(pinned / "guard_sources", guard_layout.LINE, guard_layout.SOURCE_LINES)
        self.lanes = made.map_view(".bss", guard_layout.LANES)[0]["lane"]
        live = self._copy(pinned / "bss", guard_layout.LANES, 1)[0]["lane"]
        self.lanes["target"] = live["target"]
        own = made.program("gtm_guard")
        bpf.set_descriptor(slots, layout.PROGRAM_GUARD, own)
        return own

    def _object(
        self,
        path: Path,
        objects: Path | None,
        pinned: Path,
        read: frozenset[str],
        shared: Mapping[str, int] | None = None,
    ) -> bpf.Object:
        given = dict(shared or {})
        given |= {name: self._open(pinned / name) for name in sorted(read)}
        made = bpf.Object(path if objects is None else objects / path.name, lambda name, _shape: given.get(name))
        self._stack.callback(made.close)
        return made

    def _same(self, programs: int, slot: int, own: int) -> bool:
        """Whether the program in a slot of the traffic's is the same code."""
        number = bpf.program_in(programs, slot)
        if number is None:
            return False
        fd = bpf.program(number)
        try:
            return bpf.tag(fd) == bpf.tag(own)
        finally:
            os.close(fd)

    def _open(self, path: Path) -> int:
        fd = bpf.pinned(path)
        if fd is None:
            raise PublishError("is not there, though others of its object are", target=str(path), change="look")
        self._stack.callback(os.close, fd)
        return fd

    def _copy(self, path: Path, dtype: np.dtype[np.void], entries: int) -> NDArray[np.void]:
        return bpf.view(self._open(path), dtype.itemsize * entries, dtype).copy()

    def _verdicts(self) -> NDArray[np.uint64]:
        found: NDArray[np.uint64] = self.counters["verdict"]["packets"].sum(axis=0)
        return found

    def _guard_counts(self) -> dict[str, NDArray[np.uint64]] | None:
        if self.lanes is None:
            return None
        return {name: self.lanes[name]["packets"].sum(axis=0) for name in ("dropped", "would", "passed")}


def _guarded(
    before: Mapping[str, NDArray[np.uint64]] | None, after: Mapping[str, NDArray[np.uint64]] | None
) -> Guarded | None:
    if before is None or after is None:
        return None
    counted = {name: np.flatnonzero(after[name] - before[name]).tolist() for name in after}
    ways = [Pass(number) for number in counted["passed"] if number != Pass.FLOODED]
    dropped = [Reason(number) for number in counted["dropped"]]
    return Guarded(
        outcome=dropped[0] if dropped else ways[0],
        would=tuple(Reason(number) for number in counted["would"]),
        flooded=Pass.FLOODED in counted["passed"],
    )


def _words(flows: NDArray[np.void], bucket: int) -> Words:
    return tuple(int(word) for word in flows["flow"][bucket])
