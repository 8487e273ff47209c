"""The balancer in the kernel: its program loaded, its tables as records to write."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from struct import unpack
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gtm.decide.balance import Backend, Vip, mix
from gtm.publish.dataplane import bpf, layout

OBJECT = Path(__file__).with_name("balance.bpf.o")


class Full(Exception):
    """Both buckets of a VIP are taken; another seed places them anew."""


class Balancer:
    """Loads the object; VIPs, rings and backends are replaced whole, and the flows stay."""

    def __init__(self, path: Path = OBJECT, load: Callable[[Path], bpf.Object] = bpf.Object) -> None:
        """`load` is Pins.load where maps are to outlive this process."""
        self.object = load(path)
        self.root, self.program = self.object.program("gtm_root"), self.object.program("gtm_balance")
        self.vips = self.object.map_view("vips", layout.VIP_BUCKET)
        self.backends = self.object.map_view("backends", layout.BACKEND)
        self.flows = self.object.map_view("flows", layout.FLOW_BUCKET)
        self.settings = self.object.map_view(".data", layout.SETTINGS)[0]
        self.counters = self.object.map_view(".bss", layout.COUNTERS)[0]
        bpf.set_descriptor(self.object.map_fd("programs"), layout.PROGRAM_BALANCE, self.program)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.object.close()

    def set_vips(self, vips: Mapping[tuple[bytes, int, int], Vip], seed: tuple[int, int]) -> None:
        """Writes VIPs by (address of 16 bytes, port, protocol), and the seed that places them. Raises Full."""
        placed = place(vips, seed)
        self.settings["seed"] = seed
        self.vips[:] = placed

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
        fd = bpf.inner(self.object.map_fd("rings"), number)
        if fd is None:
            return None
        try:
            ring = bpf.view(fd, layout.RING.itemsize, layout.RING)[0]
            return int(ring["generation"]), ring["slot"][: int(ring["size"])].copy()
        finally:
            os.close(fd)

    def set_backends(self, backends: Mapping[int, Backend]) -> None:
        """Writes the backend table; a number that is not in `backends` becomes none."""
        table = np.zeros(layout.BACKENDS, layout.BACKEND)
        for number, backend in backends.items():
            table[number] = record(backend)
        self.backends[:] = table


def record(backend: Backend) -> np.void:
    """A backend as the program reads it; an expired one's deadline is long over."""
    flags = layout.BACKEND_OUTER6 * backend.outer6 | layout.BACKEND_SECOND_CHANCE * backend.second_chance
    one: np.void = np.zeros(1, layout.BACKEND)[0]
    one["address"], one["source"], one["mac"] = backend.address, backend.source, backend.mac
    one["deadline"], one["wrap"], one["flags"] = int(backend.expired), backend.wrap, flags
    one["mtu"], one["port"] = backend.mtu_bytes, backend.port
    return one


def place(
    vips: Mapping[tuple[bytes, int, int], Vip], seed: tuple[int, int]
) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """VIPs in the first of their two buckets that has room. Raises Full."""
    table = np.zeros(layout.VIP_BUCKETS, layout.VIP_BUCKET)
    for (address, port, protocol), vip in vips.items():
        low, high = unpack("<QQ", address)
        wire_port = int.from_bytes(port.to_bytes(2, "big"), "little")
        hashed = mix(mix(mix(seed[0], low), high), protocol << 16 | wire_port)
        for bucket in (hashed % layout.VIP_BUCKETS, (hashed >> 32) % layout.VIP_BUCKETS):
            free = [i for i in range(2) if not table[bucket]["vip"][i]["protocol"]]
            if free:
                entry = table[bucket]["vip"][free[0]]
                entry["address"], entry["port"], entry["protocol"] = address, port, protocol
                entry["ring"], entry["flags"] = vip.ring, layout.VIP_TRACK * vip.track
                break
        else:
            raise Full
    return table
