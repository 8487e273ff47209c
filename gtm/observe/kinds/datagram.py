"""Datagrams between a probe and its target, by a connected socket: the kernel drops what comes from anybody else."""

from __future__ import annotations

import asyncio
import errno
import socket

from gtm.model.address import IPAddress
from gtm.observe.attempt import Attempt
from gtm.observe.connection import fault, set_mark
from gtm.observe.outcome import ProbeFault, Reason

DATAGRAM_MAX_BYTES = 65535


class Datagrams:
    """A socket for datagrams to and from one address, closed by its attempt.

    ICMP errors about what was sent come back as faults, since the socket is connected.
    """

    __slots__ = ("_attempt", "_fd", "_loop", "_sock")

    def __init__(self, attempt: Attempt, sock: socket.socket) -> None:
        """Take a socket over; it is made non-blocking."""
        self._loop = asyncio.get_running_loop()
        self._attempt = attempt
        self._sock = sock
        self._fd = sock.fileno()  # by number: the selector makes a text of sockets that it does not know
        attempt.keep(sock)
        sock.settimeout(0)

    @classmethod
    def udp(cls, attempt: Attempt, address: IPAddress) -> Datagrams:
        """UDP from a port that the kernel picks at random. Raises ProbeFault (ours) if there is no socket to be had."""
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        try:
            sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            if attempt.mark:
                set_mark(sock, attempt.mark)
            return cls(attempt, sock)
        except OSError as error:
            raise fault(error, attempt.doing) from error

    def connect(self, address: IPAddress, port: int) -> None:
        """Fix the other side. Raises ProbeFault."""
        try:
            self._sock.connect((str(address), port))
        except OSError as error:
            raise fault(error, self._attempt.doing) from error

    async def send(self, data: bytes) -> None:
        """Send one datagram. Raises ProbeFault."""
        while True:
            try:
                self._sock.send(data)
            except BlockingIOError:
                await self._writable()
            except OSError as error:
                raise self._fault(error) from error
            else:
                return

    async def receive(self) -> bytes:
        """The next datagram, which may be empty. Raises ProbeFault."""
        while True:
            await self._readable()
            try:
                return self._sock.recv(DATAGRAM_MAX_BYTES)
            except BlockingIOError:
                continue
            except OSError as error:
                raise self._fault(error) from error

    async def _readable(self) -> None:
        waiter = self._loop.create_future()
        self._loop.add_reader(self._fd, _wake, waiter)
        try:
            await waiter
        finally:
            self._loop.remove_reader(self._fd)

    async def _writable(self) -> None:
        waiter = self._loop.create_future()
        self._loop.add_writer(self._fd, _wake, waiter)
        try:
            await waiter
        finally:
            self._loop.remove_writer(self._fd)

    def _fault(self, error: OSError) -> ProbeFault:
        match error.errno:
            case errno.ECONNREFUSED:  # ICMP port unreachable (RFC 1122 4.1.3.3)
                return ProbeFault(Reason.REFUSED, "refused: nobody listens on the port")
            case errno.EMSGSIZE:
                return ProbeFault(Reason.OURS, "what is to be sent is longer than a datagram can be")
            case _:
                return fault(error, self._attempt.doing)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
