"""TLS over a probe's connection."""

from __future__ import annotations

import ssl
from typing import Protocol

from gtm.observe.connection import READ_BYTES, Connection
from gtm.observe.outcome import ProbeFault
from gtm.observe.tls import TlsChannel, WrongTime


class Stream(Protocol):
    """What a request is sent over: a plain Connection or a TlsStream. Both methods raise ProbeFault."""

    async def send(self, data: bytes) -> None:
        """Send all of it."""

    async def receive(self) -> bytes:
        """What arrives next; b"" at the end."""


class TlsStream:
    """A Stream of one TLS connection, over a Connection that is connected."""

    __slots__ = ("_connection", "channel")

    def __init__(self, connection: Connection, context: ssl.SSLContext, name: str) -> None:
        self._connection = connection
        self.channel = TlsChannel(context, name)

    async def handshake(self) -> None:
        """Complete the handshake. Raises ProbeFault, and WrongTime for a certificate out of its dates."""
        self._connection.attempt.doing = "in the TLS handshake"
        while not self._step():
            await self._flush()
            self.channel.feed(await self._connection.receive())
        await self._flush()

    def _step(self) -> bool:
        try:
            return self.channel.handshake()
        except (ProbeFault, WrongTime):
            self._connection.offer(self.channel.outgoing())  # the alert that tells the other side why
            raise

    async def send(self, data: bytes) -> None:
        """Send all of it."""
        self.channel.write(data)
        await self._flush()

    async def receive(self) -> bytes:
        """What was said next; b"" at the end."""
        while (data := self.channel.read(READ_BYTES)) is None:
            await self._flush()
            self.channel.feed(await self._connection.receive())
        return data

    async def _flush(self) -> None:
        if pending := self.channel.outgoing():
            await self._connection.send(pending)
