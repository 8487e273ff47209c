"""One probe of one target: connect, ask, judge, all before one deadline."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from typing import assert_never

from gtm.model.check import Check, HttpProbe, Target, TcpProbe
from gtm.observe import request, tls
from gtm.observe.connection import Connection
from gtm.observe.outcome import Outcome, ProbeFault, Reason
from gtm.observe.response import ResponseError, ResponseReader
from gtm.observe.stream import Stream, TlsStream

STALL_S = 0.25

Prepared = Callable[[], Awaitable[Outcome]]
_Ask = Callable[[Connection], Awaitable[str]]


def prepare(target: Target, check: Check) -> Prepared:
    """A probe of the target, ready to be run any number of times; each run returns an Outcome and raises nothing.

    All that does not change between runs is worked out here. A check that cannot be carried out gives Reason.OURS.
    """
    try:
        ask = _ask(target, check)
    except (ValueError, re.error) as error:
        return _Unfit(f"check {check.name}: {error}")
    return _Run(target, check, ask)


def _ask(target: Target, check: Check) -> _Ask:
    match check.probe:
        case HttpProbe() as probe:
            return _Http(target, check.port, probe)
        case TcpProbe():
            return _Tcp(target, check.port)
        case other:
            assert_never(other)


class _Run:
    """A probe under its deadline; the socket is closed however it ends."""

    __slots__ = ("_ask", "_family", "_timeout_s")

    def __init__(self, target: Target, check: Check, ask: _Ask) -> None:
        self._ask = ask
        self._family = socket.AF_INET if target.address.version == 4 else socket.AF_INET6
        self._timeout_s = check.cadence.timeout_s

    async def __call__(self) -> Outcome:
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        try:
            reason, words = await self._by(start_s + self._timeout_s)
        except ProbeFault as fault:
            return Outcome(reason=fault.reason, detail=fault.detail, took_s=loop.time() - start_s)
        took_s = loop.time() - start_s
        return Outcome(reason=reason, detail=f"{words} in {_milliseconds(took_s)}", took_s=took_s)

    async def _by(self, deadline_s: float) -> tuple[Reason, str]:
        connection = Connection(self._family)
        try:
            async with asyncio.timeout_at(deadline_s):
                return Reason.OK, await self._ask(connection)
        except TimeoutError as error:
            late_s = asyncio.get_running_loop().time() - deadline_s
            if late_s > STALL_S:  # the answer may have been there; we were not
                raise ProbeFault(Reason.OURS, f"this process stalled for {late_s:.1f} s") from error
            words = f"timeout after {self._timeout_s:g} s while {connection.doing}"
            raise ProbeFault(Reason.TIMEOUT, words) from error
        finally:
            connection.close()


class _Unfit:
    """A check that cannot be carried out; the deployment's checks let none through."""

    __slots__ = ("_words",)

    def __init__(self, words: str) -> None:
        self._words = words

    async def __call__(self) -> Outcome:
        return Outcome(reason=Reason.OURS, detail=self._words, took_s=0.0)


class _Tcp:
    """A connection that must be accepted."""

    __slots__ = ("_port", "_target")

    def __init__(self, target: Target, port: int) -> None:
        self._target = target
        self._port = port

    async def __call__(self, connection: Connection) -> str:
        await connection.connect(self._target.address, self._port)
        return "connected"


class _Http:
    """A request and the judging of what comes back. Redirects are not followed: the status ranges decide."""

    __slots__ = ("_name", "_pattern", "_port", "_probe", "_request", "_target")

    def __init__(self, target: Target, port: int, probe: HttpProbe) -> None:
        self._target = target
        self._port = port
        self._probe = probe
        self._request = request.render(probe, target, port)
        self._name = request.server_name(probe, target)
        self._pattern = None if probe.body is None else re.compile(probe.body)

    async def __call__(self, connection: Connection) -> str:
        await connection.connect(self._target.address, self._port)
        stream = await self._stream(connection)
        reader = ResponseReader(head_only=self._probe.method == "HEAD")
        connection.doing = "sending the request"
        await stream.send(self._request)
        await self._read(connection, stream, reader)
        if self._pattern is not None and not self._pattern.search(reader.body.decode("utf-8", "replace")):
            raise ProbeFault(Reason.BODY, "body did not match")
        return str(reader.status)

    async def _read(self, connection: Connection, stream: Stream, reader: ResponseReader) -> None:
        """Read as far as the verdict needs: the headers, and the body only where it is to match."""
        while not reader.done and (self._pattern is not None or not reader.head_done):
            connection.doing = reader.phase.value
            _take(reader, await stream.receive())
            if reader.head_done and not any(low <= reader.status <= high for low, high in self._probe.statuses):
                raise ProbeFault(Reason.STATUS, f"status {reader.status}")

    async def _stream(self, connection: Connection) -> Stream:
        if self._probe.tls is None:
            return connection
        ca_file = self._probe.tls.ca_file
        stream = TlsStream(connection, tls.context(ca_file), self._name)
        try:
            await stream.handshake()
        except tls.WrongTime as wrong:
            raise ProbeFault(Reason.TLS, await self._dates(connection.family, ca_file, str(wrong))) from wrong
        return stream

    async def _dates(self, family: int, ca_file: str | None, words: str) -> str:
        """What is wrong with the certificate's dates: a second connection looks, as ssl only shows what it accepted."""
        again = Connection(family)
        try:
            await again.connect(self._target.address, self._port)
            stream = TlsStream(again, tls.context(ca_file, ignore_time=True), self._name)
            await stream.handshake()
            return tls.date_words(*stream.channel.dates())
        except ProbeFault:
            return words
        finally:
            again.close()


def _take(reader: ResponseReader, data: bytes) -> None:
    try:
        if data:
            reader.feed(data)
        else:
            reader.eof()
    except ResponseError as error:
        raise ProbeFault(Reason.PROTOCOL if data else Reason.CLOSED, str(error)) from error


def _milliseconds(took_s: float) -> str:
    return f"{took_s * 1000:.0f} ms" if took_s >= 0.001 else "under 1 ms"
