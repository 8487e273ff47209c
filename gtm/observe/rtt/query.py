"""The round-trip time of a DNS query and its answer, whatever the answer.

The question is the root's name servers, without recursion desired: what a resolver has in memory anyway, or refuses;
either way it answers at once and asks nobody else.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from dataclasses import dataclass
from ipaddress import ip_address

from gtm.model.address import IPAddress
from gtm.observe.arrival import receive, stamped, way_s
from gtm.observe.ping import READ_MAX, WAITING_MAX, Done

_QUESTION = b"\0" + struct.pack("!HH", 2, 1)  # ". NS IN"
_ANSWER_BYTES = 4096


@dataclass(slots=True)
class _Waiting:
    address: IPAddress
    port: int
    sent_s: float
    done: Done
    alarm: asyncio.TimerHandle


class Queries:
    """Queries from one event loop, over one socket for each family. An answer counts if its source, its number, and
    its question, where it repeats one, are those of a query that is still waited for.
    """

    def __init__(self) -> None:
        """Nothing opened, nobody waiting."""
        self._loop = asyncio.get_running_loop()
        self._sockets: dict[int, socket.socket] = {}
        self._waiting: dict[int, _Waiting] = {}

    def send(self, address: IPAddress, port: int, timeout_s: float, done: Done) -> None:
        """Ask once; `done` is called once, later. Raises OSError if it cannot be sent."""
        sock = self._sockets.get(address.version) or self._open(address.version)
        if len(self._waiting) >= WAITING_MAX:
            raise OSError("too many queries without answer")
        while (number := int.from_bytes(os.urandom(2), "big")) in self._waiting:
            pass
        sent_s = self._loop.time()
        sock.sendto(struct.pack("!HHHHHH", number, 0, 1, 0, 0, 0) + _QUESTION, (str(address), port))
        alarm = self._loop.call_later(timeout_s, self._give_up, number)
        self._waiting[number] = _Waiting(address, port, sent_s, done, alarm)

    def close(self) -> None:
        """Close the sockets; who still waits is told that nothing came."""
        for sock in self._sockets.values():
            self._loop.remove_reader(sock)
            sock.close()
        self._sockets.clear()
        for number in list(self._waiting):
            self._give_up(number)

    def _open(self, version: int) -> socket.socket:
        sock = socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(0)
        stamped(sock)
        self._sockets[version] = sock
        self._loop.add_reader(sock, self._read, sock)
        return sock

    def _read(self, sock: socket.socket) -> None:
        for _ in range(READ_MAX):
            try:
                data, source, waited_s = receive(sock, _ANSWER_BYTES)
            except OSError:  # none left
                return
            self._take(data, source, waited_s)

    def _take(self, data: bytes, source: tuple[str, int], waited_s: float) -> None:
        if len(data) < 12 or not data[2] & 0x80:  # RFC 1035 4.1.1: a whole header, and a response
            return
        number, questions = struct.unpack_from("!H2xH", data)
        waiting = self._waiting.get(number)
        if waiting is None or source[1] != waiting.port or ip_address(source[0].partition("%")[0]) != waiting.address:
            return
        if questions and not data.startswith(_QUESTION, 12):
            return
        del self._waiting[number]
        waiting.alarm.cancel()
        waiting.done(way_s(waiting.sent_s, self._loop.time(), waited_s))

    def _give_up(self, number: int) -> None:
        waiting = self._waiting.pop(number)
        waiting.alarm.cancel()
        waiting.done(None)
