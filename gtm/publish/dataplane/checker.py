"""Health checks through a VIP: what this machine sends with a mark goes to one backend, wrapped as clients' packets.

The program is on the way out of the balancer's interface (tc egress, which every kernel has); the answers come straight
back, as to a client. It has backends of its own: one that is down is in no table of the balancer, and is asked all the
same.
"""

from __future__ import annotations

import ctypes as c
import errno
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from gtm.decide.balance import Backend
from gtm.model.errors import PublishError
from gtm.publish.dataplane import bpf, layout, link
from gtm.publish.dataplane.maps import record

OBJECT = Path(__file__).with_name("check.bpf.o")
MARK, NUMBER = 0x67740000, 0xFFF  # dataplane/include/gtm_check.h
EGRESS, REPLACE = 2, 1  # BPF_TC_EGRESS, BPF_TC_F_REPLACE
HANDLE, PRIORITY = 1, 0x6774  # ours among the filters of an interface


class TcHook(c.Structure):
    """struct bpf_tc_hook."""

    _fields_ = (("sz", c.c_size_t), ("ifindex", c.c_int), ("attach_point", c.c_uint32), ("parent", c.c_uint32))


class TcOpts(c.Structure):
    """struct bpf_tc_opts."""

    _fields_ = (
        ("sz", c.c_size_t),
        ("prog_fd", c.c_int),
        ("flags", c.c_uint32),
        ("prog_id", c.c_uint32),
        ("handle", c.c_uint32),
        ("priority", c.c_uint32),
    )


def mark(number: int) -> int:
    """SO_MARK of a socket whose packets go to the backend of that number."""
    return MARK | number & NUMBER


class Checker:
    """The program, loaded; attached to an interface from `attach` until `detach`."""

    def __init__(self, path: Path = OBJECT) -> None:
        """Raises OSError with libbpf's words."""
        self.object = bpf.Object(path)
        self.program = self.object.program("gtm_check")
        self.backends = self.object.map_view("checked", layout.BACKEND)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.object.close()

    def write(self, backends: Mapping[int, Backend]) -> None:
        """Brings the table to these, by number; checks of any other one are dropped."""
        wanted = np.zeros(layout.BACKENDS, layout.BACKEND)
        for number, backend in backends.items():
            wanted[number] = record(backend)
        for number in np.flatnonzero(self.backends != wanted).tolist():
            self.backends[number] = wanted[number]

    def attach(self, interface: str) -> None:
        """Has the program on the way out of an interface, in the place of an earlier manager's. Raises PublishError."""
        hook = _hook(interface)
        made = bpf.library().bpf_tc_hook_create(c.byref(hook))
        if made < 0 and made != -errno.EEXIST:
            raise PublishError(os.strerror(-made), target=interface, change="make tc's hook (clsact)")
        options = TcOpts(sz=c.sizeof(TcOpts), prog_fd=self.program, flags=REPLACE, handle=HANDLE, priority=PRIORITY)
        done = bpf.library().bpf_tc_attach(c.byref(hook), c.byref(options))
        if done < 0:
            raise PublishError(os.strerror(-done), target=interface, change="attach the program of checks")


def detach(interface: str) -> bool:
    """Takes the program off; False where it is not there. Other filters, and their hook, stay. Raises PublishError."""
    hook = _hook(interface)
    options = TcOpts(sz=c.sizeof(TcOpts), handle=HANDLE, priority=PRIORITY)
    done = bpf.library().bpf_tc_detach(c.byref(hook), c.byref(options))
    if done < 0 and done not in {-errno.ENOENT, -errno.EINVAL}:
        raise PublishError(os.strerror(-done), target=interface, change="detach the program of checks")
    return bool(done == 0)


def _hook(interface: str) -> TcHook:
    return TcHook(sz=c.sizeof(TcHook), ifindex=link.index(interface), attach_point=EGRESS)
