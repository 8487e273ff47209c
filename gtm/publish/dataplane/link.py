"""The XDP program on an interface: attached by a pinned bpf_link, which holds it when its manager is gone.

Another program takes its place by one update of the link: packets meet the old one or the new one, never none.
"""

from __future__ import annotations

import ctypes as c
import errno
import os
import socket
import struct
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from gtm.model.errors import PublishError
from gtm.publish.dataplane import bpf

XDP_FLAGS = {"generic": 1 << 1, "native": 1 << 2}
ATTACHED = {0: None, 1: "native", 2: "generic", 3: "offloaded", 4: "several"}  # enum of IFLA_XDP_ATTACHED


class LinkCreateOpts(c.Structure):
    """struct bpf_link_create_opts, as far as XDP needs it."""

    _fields_ = (
        ("sz", c.c_size_t),
        ("flags", c.c_uint32),
        ("iter_info", c.c_void_p),
        ("iter_info_len", c.c_uint32),
        ("target_btf_id", c.c_uint32),
    )


class XdpQueryOpts(c.Structure):
    """struct bpf_xdp_query_opts, as far as libbpf 1.0 has it."""

    _fields_ = (
        ("sz", c.c_size_t),
        ("prog_id", c.c_uint32),
        ("drv_prog_id", c.c_uint32),
        ("hw_prog_id", c.c_uint32),
        ("skb_prog_id", c.c_uint32),
        ("attach_mode", c.c_uint8),
        ("padding", c.c_uint8 * 7),
    )


class Outcome(StrEnum):
    """What attaching came to."""

    ATTACHED = "attached"
    UPDATED = "updated"  # the program was replaced in place
    MOVED = "moved"  # taken off and put on in another mode, or on an interface that was made anew


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """What is on an interface: the id of its XDP program and how it runs; both None where there is none."""

    program: int | None
    mode: str | None


def hook(interface: str) -> Hook:
    """What is on an interface now. Raises PublishError where there is no such interface."""
    options = XdpQueryOpts(sz=c.sizeof(XdpQueryOpts))
    number = index(interface)
    _told(bpf.library().bpf_xdp_query(number, 0, c.byref(options)), interface, "look")
    mode = ATTACHED.get(options.attach_mode, "unknown")
    program = {"native": options.drv_prog_id, "generic": options.skb_prog_id}.get(mode or "", options.prog_id)
    return Hook(program=program or None, mode=mode)


def attach(program_fd: int, *, interface: str, mode: str, pin: Path, move: bool = False) -> Outcome:
    """Has the program on the interface in the mode, "native" or "generic", by the link that is pinned at `pin`.

    Another mode, and so a moment without a program, is only taken with `move`. Raises PublishError where another's
    program is there, where the driver cannot do it, or where the mode is another.
    """
    number = index(interface)
    with _Descriptor(bpf.pinned(pin)) as fd:
        if fd is None:
            _create(program_fd, interface=interface, number=number, mode=mode, pin=pin)
            return Outcome.ATTACHED
        there = _index_of(fd)
        now = hook(interface).mode if there == number else None
        if there == number and now == mode:
            _told(bpf.library().bpf_link_update(fd, program_fd, None), interface, "update the link")
            return Outcome.UPDATED
        if there == number and not move:
            message = f"runs in {now} mode; another one takes it off for a moment (--replace)"
            raise PublishError(message, target=interface, change=f"attach in {mode} mode")
        _let_go(fd, pin)
    _create(program_fd, interface=interface, number=number, mode=mode, pin=pin)
    return Outcome.MOVED


def detach(pin: Path) -> bool:
    """Takes the program off and removes the pin; False where there is none."""
    with _Descriptor(bpf.pinned(pin)) as fd:
        if fd is None:
            return False
        _let_go(fd, pin)
    return True


def program_of(pin: Path) -> int | None:
    """The id of the program that a pinned link has on its interface; None where there is no such link."""
    with _Descriptor(bpf.pinned(pin)) as fd:
        return None if fd is None else int(struct.unpack_from("=III", bpf.info(fd))[2])


def index(interface: str) -> int:
    """The number of an interface in this network namespace. Raises PublishError."""
    try:
        return socket.if_nametoindex(interface)
    except OSError as error:
        raise PublishError("there is no such interface", target=interface, change="attach") from error


class _Descriptor:
    """A descriptor that is closed at the end; or none."""

    def __init__(self, fd: int | None) -> None:
        self._fd = fd

    def __enter__(self) -> int | None:
        return self._fd

    def __exit__(self, *_: object) -> None:
        if self._fd is not None:
            os.close(self._fd)


def _index_of(link_fd: int) -> int:
    """The interface of a link; 0 where that is gone (struct bpf_link_info: its union begins at 16)."""
    return int(struct.unpack_from("=I", bpf.info(link_fd), 16)[0])


def _create(program_fd: int, *, interface: str, number: int, mode: str, pin: Path) -> None:
    options = LinkCreateOpts(sz=c.sizeof(LinkCreateOpts), flags=XDP_FLAGS[mode])
    made = bpf.library().bpf_link_create(program_fd, number, bpf.XDP, c.byref(options))
    with _Descriptor(_told(made, interface, f"attach in {mode} mode")) as fd:
        assert fd is not None
        pin.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        bpf.pin(fd, pin)


def _let_go(link_fd: int, pin: Path) -> None:
    _told(bpf.library().bpf_link_detach(link_fd), str(pin), "detach")
    pin.unlink()


def _told(result: int, target: str, change: str) -> int:
    """`result` if it is not negative; else PublishError in words that help."""
    if result >= 0:
        return result
    code = c.get_errno() or -result
    reason = {
        errno.EBUSY: "another XDP program is attached to it (ip link set dev IFACE xdp off)",
        errno.EEXIST: "an XDP program is attached to it in another mode",
        errno.EOPNOTSUPP: "its driver has no native XDP, or not with this MTU or with LRO on (gtm balance doctor)",
        errno.ERANGE: "its MTU is too large for native XDP with this driver or its peer (gtm balance doctor)",
        errno.EINVAL: "the kernel refuses it (native XDP: MTU, LRO or the number of queues; gtm balance doctor)",
        errno.EPERM: "not permitted (CAP_NET_ADMIN and CAP_BPF)",
    }.get(code, os.strerror(code))
    raise PublishError(reason, target=target, change=change)
