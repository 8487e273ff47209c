"""The round-trip time of a TCP handshake, as the kernel measured it.

Not the time that `connect` took: that also has what this process waited for its turn in the event loop, and a second
or more where the SYN had to be sent again. The kernel's own measure (TCP_INFO) has neither.
"""

from __future__ import annotations

import asyncio
import errno
import resource
import socket

from gtm.model.address import IPAddress
from gtm.observe.ping import Done
from gtm.observe.rtt import tcpinfo

OPEN_MAX = 512


class Handshakes:
    """TCP handshakes from one event loop. Connections are closed as soon as they stand; no octet is sent on them."""

    def __init__(self) -> None:
        """Nothing opened."""
        self._loop = asyncio.get_running_loop()
        self._open_max = open_max()
        self._open: dict[socket.socket, tuple[asyncio.TimerHandle, Done]] = {}

    def send(self, address: IPAddress, port: int, timeout_s: float, done: Done) -> None:
        """Connect once; `done` is called once, later: with None if refused, not in time, or not at the first try.

        Raises OSError if there is no way to the address, or too many connections are under way.
        """
        if len(self._open) >= self._open_max:
            raise OSError(errno.EMFILE, "too many handshakes under way for the limit on open files")
        sock = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.settimeout(0)
            code = sock.connect_ex((str(address), port))
            if code not in {0, errno.EINPROGRESS}:
                raise OSError(code, "cannot connect")
        except OSError:
            sock.close()
            raise
        alarm = self._loop.call_later(timeout_s, self._end, sock)
        self._open[sock] = (alarm, done)
        self._loop.add_writer(sock, self._connected, sock)

    def close(self) -> None:
        """Close all connections; who still waits is told that nothing came."""
        for sock in list(self._open):
            self._end(sock)

    def _connected(self, sock: socket.socket) -> None:
        rtt_s = None
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
            rtt_s = tcpinfo.clean_s(tcpinfo.of(sock))
        self._end(sock, rtt_s)

    def _end(self, sock: socket.socket, rtt_s: float | None = None) -> None:
        alarm, done = self._open.pop(sock)
        alarm.cancel()
        self._loop.remove_writer(sock)
        sock.close()
        done(rtt_s)


def open_max() -> int:
    """How many connections may be under way: OPEN_MAX, or a small part of the limit on open files; checks need most."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return OPEN_MAX if soft == resource.RLIM_INFINITY else max(1, min(OPEN_MAX, soft // 10))
