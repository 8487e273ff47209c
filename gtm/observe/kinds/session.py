"""One HTTP/2 exchange (RFC 9113): frames by the sans-IO library h2 over a probe's stream, everything bounded."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from gtm.observe.attempt import Attempt
from gtm.observe.connection import Connection
from gtm.observe.kinds.words import excerpt
from gtm.observe.outcome import ProbeFault, Reason
from gtm.observe.response import BODY_MAX_BYTES
from gtm.observe.stream import Stream, TlsStream
from gtm.observe.tls import ends_within

RECEIVED_MAX_BYTES = 1 << 20
FRAME_MAX_BYTES = 16384  # SETTINGS_MAX_FRAME_SIZE as we leave it
_FRAME_HEAD_BYTES = 9
_GOAWAY = 7
_GOAWAY_BODY = struct.Struct("!II")

Headers = Sequence[tuple[str, str]]


class Session:
    """A connection for one request at a time: `ask`, then `advance` until what is wanted of the answer is there.

    `status` is 0 until the headers have come; `headers` and `trailers` are by lower-case name, the last of a name
    counts; `body` is its first BODY_MAX_BYTES; `ended`: nothing more is wanted; `fit`: the answer is whole and another
    request may follow it. All but plain attributes raise ProbeFault.
    """

    __slots__ = (
        "_attempt", "_buffer", "_closing", "_connection", "_h2", "_id", "_received", "_stream", "body", "ended", "fit",
        "headers", "status", "trailers",
    )  # fmt: skip

    def __init__(self, connection: Connection, stream: Stream) -> None:
        """Speak over `stream`, which is the connection itself or TLS on it."""
        self._attempt = connection.attempt
        self._connection = connection
        self._stream = stream
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
        self._h2.local_settings[h2.settings.SettingCodes.ENABLE_PUSH] = 0
        self._h2.initiate_connection()
        self._buffer = bytearray()
        self._closing = False
        self._begin()

    def _begin(self) -> None:
        """Forget the answer before."""
        self._received = 0
        self._id = 0
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.trailers: dict[bytes, bytes] = {}
        self.body = bytearray()
        self.ended = self.fit = False

    def renew(self, attempt: Attempt) -> None:
        """Go on for another run, which closes the connection unless it is let go of."""
        self._attempt = self._connection.attempt = attempt
        attempt.keep(self._connection)
        self._begin()

    def note_certificate(self, expires_s: float) -> None:
        """Make the attempt poor if the certificate of the connection, made some runs ago, ends within this time."""
        if isinstance(self._stream, TlsStream):
            self._attempt.poor = ends_within(self._stream.channel.dates()[1], expires_s)

    def certificate_ended(self) -> bool:
        """Whether the certificate of the connection is past its end."""
        return isinstance(self._stream, TlsStream) and bool(ends_within(self._stream.channel.dates()[1], 0.0))

    def close(self) -> None:
        """Close the connection at once."""
        self._connection.close()

    def let_go(self) -> None:
        """Keep the connection open beyond this run."""
        self._attempt.let_go(self._connection)

    async def ask(self, headers: Headers, body: bytes | None = None) -> None:
        """Send a request, the first with the preface and our settings. `body` must fit the window peers begin with."""
        self._attempt.doing = "sending the request"
        try:
            self._id = self._h2.get_next_available_stream_id()
            self._h2.send_headers(self._id, headers, end_stream=body is None)
            if body is not None:
                self._h2.send_data(self._id, body, end_stream=True)
        except h2.exceptions.H2Error as error:
            raise ProbeFault(Reason.OURS, f"the request cannot be sent: {_words(error)}") from error
        await self._stream.send(self._h2.data_to_send())

    async def advance(self) -> None:
        """Take in what arrives next, and say what HTTP/2 wants said back."""
        self._attempt.doing = "reading the body" if self.status else "waiting for the headers"
        data = await self._stream.receive()
        if not data:
            raise ProbeFault(Reason.CLOSED, f"connection closed while {self._attempt.doing}")
        self._attempt.unheard = False
        self._received += len(data)
        if self._received > RECEIVED_MAX_BYTES:
            raise ProbeFault(Reason.PROTOCOL, f"more than {RECEIVED_MAX_BYTES} bytes while {self._attempt.doing}")
        self._buffer += data
        while not self.ended and (frame := self._frame()):
            self._take(frame)
        if not self.ended and (pending := self._h2.data_to_send()):
            await self._stream.send(pending)

    def _frame(self) -> bytes:
        """The next whole frame, head included; nothing if it is not all there."""
        buffer = self._buffer
        if buffer[:5] == b"HTTP/":
            line = bytes(buffer).split(b"\r", 1)[0]
            raise ProbeFault(Reason.PROTOCOL, f"not HTTP/2: {excerpt(line)}")
        if len(buffer) < _FRAME_HEAD_BYTES:
            return b""
        size = int.from_bytes(buffer[:3], "big")
        if size > FRAME_MAX_BYTES:
            raise ProbeFault(Reason.PROTOCOL, f"not HTTP/2: {excerpt(bytes(buffer))}")
        if len(buffer) < _FRAME_HEAD_BYTES + size:
            return b""
        frame = bytes(buffer[: _FRAME_HEAD_BYTES + size])
        del buffer[: _FRAME_HEAD_BYTES + size]
        return frame

    def _take(self, frame: bytes) -> None:
        if frame[3] == _GOAWAY:
            # Not for h2: it takes a GOAWAY for the end, though streams up to the last one named are still answered.
            self._go_away(frame[_FRAME_HEAD_BYTES:])
            return
        try:
            events = self._h2.receive_data(frame)
        except h2.exceptions.ProtocolError as error:
            raise ProbeFault(Reason.PROTOCOL, f"not HTTP/2: {_words(error)}") from error
        for event in events:
            self._note(event)

    def _go_away(self, body: bytes) -> None:
        if len(body) < _GOAWAY_BODY.size:
            raise ProbeFault(Reason.PROTOCOL, "not HTTP/2: a GOAWAY that is too short")
        self._closing = True
        last, code = _GOAWAY_BODY.unpack_from(body)
        if code or (last & 0x7FFFFFFF) < self._id:
            raise ProbeFault(Reason.CLOSED, f"the server ended the connection: GOAWAY {_code(code)}")

    def _note(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.ResponseReceived() if event.stream_id == self._id:
                self.headers = _last(event.headers)
                self.status = _status(self.headers.get(b":status", b""))
                self._attempt.first_byte_s = self._attempt.lap_s()
            case h2.events.TrailersReceived() if event.stream_id == self._id:
                self.trailers = _last(event.headers)
            case h2.events.DataReceived() if event.stream_id == self._id:
                self.body += event.data[: BODY_MAX_BYTES - len(self.body)]
                self._h2.acknowledge_received_data(event.flow_controlled_length, self._id)
                self.ended = self.ended or len(self.body) >= BODY_MAX_BYTES
            case h2.events.StreamEnded() if event.stream_id == self._id:
                self.ended = True
                self.fit = not self._closing
            case h2.events.StreamReset() if event.stream_id == self._id and (event.error_code or not self.status):
                raise ProbeFault(Reason.CLOSED, f"the server reset the stream: {_code(event.error_code)}")
            case h2.events.StreamReset() if event.stream_id == self._id:
                self.ended = True
            case _:
                pass


def _last(headers: object) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for name, value in headers if isinstance(headers, list) else ():
        found[bytes(name)] = bytes(value)
    return found


def _status(text: bytes) -> int:
    if len(text) == 3 and text.isdigit():
        return int(text)
    raise ProbeFault(Reason.PROTOCOL, f"the status makes no sense: {excerpt(text)}")


def _code(code: int | None) -> str:
    """An error code by the name of RFC 9113 section 7, or its number."""
    try:
        return h2.errors.ErrorCodes(code or 0).name
    except ValueError:
        return str(code)


def _words(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:120]
