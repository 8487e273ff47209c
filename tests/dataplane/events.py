"""The kernel's ring buffer of flow events, read by libbpf."""

from __future__ import annotations

import ctypes as c
from types import TracebackType
from typing import Self

import numpy as np

from gtm.publish.dataplane import bpf, layout

Sample = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_void_p, c.c_size_t)


class Events:
    """A reader of the map `events`."""

    def __init__(self, map_fd: int) -> None:
        self._lib = bpf.library()
        for name, result, *arguments in (
            ("ring_buffer__new", c.c_void_p, c.c_int, Sample, c.c_void_p, c.c_void_p),
            ("ring_buffer__consume", c.c_int, c.c_void_p),
            ("ring_buffer__free", None, c.c_void_p),
        ):
            function = getattr(self._lib, name)
            function.restype, function.argtypes = result, arguments
        self._read: list[bytes] = []
        self._sample = Sample(self._take)
        self._buffer = self._lib.ring_buffer__new(map_fd, self._sample, None, None)
        if not self._buffer:
            raise OSError(c.get_errno(), "ring buffer")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._lib.ring_buffer__free(self._buffer)

    def take(self) -> list[tuple[bool, int, int]]:
        """What was told since the last call, as the model tells it: (ended, word, ring)."""
        self._read.clear()
        bpf.check(self._lib.ring_buffer__consume(self._buffer), "consume")
        told = np.frombuffer(b"".join(self._read), layout.FLOW_EVENT)
        kinds = {layout.FLOW_LEARNT: False, layout.FLOW_ENDED: True}
        return [(kinds[int(each["kind"])], int(each["flow"]), int(each["ring"])) for each in told]

    def _take(self, _context: int, data: int, size: int) -> int:
        self._read.append(c.string_at(data, size))
        return 0
