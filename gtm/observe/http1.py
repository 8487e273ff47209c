"""An HTTP/1.1 request (RFC 9112), plain or over TLS, on a new connection or one kept from the probe before."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass

from gtm.model.check import HttpProbe, Target
from gtm.observe import files, request, tls
from gtm.observe.attempt import Attempt
from gtm.observe.connection import Connection
from gtm.observe.outcome import ProbeFault, Reason
from gtm.observe.response import ResponseError, ResponseReader
from gtm.observe.secured import HTTP_1_1, secured
from gtm.observe.stream import Stream, TlsStream
from gtm.observe.verdict import Verdict

KEPT_MAX_S = 600.0  # then a new one shows whether the target still accepts connections, and with which certificate
LEFTOVER_S = 0.25  # how long the rest of an answer is waited for that nobody wants, so as to keep its connection
REQUEST_TIMEOUT = 408

_GONE = frozenset({Reason.CLOSED, Reason.TLS, Reason.UNREACHABLE})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    connection: Connection
    stream: Stream
    context: ssl.SSLContext | None
    end: str
    since_s: float


class Http1Ask:
    """A request and the judging of what comes back. Redirects are not followed: the status ranges decide.

    A kept connection that turns out to be closed says nothing of the target: a new one is tried in the same run.
    """

    __slots__ = ("_kept", "_name", "_probe", "_request", "_target", "_verdict")

    def __init__(self, target: Target, probe: HttpProbe) -> None:
        self._target = target
        self._probe = probe
        self._request = request.render(probe, target)
        self._name = request.server_name(probe, target)
        self._verdict = Verdict(probe)
        self._kept: _Kept | None = None

    def close(self) -> None:
        """Close the connection that is kept for the next run, if there is one."""
        kept, self._kept = self._kept, None
        files.KEPT.discard(self)
        if kept is not None:
            kept.connection.close()

    async def __call__(self, attempt: Attempt) -> str:
        """The status. Raises ProbeFault."""
        reader = self._reader()
        if self._kept is not None and (kept := self._taken(self._kept, attempt)) is not None:
            attempt.unheard = True
            try:
                return await self._over(kept, attempt, reader)
            except ProbeFault as fault:
                if not (reader.status == REQUEST_TIMEOUT or (fault.reason in _GONE and not reader.head_done)):
                    raise
            kept.connection.close()
            attempt.unheard = False
            attempt.doing = "connecting"
            attempt.first_byte_s = attempt.poor = None
            attempt.lap_s()
            reader = self._reader()
        return await self._over(await self._opened(attempt), attempt, reader)

    def _reader(self) -> ResponseReader:
        return ResponseReader(head_only=self._probe.method == "HEAD")

    def _taken(self, kept: _Kept, attempt: Attempt) -> _Kept | None:
        """What was kept, now the attempt's to close; None if it is no longer fit, and closed."""
        settings = self._probe.tls
        self._kept = None
        files.KEPT.discard(self)
        kept.connection.attempt = attempt
        attempt.keep(kept.connection)
        fit = kept.connection.idle() and attempt.start_s - kept.since_s < KEPT_MAX_S
        if fit and settings is not None and isinstance(kept.stream, TlsStream):
            # A new handshake finds the words for a certificate that has ended, and trusts what the CA file says now.
            fit = (
                tls.ends_within(kept.end, 0.0) is None and tls.context(settings.ca_file, alpn=HTTP_1_1) is kept.context
            )
            if fit and settings.expires_s is not None:
                attempt.poor = tls.ends_within(kept.end, settings.expires_s)
        if fit:
            return kept
        kept.connection.close()
        return None

    async def _opened(self, attempt: Attempt) -> _Kept:
        address, port, settings = self._target.address, self._probe.port, self._probe.tls
        connection = Connection(attempt, address)
        await connection.connect(address, port)
        attempt.connect_s = attempt.lap_s()
        since_s = attempt.start_s
        if settings is None:
            return _Kept(connection=connection, stream=connection, context=None, end="", since_s=since_s)
        context = tls.context(settings.ca_file, alpn=HTTP_1_1)
        stream = await secured(connection, address, port, settings=settings, name=self._name)
        end = stream.channel.dates()[1] if self._probe.reuse else ""
        return _Kept(connection=connection, stream=stream, context=context, end=end, since_s=since_s)

    async def _over(self, kept: _Kept, attempt: Attempt, reader: ResponseReader) -> str:
        attempt.doing = "sending the request"
        await kept.stream.send(self._request)
        while not reader.head_done:
            await _advance(attempt, kept.stream, reader)
        if self._verdict.wants_body(attempt, reader.status):
            while not reader.done:
                await _advance(attempt, kept.stream, reader)
            self._verdict.body(attempt, reader.body)
        if self._probe.reuse:
            await self._keep(kept, attempt, reader)
        return str(reader.status)

    async def _keep(self, kept: _Kept, attempt: Attempt, reader: ResponseReader) -> None:
        """Keep the connection for the next run if its answer ends well, and soon; the verdict stands anyway."""
        if not reader.done:
            now_s = asyncio.get_running_loop().time()
            try:
                async with asyncio.timeout_at(min(now_s + LEFTOVER_S, (now_s + attempt.deadline_s) / 2)):
                    while not reader.done:
                        await _advance(attempt, kept.stream, reader)
            except (TimeoutError, ProbeFault):
                return
        if reader.reusable and files.may_keep():
            attempt.let_go(kept.connection)
            self._kept = kept
            files.KEPT.add(self)


async def _advance(attempt: Attempt, stream: Stream, reader: ResponseReader) -> None:
    attempt.doing = reader.phase.value
    data = await stream.receive()
    attempt.unheard = attempt.unheard and not data
    try:
        if data:
            reader.feed(data)
        else:
            reader.eof()
    except ResponseError as error:
        raise ProbeFault(Reason.PROTOCOL if data else Reason.CLOSED, str(error)) from error
    if attempt.first_byte_s is None:
        attempt.first_byte_s = attempt.lap_s()
