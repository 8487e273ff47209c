"""An HTTP/2 request (RFC 9113), by ALPN over TLS or by prior knowledge; judged as one of HTTP/1.1 is."""

from __future__ import annotations

import ssl

from gtm.model.address import IPAddress
from gtm.model.check import HttpProbe, Target, Tls
from gtm.observe import files, request, tls
from gtm.observe.attempt import Attempt
from gtm.observe.connection import Connection
from gtm.observe.http1 import KEPT_MAX_S
from gtm.observe.kinds.session import Session
from gtm.observe.outcome import ProbeFault, Reason
from gtm.observe.secured import HTTP_2, secured
from gtm.observe.verdict import Verdict

_OF_HTTP_1 = frozenset({"host", "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"})


class Http2Ask:
    """Asks as far as the verdict needs; with `reuse` to the end of the answer, and again on the same connection.

    Raises ValueError for what cannot be sent.
    """

    __slots__ = ("_context", "_headers", "_kept", "_name", "_probe", "_since_s", "_target", "_verdict")

    def __init__(self, target: Target, probe: HttpProbe) -> None:
        self._target = target
        self._probe = probe
        self._verdict = Verdict(probe)
        self._kept: Session | None = None
        self._context: ssl.SSLContext | None = None
        self._since_s = 0.0
        self._name = request.server_name(probe, target)
        fields = [(name.lower(), value) for name, value in request.fields(probe, target)]
        self._headers = (
            (":method", probe.method),
            (":scheme", "http" if probe.tls is None else "https"),
            (":authority", dict(fields)["host"]),
            (":path", probe.path),
            *(field for field in fields if field[0] not in _OF_HTTP_1),
        )

    async def __call__(self, attempt: Attempt) -> str:
        """The status. Raises ProbeFault."""
        if self._kept is not None and not self._fit(self._kept, attempt):
            self.close()
        session, self._kept = self._kept, None
        if session is not None:
            files.KEPT.discard(self)
            session.renew(attempt)
            attempt.unheard = True
            if self._probe.tls is not None and self._probe.tls.expires_s is not None:
                session.note_certificate(self._probe.tls.expires_s)
            try:
                return await self._over(session, attempt)
            except ProbeFault as fault:
                if fault.reason is not Reason.CLOSED or session.status:
                    raise
            attempt.unheard = False
            attempt.doing = "connecting"  # the server was tired of the old connection: that says nothing of its health
        return await self._over(await self._opened(attempt), attempt)

    def close(self) -> None:
        """Close the connection that is kept for the next run, if there is one."""
        session, self._kept = self._kept, None
        files.KEPT.discard(self)
        if session is not None:
            session.close()

    def _fit(self, session: Session, attempt: Attempt) -> bool:
        """Whether a new connection would be trusted too, and what was kept is not so old that one should be tried."""
        if attempt.start_s - self._since_s >= KEPT_MAX_S:
            return False
        settings = self._probe.tls
        return settings is None or (self._trusting() is self._context and not session.certificate_ended())

    def _trusting(self) -> ssl.SSLContext | None:
        """The context for a new connection: another one where the CA file is another."""
        return None if self._probe.tls is None else tls.context(self._probe.tls.ca_file, alpn=HTTP_2)

    async def _opened(self, attempt: Attempt) -> Session:
        self._context, self._since_s = self._trusting(), attempt.start_s
        return await opened(attempt, self._target.address, self._probe.port, self._probe.tls, self._name)

    async def _over(self, session: Session, attempt: Attempt) -> str:
        await session.ask(self._headers)
        while not session.status:
            await session.advance()
        if self._verdict.wants_body(attempt, session.status):
            while not session.ended:
                await session.advance()
            self._verdict.body(attempt, bytes(session.body))
        if self._probe.reuse:
            await self._keep(session)
        return str(session.status)

    async def _keep(self, session: Session) -> None:
        """Keep the connection for the next run, if the answer ends well."""
        while not session.ended:
            await session.advance()
        if session.fit and files.may_keep():
            session.let_go()
            self._kept = session
            files.KEPT.add(self)


async def opened(attempt: Attempt, address: IPAddress, port: int, settings: Tls | None, name: str) -> Session:
    """A session on a new connection; `name` must be in the certificate. Raises ProbeFault."""
    connection = Connection(attempt, address)
    await connection.connect(address, port)
    attempt.connect_s = attempt.lap_s()
    if settings is None:
        return Session(connection, connection)
    stream = await secured(connection, address, port, settings=settings, name=name, alpn=HTTP_2)
    if stream.channel.alpn != HTTP_2[0]:
        raise ProbeFault(Reason.PROTOCOL, "the server does not offer HTTP/2 (ALPN)")
    return Session(connection, stream)
