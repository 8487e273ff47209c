"""What the programs tell of flows, read from their ring buffer without a system call, a thousand at a time.

The layout is that of the kernel's kernel/bpf/ringbuf.c: a page with the reader's position, one with the writer's, then
the data, mapped twice in a row so that nothing is ever cut at its end. libbpf would call a function for each event.
Positions and headers are read before what they vouch for; that is enough where loads stay in their order (x86-64).
"""

from __future__ import annotations

import mmap

import numpy as np
from numpy.typing import NDArray

from gtm.publish.dataplane import layout

BUSY, DISCARDED = 1 << 31, 1 << 30  # BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT
RECORD = np.dtype([("head", "<u4"), ("page", "<u4"), ("event", layout.FLOW_EVENT)])


class Events:
    """The reading end of the map `events`, of which there is one. Its descriptor is readable while events wait."""

    def __init__(self, fd: int, settings: np.void, size_bytes: int = layout.EVENT_BYTES) -> None:
        """`settings` is the programs' record of layout.SETTINGS, whose flag makes them tell."""
        self.fd = fd
        self._settings = settings
        self._size = size_bytes
        page = mmap.PAGESIZE
        reader = mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        writer = mmap.mmap(fd, page + 2 * size_bytes, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        self._read = np.frombuffer(reader, np.uint64, 1)
        self._written = np.frombuffer(writer, np.uint64, 1)
        self._data = np.frombuffer(writer, np.uint8, 2 * size_bytes, page)

    def take(self) -> NDArray[np.void]:
        """The events that wait, oldest first, as records of layout.FLOW_EVENT; they are gone from the buffer then."""
        start, end = int(self._read[0]), int(self._written[0])
        at = start & self._size - 1
        records = self._data[at : at + (end - start) // RECORD.itemsize * RECORD.itemsize].view(RECORD)
        heads = records["head"].copy()
        unfinished = np.flatnonzero(heads & BUSY)
        count = int(unfinished[0]) if len(unfinished) else len(records)
        found: NDArray[np.void] = records["event"][:count][(heads[:count] & DISCARDED) == 0].copy()
        self._read[0] = start + count * RECORD.itemsize
        return found

    def begin(self) -> None:
        """Has the programs tell from now on; what was told while nobody read is dropped."""
        while len(self.take()):
            pass
        self._settings["flags"] |= layout.TELL_EVENTS

    def end(self) -> None:
        """Has them tell no more."""
        self._settings["flags"] &= ~np.uint32(layout.TELL_EVENTS)
