"""One probe of one target: connect, ask, judge, all before one deadline."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

from gtm.model.check import Check, HttpProbe, HttpVersion, Target, TcpProbe
from gtm.observe import kinds, request, tls
from gtm.observe.attempt import Ask, Attempt
from gtm.observe.connection import Connection
from gtm.observe.outcome import Outcome, ProbeFault, Reason
from gtm.observe.response import ResponseError, ResponseReader
from gtm.observe.stream import Stream, TlsStream

STALL_S = 0.25

Prepared = Callable[[], Awaitable[Outcome]]


def prepare(target: Target, check: Check) -> Prepared:
    """A probe of the target, ready to be run any number of times; each run returns an Outcome and raises nothing.

    All that does not change between runs is worked out here. A check that cannot be carried out gives Reason.OURS.
    """
    try:
        ask = _ask(target, check)
    except (ValueError, re.error) as error:
        return _Unfit(f"check {check.name}: {error}")
    return _Run(check, ask)


def _ask(target: Target, check: Check) -> Ask:
    match check.probe:
        case HttpProbe(version=HttpVersion.HTTP_1_1) as probe:
            return _Http(target, probe)
        case TcpProbe() as probe:
            return _Tcp(target, probe.port)
        case _:
            return kinds.ask(target, check)


class _Run:
    """A probe under its deadline; the socket is closed however it ends."""

    __slots__ = ("_ask", "_timeout_s")

    def __init__(self, check: Check, ask: Ask) -> None:
        self._ask = ask
        self._timeout_s = check.cadence.timeout_s

    async def __call__(self) -> Outcome:
        loop = asyncio.get_running_loop()
        attempt = Attempt(loop.time() + self._timeout_s)
        try:
            words = await self._by(attempt)
        except ProbeFault as fault:
            took_s = loop.time() - attempt.start_s
            return Outcome(reason=fault.reason, detail=fault.detail, took_s=took_s, phases=attempt.phases)
        took_s = loop.time() - attempt.start_s
        detail = f"{words} in {_milliseconds(took_s)}"
        return Outcome(reason=Reason.OK, detail=detail, took_s=took_s, poor=attempt.poor, phases=attempt.phases)

    async def _by(self, attempt: Attempt) -> str:
        try:
            async with asyncio.timeout_at(attempt.deadline_s) as attempt.limit:
                return await self._ask(attempt)
        except TimeoutError as error:
            late_s = asyncio.get_running_loop().time() - attempt.deadline_s
            if late_s > STALL_S:  # the answer may have been there; we were not
                raise ProbeFault(Reason.OURS, f"this process stalled for {late_s:.1f} s") from error
            words = f"timeout after {self._timeout_s:g} s while {attempt.doing}"
            raise ProbeFault(Reason.TIMEOUT, words) from error
        finally:
            attempt.close()


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

    async def __call__(self, attempt: Attempt) -> str:
        await Connection(attempt, self._target.address).connect(self._target.address, self._port)
        attempt.connect_s = attempt.lap_s()
        return "connected"


class _Http:
    """A request and the judging of what comes back. Redirects are not followed: the status ranges decide."""

    __slots__ = ("_name", "_pattern", "_port", "_probe", "_request", "_target")

    def __init__(self, target: Target, probe: HttpProbe) -> None:
        self._target = target
        self._port = probe.port
        self._probe = probe
        self._request = request.render(probe, target)
        self._name = request.server_name(probe, target)
        self._pattern = None if probe.body is None else re.compile(probe.body)

    async def __call__(self, attempt: Attempt) -> str:
        connection = Connection(attempt, self._target.address)
        await connection.connect(self._target.address, self._port)
        attempt.connect_s = attempt.lap_s()
        stream = await self._stream(connection)
        reader = ResponseReader(head_only=self._probe.method == "HEAD")
        attempt.doing = "sending the request"
        await stream.send(self._request)
        await self._read(attempt, stream, reader)
        if self._pattern is not None and not self._pattern.search(reader.body.decode("utf-8", "replace")):
            raise ProbeFault(Reason.BODY, "body did not match")
        return str(reader.status)

    async def _read(self, attempt: Attempt, stream: Stream, reader: ResponseReader) -> None:
        """Read as far as the verdict needs: the headers, and the body only where it is to match."""
        while not reader.done and (self._pattern is not None or not reader.head_done):
            attempt.doing = reader.phase.value
            _take(reader, await stream.receive())
            if attempt.first_byte_s is None:
                attempt.first_byte_s = attempt.lap_s()
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
            raise ProbeFault(Reason.TLS, await self._dates(connection.attempt, ca_file, str(wrong))) from wrong
        connection.attempt.tls_s = connection.attempt.lap_s()
        return stream

    async def _dates(self, attempt: Attempt, ca_file: str | None, words: str) -> str:
        """What is wrong with the certificate's dates: a second connection looks, as ssl only shows what it accepted."""
        again = Connection(attempt, self._target.address)
        try:
            await again.connect(self._target.address, self._port)
            stream = TlsStream(again, tls.context(ca_file, ignore_time=True), self._name)
            await stream.handshake()
            return tls.date_words(*stream.channel.dates())
        except ProbeFault:
            return words


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
