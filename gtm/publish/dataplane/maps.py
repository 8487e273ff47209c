"""The balancer in the kernel: its program loaded, its tables as records to write."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gtm.decide.balance import Backend, Vip
from gtm.publish.dataplane import bpf, layout
from gtm.publish.dataplane.servers import ServerId, place_servers
from gtm.publish.dataplane.vips import VipKey, arrange, key_of

OBJECT = Path(__file__).with_name("balance.bpf.o")
MOVE_S = 0.001  # in which a VIP stands in both of its buckets: a packet's two looks are nanoseconds apart


class Balancer:
    """Loads the object; VIPs, rings and backends are replaced whole, and the flows stay."""

    def __init__(self, path: Path = OBJECT, load: Callable[[Path], bpf.Object] = bpf.Object) -> None:
        """`load` is Pins.load where maps are to outlive this process."""
        self.object = load(path)
        self.root, self.program = self.object.program("gtm_root"), self.object.program("gtm_balance")
        self.vips = self.object.map_view("vips", layout.VIP_BUCKET)
        self.servers = self.object.map_view("servers", layout.FLOW_BUCKET)
        self.backends = self.object.map_view("backends", layout.BACKEND)
        self.flows = self.object.map_view("flows", layout.FLOW_BUCKET)
        self.settings = self.object.map_view(".data", layout.SETTINGS)[0]
        self.counters = self.object.map_view(".bss", layout.COUNTERS)[0]
        bpf.set_descriptor(self.object.map_fd("programs"), layout.PROGRAM_BALANCE, self.program)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.object.close()

    def set_vips(self, vips: Mapping[VipKey, Vip], seed: tuple[int, int]) -> bool:
        """Brings the VIPs, by (address of 16 bytes, port, protocol), and their seed to these; whether any changed.

        Under the same seed each that stays is found all the while, and keeps its counters. Raises Full.
        """
        arranged = arrange(self.vips, vips, seed)
        self.settings["seed"] = seed
        self.counters["vip"][:, arranged.numbers] = 0
        for step in arranged.steps:
            self._write_vip(self.vips["vip"][step.place], step.entry)
            if step.again:
                time.sleep(MOVE_S)
        return bool(arranged.steps)

    @staticmethod
    def _write_vip(there: np.void, entry: np.void) -> None:
        """The protocol is written last: until then nothing is found there."""
        if there["protocol"] and key_of(there) != key_of(entry):
            there["protocol"] = 0
        if not there["protocol"]:
            for name in ("address", "port", "flags", "ring", "number", "quic", "protocol"):
                there[name] = entry[name]
        else:
            for name in ("ring", "flags", "quic"):
                there[name] = entry[name]

    def set_servers(self, servers: Mapping[ServerId, int], seed: tuple[int, int]) -> None:
        """Writes QUIC-LB servers: a backend's number by (ring, config rotation codepoint, server ID). Raises Full."""
        self.servers["flow"] = place_servers(servers, seed, standing=self.servers["flow"])

    def set_ring(self, number: int, slots: ArrayLike, *, generation: int) -> None:
        """Swaps a VIP's Maglev table: a new array is filled, then takes the old one's place at once."""
        values = np.asarray(slots, dtype=np.uint32)
        fd = bpf.create_array("gtm_ring", value_bytes=layout.RING.itemsize, entries=1)
        try:
            ring = bpf.view(fd, layout.RING.itemsize, layout.RING)[0]
            ring["slot"][: len(values)] = values
            ring["size"], ring["generation"] = len(values), generation
            bpf.set_descriptor(self.object.map_fd("rings"), number, fd)
        finally:
            os.close(fd)

    def ring(self, number: int) -> tuple[int, NDArray[np.uint32]] | None:
        """The generation and the slots of a VIP's table in the kernel; None where it has none. Needs CAP_SYS_ADMIN."""
        return ring_of(self.object.map_fd("rings"), number)

    def set_backends(self, backends: Mapping[int, Backend]) -> None:
        """Writes the backend table; a number that is not in `backends` becomes none."""
        table = np.zeros(layout.BACKENDS, layout.BACKEND)
        for number, backend in backends.items():
            table[number] = record(backend)
        self.backends[:] = table

    def set_backend(self, number: int, backend: Backend | None, *, deadline: int = 0) -> bool:
        """Writes one backend, with the jiffies64 at which its drain ends (0: none); whether it was another."""
        wanted: np.void = np.zeros(1, layout.BACKEND)[0] if backend is None else record(backend)
        if backend is not None and deadline:
            wanted["deadline"] = deadline
        if self.backends[number] == wanted:
            return False
        self.backends[number] = wanted
        return True


def ring_of(rings_fd: int, number: int) -> tuple[int, NDArray[np.uint32]] | None:
    """The generation and the slots of a table in the array of tables; None where there is none."""
    fd = bpf.inner(rings_fd, number)
    if fd is None:
        return None
    try:
        ring = bpf.view(fd, layout.RING.itemsize, layout.RING)[0]
        return int(ring["generation"]), ring["slot"][: int(ring["size"])].copy()
    finally:
        os.close(fd)


def record(backend: Backend) -> np.void:
    """A backend as the program reads it; an expired one's deadline is long over."""
    flags = layout.BACKEND_OUTER6 * backend.outer6 | layout.BACKEND_SECOND_CHANCE * backend.second_chance
    one: np.void = np.zeros(1, layout.BACKEND)[0]
    one["address"], one["source"], one["mac"] = backend.address, backend.source, backend.mac
    one["deadline"], one["wrap"], one["flags"] = int(backend.expired), backend.wrap, flags
    one["mtu"], one["port"] = backend.mtu_bytes, backend.port
    return one
