"""A BGP speaker for tests: it listens, opens whatever session is offered, and keeps the UPDATEs that it reads."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

MARKER = b"\xff" * 16
OPEN, UPDATE, NOTIFICATION, KEEPALIVE = 1, 2, 3, 4


@dataclass
class Sink:
    """What was heard: UPDATEs' bodies, of all sessions; `sessions` were established, `ended` were closed.

    `table` has the prefixes of IPv4 that they leave announced; a session's end does not empty it.
    """

    listener: socket.socket
    asn: int
    add_path: bool = False
    updates: list[bytes] = field(default_factory=list)
    table: set[str] = field(default_factory=set)
    sessions: int = 0
    ended: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)
    reading: threading.Event = field(default_factory=threading.Event)
    stopping: bool = False

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def wait(self, what: str, condition: object, timeout_s: float = 60.0) -> None:
        """Until `condition()` holds; it is asked again whenever something was heard."""
        assert callable(condition)
        with self.changed:
            assert self.changed.wait_for(condition, timeout_s), f"not within {timeout_s} s: {what}"

    def serve(self) -> None:
        """Sessions, one after the other, until the listener is closed."""
        while not self.stopping:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            with peer, contextlib.suppress(OSError):
                peer.settimeout(60.0)
                self._session(peer)
            with self.changed:
                self.ended += 1
                self.changed.notify_all()

    def _session(self, peer: socket.socket) -> None:
        kind, body = _message(peer)
        assert kind == OPEN
        hold = struct.unpack_from(">H", body, 3)[0]
        peer.sendall(_framed(OPEN, self._open(hold)) + _framed(KEEPALIVE, b""))
        while not self.stopping:
            self.reading.wait(60.0)
            kind, body = _message(peer)
            with self.changed:
                if kind == UPDATE:
                    self.updates.append(body)
                    self._fold(body)
                elif kind == KEEPALIVE:
                    self.sessions += not self._keepalives
                    self._keepalives += 1
                    peer.sendall(_framed(KEEPALIVE, b""))
                self.changed.notify_all()
            if kind == NOTIFICATION:
                return

    _keepalives: int = 0

    def _fold(self, body: bytes) -> None:
        """What an UPDATE withdraws and announces of IPv4, without path identifiers."""
        withdrawn = 2 + int.from_bytes(body[:2], "big")
        attributes = withdrawn + 2 + int.from_bytes(body[withdrawn : withdrawn + 2], "big")
        if not self.add_path:
            self.table.difference_update(_prefixes(body[2:withdrawn]))
            self.table.update(_prefixes(body[attributes:]))

    def _open(self, hold_s: int) -> bytes:
        """OPEN (RFC 4271): multiprotocol (RFC 4760), four-octet AS (RFC 6793) and, if wanted, add-path (RFC 7911)."""
        capabilities = [struct.pack(">BBHBB", 1, 4, 1, 0, 1), struct.pack(">BBHBB", 1, 4, 2, 0, 1)]
        capabilities.append(struct.pack(">BBI", 65, 4, self.asn))
        if self.add_path:
            capabilities.append(struct.pack(">BBHBBHBB", 69, 8, 1, 1, 1, 2, 1, 1))
        parameter = b"".join(capabilities)
        return struct.pack(">BHH4sBBB", 4, min(self.asn, 23456), hold_s, bytes([192, 0, 2, 1]), len(parameter) + 2, 2,
                           len(parameter)) + parameter  # fmt: skip


def _prefixes(octets: bytes) -> Iterator[str]:
    """Length in bits, and as many octets as it takes (RFC 4271 section 4.3)."""
    while octets:
        length, count = octets[0], (octets[0] + 7) // 8
        yield f"{socket.inet_ntoa(octets[1 : 1 + count].ljust(4, bytes(1)))}/{length}"
        octets = octets[1 + count :]


def _framed(kind: int, body: bytes) -> bytes:
    return MARKER + struct.pack(">HB", 19 + len(body), kind) + body


def _message(peer: socket.socket) -> tuple[int, bytes]:
    length, kind = struct.unpack_from(">HB", _exactly(peer, 19), 16)
    return kind, _exactly(peer, length - 19)


def _exactly(peer: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        more = peer.recv(count - len(found))
        if not more:
            raise ConnectionResetError
        found += more
    return found


@contextlib.contextmanager
def sink(asn: int = 65000, *, address: str = "127.0.0.1", add_path: bool = False) -> Iterator[Sink]:
    """A sink on a loopback port of its own; with `add_path` it takes routes with path identifiers."""
    with socket.create_server((address, 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # a peer that stops reading is felt at once
        made = Sink(listener=listener, asn=asn, add_path=add_path)
        made.reading.set()
        thread = threading.Thread(target=made.serve, daemon=True)
        thread.start()
        try:
            yield made
        finally:
            made.stopping = True
            made.reading.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5.0)
