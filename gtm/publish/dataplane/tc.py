"""A program on what comes in by an interface, in tc's clsact: behind XDP, where GRO has put packets together.

A filter holds its program without a pin. The clsact itself stays when a filter goes: others may have theirs in it.
"""

from __future__ import annotations

import ctypes as c
import errno
import os

from gtm.model.errors import PublishError
from gtm.publish.dataplane import bpf
from gtm.publish.dataplane.link import index

INGRESS = 1  # enum bpf_tc_attach_point
REPLACE = 1  # BPF_TC_F_REPLACE
HANDLE, PRIORITY = 0x67746D, 1  # how our filter is known again


class Hook(c.Structure):
    """struct bpf_tc_hook."""

    _fields_ = (("sz", c.c_size_t), ("ifindex", c.c_int), ("attach_point", c.c_int), ("parent", c.c_uint32))


class Options(c.Structure):
    """struct bpf_tc_opts."""

    _fields_ = (
        ("sz", c.c_size_t),
        ("prog_fd", c.c_int),
        ("flags", c.c_uint32),
        ("prog_id", c.c_uint32),
        ("handle", c.c_uint32),
        ("priority", c.c_uint32),
    )


def attach(program_fd: int, interface: str) -> bool:
    """Has the program on what comes in, at once in the place of an older one; whether there was one."""
    hook, before = _hook(interface), program(interface)
    _told(bpf.library().bpf_tc_hook_create(c.byref(hook)), interface, "make a clsact", but=errno.EEXIST)
    options = _options(prog_fd=program_fd, flags=REPLACE if before is not None else 0)
    _told(bpf.library().bpf_tc_attach(c.byref(hook), c.byref(options)), interface, "attach by tc")
    return before is not None


def detach(interface: str) -> bool:
    """Takes our program off; False where there is none."""
    if program(interface) is None:
        return False
    hook, options = _hook(interface), _options()
    _told(bpf.library().bpf_tc_detach(c.byref(hook), c.byref(options)), interface, "detach from tc")
    return True


def program(interface: str) -> int | None:
    """The id of our program on what comes in by an interface; None where there is none. Raises PublishError."""
    hook, options = _hook(interface), _options()
    result = bpf.library().bpf_tc_query(c.byref(hook), c.byref(options))
    if result < 0 and (c.get_errno() or -result) in {errno.ENOENT, errno.EINVAL}:  # no filter; no clsact
        return None
    _told(result, interface, "look at tc")
    return int(options.prog_id)


def _hook(interface: str) -> Hook:
    return Hook(sz=c.sizeof(Hook), ifindex=index(interface), attach_point=INGRESS)


def _options(*, prog_fd: int = 0, flags: int = 0) -> Options:
    return Options(sz=c.sizeof(Options), prog_fd=prog_fd, flags=flags, handle=HANDLE, priority=PRIORITY)


def _told(result: int, target: str, change: str, *, but: int = 0) -> None:
    """Raises PublishError for an error, unless it is `but`."""
    code = (c.get_errno() or -result) if result < 0 else 0
    if code in {0, but}:
        return
    reason = "not permitted (CAP_NET_ADMIN and CAP_BPF)" if code == errno.EPERM else os.strerror(code)
    raise PublishError(reason, target=target, change=change)
