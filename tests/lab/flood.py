"""A flood from random sources, right into a balancer's link: frames that the kernel makes, millions a second."""

from __future__ import annotations

import ctypes as c
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

import numpy as np

from gtm.publish.dataplane import bpf
from tests.lab.network import Host

LIVE_FRAMES, BATCH = 2, 64
FRAME_BYTES = 64
TCP, UDP, SYN, ACK = 6, 17, 2, 16
FLOOD = np.dtype([("network", "V4"), ("mask", "V4"), ("packets", "<u8"), ("bytes", "u1", FRAME_BYTES)])
ANY = IPv4Network("0.0.0.0/0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a flood is made of: its target, and sources drawn from a network."""

    target: str
    port: int = 80
    protocol: int = TCP
    flags: int = SYN
    sources: IPv4Network = ANY


def frame(kind: Kind, *, target_mac: bytes, source_mac: bytes) -> bytes:
    """One frame from 0.0.0.0 port 0, as long as Ethernet wants it."""
    target = socket.inet_aton(kind.target)
    if kind.protocol == TCP:
        body = struct.pack("!HHIIBBHHH", 0, kind.port, 1, 0, 0x50, kind.flags, 65535, 0, 0)
        pseudo = bytes(4) + target + struct.pack("!BBH", 0, TCP, len(body))
        body = body[:16] + struct.pack("!H", _checksum(pseudo + body)) + body[18:]
    else:
        body = struct.pack("!HHHH", 0, kind.port, 8 + 18, 0) + bytes(18)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0x4000, 64, kind.protocol, 0) + bytes(4) + target
    head = head[:10] + struct.pack("!H", _checksum(head)) + head[12:]
    return (target_mac + source_mac + b"\x08\x00" + head + body).ljust(FRAME_BYTES, b"\0")


class Flood:
    """Sends by a link's far end, `rate` frames a second in bursts of a few milliseconds, until it is stopped."""

    def __init__(self, program: bpf.Object, template: bytes, sources: IPv4Network, link: int, rate: int) -> None:
        self._view = program.map_view(".bss", FLOOD)[0]
        self._view["network"], self._view["mask"] = sources.network_address.packed, sources.netmask.packed
        self._view["bytes"] = np.frombuffer(template, np.uint8)
        self._frame = c.create_string_buffer(template, FRAME_BYTES + 1)
        self._context = c.create_string_buffer(struct.pack("=6I", 0, FRAME_BYTES + 1, 0, link, 0, 0), 24)
        self._program, self._rate, self._stop = program.program("gtm_flood"), rate, threading.Event()

    @property
    def packets(self) -> int:
        """Frames sent so far."""
        return int(self._view["packets"])

    def run(self, cpus: frozenset[int]) -> None:
        """Until `stop`; to be called in the namespace of the link, on one of these CPUs."""
        if cpus:
            os.sched_setaffinity(0, cpus)
        start_s, sent = time.monotonic(), 0
        while not self._stop.wait(0.002):
            due = int((time.monotonic() - start_s) * self._rate) - sent
            sent += due
            self.send(min(due, self._rate // 20))  # what a pause of the machine missed is not made up for

    def send(self, count: int) -> None:
        """So many frames, at once."""
        options = bpf.TestRunOpts(sz=c.sizeof(bpf.TestRunOpts), repeat=count, flags=LIVE_FRAMES, batch_size=BATCH)
        options.data_in, options.data_size_in = c.addressof(self._frame), FRAME_BYTES + 1
        options.ctx_in, options.ctx_size_in = c.addressof(self._context), 24
        if count:
            bpf.check(bpf.library().bpf_prog_test_run_opts(self._program, c.byref(options)), "live frames")

    def stop(self) -> None:
        """No more after this."""
        self._stop.set()


@contextmanager
def flooding(
    built: Path, host: Host, link: str, template: bytes, kind: Kind, *, rate: int, cpus: frozenset[int] = frozenset()
) -> Iterator[Flood]:
    """A flood that goes on, out of a host's link."""
    number = host.inside(lambda: socket.if_nametoindex(link))
    with bpf.Object(built / "flood.bpf.o") as program:
        made = Flood(program, template, kind.sources, number, rate)
        thread = threading.Thread(target=host.inside, args=(lambda: made.run(cpus),))
        thread.start()
        try:
            yield made
        finally:
            made.stop()
            thread.join()


def _checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
