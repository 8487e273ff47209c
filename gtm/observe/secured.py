"""TLS on a probe's connection as its check wants it: verified, with words for dates that are over or near."""

from __future__ import annotations

from gtm.model.address import IPAddress
from gtm.model.check import Tls
from gtm.observe import tls
from gtm.observe.attempt import Attempt
from gtm.observe.connection import Connection
from gtm.observe.outcome import ProbeFault, Reason
from gtm.observe.stream import TlsStream

HTTP_1_1 = ("http/1.1",)
HTTP_2 = ("h2",)


async def secured(
    connection: Connection, address: IPAddress, port: int, *, settings: Tls, name: str, alpn: tuple[str, ...] = HTTP_1_1
) -> TlsStream:
    """A TlsStream over `connection`, which is connected to `address` and `port`; the attempt's `tls_s` is set.

    `name` must be in the certificate. One that ends within the check's `expires_s` makes the attempt poor. Raises
    ProbeFault.
    """
    attempt = connection.attempt
    stream = TlsStream(connection, tls.context(settings.ca_file, alpn=alpn), name)
    try:
        await stream.handshake()
    except tls.WrongTime as wrong:
        words = await _dates(attempt, address, port, settings.ca_file, name, str(wrong))
        raise ProbeFault(Reason.TLS, words) from wrong
    attempt.tls_s = attempt.lap_s()
    if settings.expires_s is not None and (soon := tls.ends_within(stream.channel.dates()[1], settings.expires_s)):
        attempt.poor = soon
    return stream


async def _dates(attempt: Attempt, address: IPAddress, port: int, ca_file: str | None, name: str, words: str) -> str:
    """What is wrong with the certificate's dates: a second connection looks, as ssl only shows what it accepted."""
    again = Connection(attempt, address)
    try:
        await again.connect(address, port)
        stream = TlsStream(again, tls.context(ca_file, ignore_time=True), name)
        await stream.handshake()
        return tls.date_words(*stream.channel.dates())
    except ProbeFault:
        return words
