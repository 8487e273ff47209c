"""Frames as they come in, one in so many: a program in the root's place for a while, so that it costs nothing else.

It runs the same programs from the same slots as the root, and takes its place and gives it back by one update of the
link each. If its reader is killed it samples no more after its time, and the next manager puts the root back.
"""

from __future__ import annotations

import mmap
import os
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from gtm.model.errors import PublishError
from gtm.publish.dataplane import bpf, link
from gtm.publish.dataplane.events import BUSY, DISCARDED
from gtm.publish.dataplane.maps import OBJECT as BALANCER
from gtm.publish.dataplane.pins import Pins

OBJECT = Path(__file__).with_name("sample.bpf.o")
PROGRAM = "gtm_sample"
SNAP = 512
SAMPLES_BYTES = 1 << 20
SAMPLE = np.dtype([("at_ns", "<u8"), ("length", "<u4"), ("captured", "<u4"), ("bytes", "u1", SNAP)])
SETTINGS = np.dtype([("until", "<u8"), ("every", "<u4"), ("snap", "<u4")])
COUNTER = np.dtype([("seen", "<u8"), ("taken", "<u8"), ("lost", "<u8"), ("pad", "<u8", 5)])
BY_STRUCT = {"gtm_sample": SAMPLE, "gtm_sample_settings": SETTINGS, "gtm_sample_counter": COUNTER}
RECORD = np.dtype([("head", "<u4"), ("page", "<u4"), ("sample", SAMPLE)])


class Sampler:
    """Loads the program over the slots of a balancer that is pinned; frames go through it between start and stop."""

    def __init__(self, pins: Pins, path: Path = OBJECT) -> None:
        """Raises PublishError where nothing is pinned, OSError where it does not load."""
        self._pins = pins
        self._stack = ExitStack()
        self._was: int | None = None
        self._link: Path | None = None
        try:
            shared = {name: self._shared(pins.maps_of(BALANCER) / name) for name in ("programs", "floods")}
            self.object = bpf.Object(path, lambda name, _shape: shared.get(name))
            self._stack.callback(self.object.close)
        except BaseException:
            self._stack.close()
            raise
        self.program = self.object.program(PROGRAM)
        self.settings = self.object.map_view(".data", SETTINGS)[0]
        self.counters = self.object.map_view(".bss", COUNTER)
        self.fd = self.object.map_fd("samples")  # readable while samples wait
        page = mmap.PAGESIZE
        reader = mmap.mmap(self.fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        writer = mmap.mmap(self.fd, page + 2 * SAMPLES_BYTES, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        self._read = np.frombuffer(reader, np.uint64, 1)
        self._written = np.frombuffer(writer, np.uint64, 1)
        self._data = np.frombuffer(writer, np.uint8, 2 * SAMPLES_BYTES, page)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
        self._stack.close()

    def set(self, *, every: int, snap_bytes: int, until: int) -> None:
        """One in `every` frames of each CPU, the first `snap_bytes` of it (SNAP at most), until a jiffies64."""
        self.settings["snap"], self.settings["until"], self.settings["every"] = min(snap_bytes, SNAP), until, every

    def start(self, interface: str) -> None:
        """Takes the place of the program on an interface. Raises PublishError where there is none of ours."""
        pin = self._pins.link(interface)
        number, mode = link.program_of(pin), link.hook(interface).mode
        if not number or mode is None:
            raise PublishError("no program of ours is on it (gtm balance run)", target=interface, change="sample")
        was = bpf.program(number)
        self._stack.callback(os.close, was)
        if bpf.name(was) == PROGRAM:
            message = "is sampled already; or that was killed, and starting gtm balance run again ends it"
            raise PublishError(message, target=interface, change="sample")
        link.attach(self.program, interface=interface, mode=mode, pin=pin)
        self._was, self._link, self._where = was, pin, (interface, mode)

    def stop(self) -> None:
        """Gives the place back, unless somebody has put another program there meanwhile; twice does no harm."""
        self.settings["every"] = 0
        if self._was is None or self._link is None:
            return
        interface, mode = self._where
        if link.program_of(self._link) == bpf.number(self.program):
            link.attach(self._was, interface=interface, mode=mode, pin=self._link)
        self._was = None

    def take(self) -> NDArray[np.void]:
        """The samples that wait, oldest first, as records of SAMPLE; they are gone from the buffer then."""
        start, end = int(self._read[0]), int(self._written[0])
        at = start & SAMPLES_BYTES - 1
        records = self._data[at : at + (end - start) // RECORD.itemsize * RECORD.itemsize].view(RECORD)
        heads = records["head"].copy()
        unfinished = np.flatnonzero(heads & BUSY)
        count = int(unfinished[0]) if len(unfinished) else len(records)
        found: NDArray[np.void] = records["sample"][:count][(heads[:count] & DISCARDED) == 0].copy()
        self._read[0] = start + count * RECORD.itemsize
        return found

    def counted(self) -> tuple[int, int, int]:
        """(Seen, taken, lost for want of room) frames."""
        seen, taken, lost = (int(self.counters[name].sum()) for name in ("seen", "taken", "lost"))
        return seen, taken, lost

    def _shared(self, path: Path) -> int:
        fd = bpf.pinned(path)
        if fd is None:
            message = "nothing of this release is loaded (gtm balance run)"
            raise PublishError(message, target=str(self._pins.folder), change="sample")
        self._stack.callback(os.close, fd)
        return fd
