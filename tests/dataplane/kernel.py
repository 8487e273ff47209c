"""The real program in the kernel, run on a frame at a time."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from gtm.decide.balance import Tables, Verdict
from gtm.publish.dataplane import bpf, layout
from gtm.publish.dataplane.guard import hash_address
from gtm.publish.dataplane.maps import Balancer
from gtm.publish.dataplane.vips import VipKey, occupied

ACTION = {"PASS": 2, "TX": 3, "DROP": 1}


class Kernel:
    """Loads the balancer behind the program that poisons the headroom; `tables` are in both, the model's and its."""

    def __init__(self, folder: Path, tables: Tables) -> None:
        self.balancer = Balancer(folder / "balance.bpf.o")
        self._harness = bpf.Object(folder / "harness.bpf.o")
        bpf.set_descriptor(self._harness.map_fd("tested"), 0, self.balancer.program)
        self._run = bpf.TestRun(self._harness.program("gtm_poison"))
        self.balancer.settings["answer_gap_ns"] = 0
        self.balancer.set_vips(tables.vips, tables.seed)
        self.balancer.set_servers(tables.servers, tables.seed)
        self.balancer.set_backends(tables.backends)
        for number, slots in tables.rings.items():
            self.balancer.set_ring(number, slots, generation=1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._harness.close()
        self.balancer.object.close()

    def forget(self, *, learn: bool = True) -> None:
        """Empties the flow table."""
        self.balancer.flows["flow"] = 0
        self.balancer.settings["flags"] = 0 if learn else layout.LEARN_NOTHING

    def flood(self, address: bytes, *, until: int) -> None:
        """Has nothing learnt of a VIP until a jiffies64."""
        floods = self.balancer.object.map_view("floods", np.dtype([("until", "<u8")]))["until"]
        floods[hash_address(address) >> 54] = until

    def run(self, frame: bytes) -> tuple[int, bytes]:
        """(XDP action, frame)."""
        return self._run(frame)

    def verdicts(self) -> dict[Verdict, int]:
        """Packets by verdict since the program was loaded."""
        totals = self.balancer.counters["verdict"]["packets"].sum(axis=0)
        return {verdict: int(totals[verdict]) for verdict in Verdict}

    def came(self) -> dict[VipKey, tuple[int, int]]:
        """Packets and octets by VIP, since it was set."""
        counted = self.balancer.counters["vip"]
        totals = [counted[name].sum(axis=0) for name in ("packets", "bytes")]
        places = occupied(self.balancer.vips)
        numbers = {key: int(self.balancer.vips["vip"][place]["number"]) for place, key in places}
        return {key: (int(totals[0][number]), int(totals[1][number])) for key, number in numbers.items()}


def action(verdict: Verdict) -> int:
    """The XDP action that goes with a verdict."""
    return ACTION[verdict.name.partition("_")[0]]
