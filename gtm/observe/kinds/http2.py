"""An HTTP/2 request (RFC 9113), by ALPN over TLS or by prior knowledge; judged as one of HTTP/1.1 is."""

from __future__ import annotations

from gtm.model.address import IPAddress
from gtm.model.check import HttpProbe, Target, Tls
from gtm.observe import request
from gtm.observe.attempt import Attempt
from gtm.observe.connection import Connection
from gtm.observe.kinds.session import Session
from gtm.observe.outcome import ProbeFault, Reason
from gtm.observe.secured import HTTP_2, secured
from gtm.observe.stream import Stream
from gtm.observe.verdict import Verdict

_OF_HTTP_1 = frozenset({"host", "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"})


class Http2Ask:
    """Asks over a connection of its own, as far as the verdict needs. Raises ValueError for what cannot be sent."""

    __slots__ = ("_headers", "_name", "_probe", "_target", "_verdict")

    def __init__(self, target: Target, probe: HttpProbe) -> None:
        self._target = target
        self._probe = probe
        self._verdict = Verdict(probe)
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
        stream = await opened(attempt, self._target.address, self._probe.port, self._probe.tls, self._name)
        session = Session(attempt, stream)
        await session.ask(self._headers)
        while not session.status:
            await session.advance()
        if self._verdict.wants_body(attempt, session.status):
            while not session.ended:
                await session.advance()
            self._verdict.body(attempt, bytes(session.body))
        return str(session.status)


async def opened(attempt: Attempt, address: IPAddress, port: int, settings: Tls | None, name: str) -> Stream:
    """A stream on which HTTP/2 may be spoken at once; `name` must be in the certificate. Raises ProbeFault."""
    connection = Connection(attempt, address)
    await connection.connect(address, port)
    attempt.connect_s = attempt.lap_s()
    if settings is None:
        return connection
    stream = await secured(connection, address, port, settings=settings, name=name, alpn=HTTP_2)
    if stream.channel.alpn != HTTP_2[0]:
        raise ProbeFault(Reason.PROTOCOL, "the server does not offer HTTP/2 (ALPN)")
    return stream
