"""When a datagram arrived, by the kernel's own stamp: how long it then waited for us does not count as its way."""

from __future__ import annotations

import socket
import struct
import time
from contextlib import suppress
from typing import Any

# socket(7); the socket module has no name for it. The stamp is a struct timespec, of the realtime clock.
_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("@ll")
_ROOM = socket.CMSG_SPACE(_TIMESPEC.size)


def stamped(sock: socket.socket) -> None:
    """Ask the kernel to stamp what arrives at a socket; one that does not know how leaves it unstamped."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)


def receive(sock: socket.socket, size: int) -> tuple[bytes, Any, float]:
    """(data, source as the socket module has it, seconds that it waited to be read). Raises OSError."""
    data, ancillary, _, source = sock.recvmsg(size, _ROOM)
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS and len(value) == _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack(value)
            return data, source, (time.time_ns() - seconds * 1_000_000_000 - nanoseconds) / 1e9
    return data, source, 0.0


def way_s(sent_s: float, read_s: float, waited_s: float) -> float:
    """The time from sending to arrival, by a monotonic clock; a wait that cannot be (the clock was set) is left out."""
    elapsed_s = read_s - sent_s
    return elapsed_s - waited_s if 0 < waited_s < elapsed_s else elapsed_s
