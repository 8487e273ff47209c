"""One TCP connection of a probe, by non-blocking sockets on the running loop.

The loop's own transports and sock_connect were measured at about twice the cost per check: they resolve, build
protocol objects and schedule callbacks that a connection of two reads does not need.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket

from gtm.model.address import IPAddress
from gtm.observe.attempt import Attempt
from gtm.observe.outcome import ProbeFault, Reason

READ_BYTES = 16384

_OURS = frozenset({
    errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM,
    errno.EAFNOSUPPORT,
})  # fmt: skip
_WORDS = {
    errno.ECONNREFUSED: (Reason.REFUSED, "connection refused"),
    errno.EHOSTUNREACH: (Reason.UNREACHABLE, "no route to host"),
    errno.ENETUNREACH: (Reason.UNREACHABLE, "network unreachable"),
    errno.EHOSTDOWN: (Reason.UNREACHABLE, "host is down"),
    errno.ENETDOWN: (Reason.UNREACHABLE, "network is down"),
    errno.ETIMEDOUT: (Reason.TIMEOUT, "connection timed out in the kernel"),
    errno.ECONNRESET: (Reason.CLOSED, "connection reset"),
    errno.EPIPE: (Reason.CLOSED, "connection reset"),
    errno.ECONNABORTED: (Reason.CLOSED, "connection aborted"),
}


class Connection:
    """A connected socket; `attempt` says what is being done with it, and closes it at its end."""

    __slots__ = ("_fd", "_loop", "_sock", "_waiter", "_watched", "attempt")

    def __init__(self, attempt: Attempt, address: IPAddress) -> None:
        """Make the socket for an address. Raises ProbeFault (ours) when there is none to be had."""
        self._loop = asyncio.get_running_loop()
        self.attempt = attempt
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        try:
            self._sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            if attempt.mark:
                set_mark(self._sock, attempt.mark)
        except OSError as error:
            raise fault(error, self.attempt.doing) from error
        # By number: for a socket that it does not know yet, the selector would first make a text of it, 30 us.
        self._fd = self._sock.fileno()
        self._watched = False
        self._waiter: asyncio.Future[bytes | OSError] | None = None
        attempt.keep(self)

    async def connect(self, address: IPAddress, port: int) -> None:
        """Connect to an address; names are never resolved. Raises ProbeFault."""
        try:
            code = self._sock.connect_ex(_sockaddr(address, port))
            if code == errno.EINPROGRESS:
                await self._writable()
                code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        except OSError as error:
            raise fault(error, self.attempt.doing) from error
        if code:
            raise fault(OSError(code, os.strerror(code)), self.attempt.doing)

    async def send(self, data: bytes) -> None:
        """Send all of it. Raises ProbeFault."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._sock.send(rest) :]
            except BlockingIOError:
                await self._writable()
            except OSError as error:
                raise fault(error, self.attempt.doing) from error

    async def receive(self) -> bytes:
        """What arrives next; b"" when the other side has closed. Raises ProbeFault."""
        if not self._watched:
            self._loop.add_reader(self._fd, self._arrived)
            self._watched = True
        self._waiter = self._loop.create_future()
        try:
            data = await self._waiter
        finally:  # the deadline ends a wait by cancelling it
            self._waiter = None
        if isinstance(data, OSError):
            raise fault(data, self.attempt.doing) from data
        return data

    def offer(self, data: bytes) -> None:
        """Send what fits now, for last words that nobody may be there to hear."""
        with contextlib.suppress(OSError):
            self._sock.send(data)

    def idle(self) -> bool:
        """Whether it is open and nothing has come in that was not asked for, so that another request may follow."""
        if self._watched:  # still so since the last answer: nothing has come, and no end either
            return True
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """Close; safe at any time and more than once."""
        self._unwatch()
        self._sock.close()

    def _arrived(self) -> None:
        """Read for who waits. Where nobody does, stop looking until somebody reads: what is there stays there."""
        waiter = self._waiter
        if waiter is None or waiter.done():
            self._unwatch()
            return
        try:
            waiter.set_result(self._sock.recv(READ_BYTES))
        except BlockingIOError:
            return
        except OSError as error:
            waiter.set_result(error)

    def _unwatch(self) -> None:
        """Nothing may stay registered for a socket that is closed."""
        if self._watched:
            self._watched = False
            self._loop.remove_reader(self._fd)

    async def _writable(self) -> None:
        waiter = self._loop.create_future()
        self._loop.add_writer(self._fd, _wake, waiter)
        try:
            await waiter
        finally:
            self._loop.remove_writer(self._fd)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def set_mark(sock: socket.socket, mark: int) -> None:
    """Marks all that the socket sends, for filters and routes of this machine (CAP_NET_ADMIN). Raises OSError.

    The socket is closed where that is refused: unmarked packets would go elsewhere.
    """
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
    except OSError:
        sock.close()
        raise


def fault(error: OSError, doing: str) -> ProbeFault:
    """The fault that an operating system error amounts to, in words."""
    code = error.errno or 0
    if code in _OURS:
        return ProbeFault(Reason.OURS, f"{os.strerror(code)} while {doing}")
    reason, words = _WORDS.get(code, (Reason.UNREACHABLE, (error.strerror or str(error)).lower()))
    return ProbeFault(reason, words if doing == "connecting" else f"{words} while {doing}")


def _sockaddr(address: IPAddress, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
    if address.version == 4:
        return str(address), port
    scope = address.scope_id
    if scope is None:
        return str(address), port, 0, 0
    index = int(scope) if scope.isdigit() else socket.if_nametoindex(scope)
    return str(address).split("%", 1)[0], port, 0, index
