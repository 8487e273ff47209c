"""A TLS handshake, with the certificate verified; no application protocol is spoken over it."""

from __future__ import annotations

from gtm.model.check import Target, TlsProbe
from gtm.observe.attempt import Attempt
from gtm.observe.connection import Connection
from gtm.observe.secured import secured


class TlsAsk:
    """Connects and shakes hands; a certificate near its end makes the attempt poor."""

    __slots__ = ("_name", "_probe", "_target")

    def __init__(self, target: Target, probe: TlsProbe) -> None:
        self._target = target
        self._probe = probe
        self._name = probe.tls.server_name or str(target.address)

    async def __call__(self, attempt: Attempt) -> str:
        """That the handshake was good. Raises ProbeFault."""
        address, port = self._target.address, self._probe.port
        connection = Connection(attempt, address)
        await connection.connect(address, port)
        attempt.connect_s = attempt.lap_s()
        await secured(connection, address, port, settings=self._probe.tls, name=self._name, alpn=())
        return "TLS handshake"
