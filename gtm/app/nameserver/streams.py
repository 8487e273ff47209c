"""TCP (RFC 7766): pipelined queries, answers in order, and limits so that no client can hold what others need."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from gtm.app.nameserver import counters as c
from gtm.app.nameserver.answerer import Answerer
from gtm.observe.rtt import tcpinfo
from gtm.observe.rtt.ring import Measured, RingWriter

CONNECTIONS_MAX = 1000  # per worker; beyond it the one idle for longest is closed
IDLE_S = 10.0  # without a whole query, or without taking its answers
LIFETIME_S = 120.0  # of a connection in all: clients open another
BACKLOG_MAX_BYTES = 256 << 10  # of answers that the client has not taken; then no more queries are read
READ_BYTES = 64 << 10

Watch = Callable[[int, int], None]


@dataclass(slots=True, eq=False)
class Connection:
    """One client: what it has sent and not yet been answered, and what it has been answered and not yet taken."""

    sock: socket.socket
    source: bytes
    word: int
    opened_s: float
    active_s: float
    unread: bytearray = field(default_factory=bytearray)
    unsent: bytearray = field(default_factory=bytearray)
    finished: bool = False  # the client will send no more
    asked: bool = False  # a whole query has come


class Streams:
    """All TCP connections of a worker. `watch` sets the poll events of a file number (0: forget it).

    `ring` takes the round-trip times of connections that have ended (None: nobody wants them).
    """

    def __init__(self, answerer: Answerer, counters: memoryview, watch: Watch, ring: RingWriter | None = None) -> None:
        """No connections yet."""
        self._answerer = answerer
        self._counters = counters
        self._watch = watch
        self._ring = ring
        self.connections: dict[int, Connection] = {}

    def accept(self, listener: socket.socket, now_s: float) -> None:
        """Take all connections that wait on a listener."""
        for _ in range(CONNECTIONS_MAX):
            try:
                sock, peer = listener.accept()
            except BlockingIOError:
                return
            except OSError:  # reset while waiting, or out of file numbers: the oldest makes room
                self._close_oldest()
                return
            sock.settimeout(0)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if len(self.connections) >= CONNECTIONS_MAX:
                self._close_oldest()
            source = socket.inet_pton(sock.family, peer[0].partition("%")[0])
            word = c.TCP4 if sock.family == socket.AF_INET else c.TCP6
            self.connections[sock.fileno()] = Connection(sock, source, word, now_s, now_s)
            self._counters[c.TCP_CONNECTIONS] += 1
            self._watch(sock.fileno(), select.EPOLLIN)

    def ready(self, number: int, events: int, now_s: float) -> None:
        """Go on with a connection that can be read or written, or that has failed."""
        connection = self.connections.get(number)
        if connection is None:
            return
        try:
            if events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR) and not connection.finished:
                data = connection.sock.recv(READ_BYTES)
                connection.unread += data
                connection.finished = not data
            while self._answer(connection, now_s) and self._send(connection, now_s):
                pass  # all taken: there may be queries that waited for that
        except BlockingIOError:
            return
        except OSError:
            self._close(number, c.TCP_CLOSED_ERROR)
            return
        self._next(number, connection)

    def _answer(self, connection: Connection, now_s: float) -> bool:
        """Answer the whole queries that have come, as long as the client takes its answers; whether there are any."""
        unread, position = connection.unread, 0
        while len(unread) - position >= 2 and len(connection.unsent) < BACKLOG_MAX_BYTES:
            size = unread[position] << 8 | unread[position + 1]
            if len(unread) - position - 2 < size:
                break
            query = bytes(unread[position + 2 : position + 2 + size])
            position += 2 + size
            connection.active_s = now_s
            self._counters[connection.word] += 1
            reply = self._reply(query, connection.source)
            if reply is None:  # not a query: nothing that follows can be trusted to be in step
                connection.finished = True
                unread.clear()
                return bool(connection.unsent)
            connection.asked = True
            connection.unsent += len(reply).to_bytes(2, "big") + reply
        del unread[:position]
        return bool(connection.unsent)

    def _reply(self, query: bytes, source: bytes) -> bytes | None:
        reply = self._answerer.fast(query, source)
        if reply is not None:
            self._counters[c.FAST] += 1
            self._counters[c.RCODE] += 1  # the fast path answers NOERROR only
            return reply
        return self._answerer.full(query, source, tcp=True)

    @staticmethod
    def _send(connection: Connection, now_s: float) -> bool:
        """Hand over answers; whether the client took them all."""
        while connection.unsent:
            try:
                sent = connection.sock.send(connection.unsent)
            except BlockingIOError:
                return False
            del connection.unsent[:sent]
            connection.active_s = now_s
        return True

    def _next(self, number: int, connection: Connection) -> None:
        """What to wait for now; a client that is done and has all its answers is let go."""
        if connection.finished and not connection.unsent:
            self._close(number, None)
            return
        reading = not connection.finished and len(connection.unsent) < BACKLOG_MAX_BYTES
        self._watch(number, (select.EPOLLIN if reading else 0) | (select.EPOLLOUT if connection.unsent else 0))

    def expire(self, now_s: float) -> None:
        """Close what has been idle or open for too long."""
        for number, connection in list(self.connections.items()):
            if now_s - connection.active_s > IDLE_S or now_s - connection.opened_s > LIFETIME_S:
                self._close(number, c.TCP_CLOSED_IDLE)

    def _close_oldest(self) -> None:
        if self.connections:
            number = min(self.connections, key=lambda one: self.connections[one].active_s)
            self._close(number, c.TCP_CLOSED_FULL)

    def _close(self, number: int, word: int | None) -> None:
        connection = self.connections.pop(number)
        self._watch(number, 0)
        if connection.asked and word != c.TCP_CLOSED_ERROR and self._ring is not None and self._ring.wanted():
            _note(self._ring, connection)
        connection.sock.close()
        if word is not None:
            self._counters[word] += 1


def _note(ring: RingWriter, connection: Connection) -> None:
    """Put down how far the client is, if its connection told."""
    try:
        rtt_s = tcpinfo.clean_s(tcpinfo.of(connection.sock))
    except OSError:  # reset meanwhile
        return
    if rtt_s is not None:
        ring.put(Measured(connection.source, rtt_s, time.time()))
