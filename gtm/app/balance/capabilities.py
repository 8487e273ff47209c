"""Rights given up once programs are loaded and attached.

What is left: CAP_BPF, for a new table is a new map; CAP_NET_RAW, for checks by ICMP; and CAP_NET_ADMIN only where
checks go through the VIP, since they mark their packets. Loading, attaching, mounting and reading others' files are
over. This concerns the calling thread and those that it starts, so it is done before there are any.
"""

from __future__ import annotations

import ctypes as c
import errno
import os
from collections.abc import Set as AbstractSet
from enum import IntEnum
from pathlib import Path

from gtm.model.errors import GtmError

PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP, PR_CAP_AMBIENT, CLEAR_ALL = 38, 24, 47, 4
VERSION_3 = 0x20080522
LAST = Path("/proc/sys/kernel/cap_last_cap")


class Capability(IntEnum):
    """Those of linux/capability.h that matter here."""

    NET_ADMIN = 12
    NET_RAW = 13
    SYS_ADMIN = 21
    PERFMON = 38
    BPF = 39


class _Header(c.Structure):
    _fields_ = (("version", c.c_uint32), ("pid", c.c_int))


class _Sets(c.Structure):
    """Of 32 capabilities each: effective, permitted, inheritable (capget(2), version 3 has two of these)."""

    _fields_ = (("effective", c.c_uint32), ("permitted", c.c_uint32), ("inheritable", c.c_uint32))


_libc = c.CDLL(None, use_errno=True)
_libc.prctl.argtypes = (c.c_int, c.c_ulong, c.c_ulong, c.c_ulong, c.c_ulong)


def effective() -> frozenset[int]:
    """The capabilities of this thread."""
    return _numbers([each.effective for each in _get()])


def kept(*, marks: bool) -> frozenset[Capability]:
    """What a manager needs after loading; `marks`: its checks go through the VIP."""
    return frozenset({Capability.BPF, Capability.NET_RAW} | ({Capability.NET_ADMIN} if marks else set()))


def drop(keep: AbstractSet[int]) -> frozenset[int]:
    """Give up all but these for good, whatever is executed later; those that are left. Raises GtmError."""
    have = _get()
    limit = int(LAST.read_text()) + 1
    for number in range(limit):
        if number not in keep and _libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0) and c.get_errno() != errno.EPERM:
            raise GtmError(f"capability {number}: {os.strerror(c.get_errno())}")
    _libc.prctl(PR_CAP_AMBIENT, CLEAR_ALL, 0, 0, 0)
    if _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise GtmError(f"no_new_privs: {os.strerror(c.get_errno())}")
    for half, each in enumerate(have):
        mask = sum(1 << number - 32 * half for number in keep if number // 32 == half)
        each.effective = each.permitted = each.permitted & mask
        each.inheritable = 0
    header = _Header(version=VERSION_3, pid=0)
    if _libc.capset(c.byref(header), have):
        raise GtmError(f"capset: {os.strerror(c.get_errno())}")
    return effective()


def _get() -> c.Array[_Sets]:
    header, sets = _Header(version=VERSION_3, pid=0), (_Sets * 2)()
    if _libc.capget(c.byref(header), sets):
        raise GtmError(f"capget: {os.strerror(c.get_errno())}")
    return sets


def _numbers(masks: list[int]) -> frozenset[int]:
    return frozenset(32 * half + bit for half, mask in enumerate(masks) for bit in range(32) if mask >> bit & 1)
