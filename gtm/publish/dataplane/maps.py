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
from gtm.publish.dataplane.servers import Full, ServerId, place_servers

OBJECT = Path(__file__).with_name("balance.bpf.o")


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

    def set_vips(self, vips: Mapping[tuple[bytes, int, int], Vip], seed: tuple[int, int]) -> bool:
        """Brings the VIPs, by (address of 16 bytes, port, protocol), and their seed to these; whether any changed.

        Under the same seed each that stays keeps its place, and is found all the while. Raises Full.
        """
        same = tuple(int(word) for word in self.settings["seed"]) == seed
        wanted = place(vips, seed, self.vips if same else None)
        self.settings["seed"] = seed
        changed = np.flatnonzero(self.vips != wanted)
        for bucket in changed:
            for there, entry in zip(self.vips[bucket]["vip"], wanted[bucket]["vip"], strict=True):
                if there["protocol"] and key_of(there) != key_of(entry):
                    there["protocol"] = 0
                if not there["protocol"]:  # the protocol last: until then nothing is found here
                    for name in ("address", "port", "flags", "ring", "pad", "quic", "spare", "protocol"):
                        there[name] = entry[name]
                elif there != entry:
                    for name in ("ring", "flags", "quic"):
                        there[name] = entry[name]
        return bool(len(changed))

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


def key_of(entry: np.void) -> tuple[bytes, int, int]:
    """(address of 16 bytes, port, protocol) of a VIP's entry."""
    return entry["address"].tobytes(), int(entry["port"]), int(entry["protocol"])


def record(backend: Backend) -> np.void:
    """A backend as the program reads it; an expired one's deadline is long over."""
    flags = layout.BACKEND_OUTER6 * backend.outer6 | layout.BACKEND_SECOND_CHANCE * backend.second_chance
    one: np.void = np.zeros(1, layout.BACKEND)[0]
    one["address"], one["source"], one["mac"] = backend.address, backend.source, backend.mac
    one["deadline"], one["wrap"], one["flags"] = int(backend.expired), backend.wrap, flags
    one["mtu"], one["port"] = backend.mtu_bytes, backend.port
    return one


def place(
    vips: Mapping[tuple[bytes, int, int], Vip],
    seed: tuple[int, int],
    standing: NDArray[np.void] | None = None,
) -> NDArray[np.void]:
    """VIPs, each where it is in the `standing` table, or in the first of its two buckets that has room. Raises Full."""
    table: NDArray[np.void] = np.zeros(layout.VIP_BUCKETS, layout.VIP_BUCKET)
    missing = dict(vips)
    if standing is not None:
        for bucket, at in zip(*np.nonzero(standing["vip"]["protocol"]), strict=True):
            key = key_of(standing["vip"][bucket, at])
            if key in missing:
                _write(table["vip"][bucket, at], key, missing.pop(key))
    for key, vip in missing.items():
        for bucket in buckets(key, seed):
            free = np.flatnonzero(table["vip"][bucket]["protocol"] == 0)
            if len(free):
                _write(table["vip"][bucket, free[0]], key, vip)
                break
        else:
            raise Full
    return table


def buckets(key: tuple[bytes, int, int], seed: tuple[int, int]) -> tuple[int, int]:
    """The two buckets that a VIP can be in."""
    address, port, protocol = key
    low, high = unpack("<QQ", address)
    wire_port = int.from_bytes(port.to_bytes(2, "big"), "little")
    hashed = mix(mix(mix(seed[0], low), high), protocol << 16 | wire_port)
    return hashed % layout.VIP_BUCKETS, (hashed >> 32) % layout.VIP_BUCKETS


def _write(entry: np.void, key: tuple[bytes, int, int], vip: Vip) -> None:
    entry["address"], entry["port"], entry["protocol"] = key
    entry["ring"], entry["flags"] = vip.ring, layout.VIP_TRACK * vip.track
    entry["quic"] = sum(size << 4 * rotation for rotation, size in vip.quic.items())
