"""The worker's event loop: epoll over UDP sockets, TCP listeners and TCP connections; nothing in it blocks."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterable, Sequence

from gtm.app.nameserver import sockets
from gtm.app.nameserver.answerer import Answerer
from gtm.app.nameserver.datagrams import Datagrams
from gtm.app.nameserver.streams import Streams
from gtm.model.address import Endpoint
from gtm.observe.rtt.ring import RingWriter

POLL_S = 0.25  # so that an idle worker still sees new tables, and being told to stop
EXPIRE_S = 1.0


class Loop:
    """One worker's sockets. Bind, then run until `stop` is called (from a signal handler, say)."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        """Bind every endpoint for UDP and TCP. Raises GtmError if one cannot be had."""
        self._udp: list[tuple[Endpoint, socket.socket]] = []
        self._tcp: list[socket.socket] = []
        for endpoint in endpoints:
            self._udp.append((endpoint, sockets.bind_udp(endpoint)))
            self._tcp.append(sockets.bind_tcp(endpoint))
        self._stopping = False

    def stop(self) -> None:
        """Make `run` answer what has come, and return."""
        self._stopping = True

    def run(self, answerer: Answerer, counters: memoryview, ring: RingWriter | None = None) -> None:
        """Serve until told to stop; `ring` takes the round-trip times of TCP clients (None: nobody wants them)."""
        poll = select.epoll()
        receivers: dict[int, Datagrams] = {}
        listeners = {sock.fileno(): sock for sock in self._tcp}
        for endpoint, sock in self._udp:
            receivers[sock.fileno()] = Datagrams(sock, endpoint, answerer, counters)
            poll.register(sock, select.EPOLLIN)
        for sock in self._tcp:
            poll.register(sock, select.EPOLLIN)
        streams = Streams(answerer, counters, _watcher(poll), ring)
        expire_at_s = 0.0
        while not self._stopping:
            events = poll.poll(POLL_S)
            answerer.look()
            now_s = time.monotonic()
            for number, event in events:
                datagrams = receivers.get(number)
                if datagrams is not None:
                    datagrams.answer()
                elif number in listeners:
                    streams.accept(listeners[number], now_s)
                else:
                    streams.ready(number, event, now_s)
            if now_s >= expire_at_s:
                streams.expire(now_s)
                expire_at_s = now_s + EXPIRE_S
        self._leave(receivers.values())

    def _leave(self, receivers: Iterable[Datagrams]) -> None:
        """Answer what waits in the UDP queues, then close: another worker of the port takes what comes next."""
        for sock in self._tcp:
            sock.close()
        for datagrams in receivers:
            datagrams.answer()
        for _, sock in self._udp:
            sock.close()


def _watcher(poll: select.epoll) -> Callable[[int, int], None]:
    watched: dict[int, int] = {}

    def watch(number: int, events: int) -> None:
        known = watched.get(number)
        if events == known:
            return
        if known is None:
            poll.register(number, events)
        elif events:
            poll.modify(number, events)
        else:
            del watched[number]
            poll.unregister(number)
            return
        watched[number] = events

    return watch
