"""ICMP echo (RFC 792, RFC 4443 4): requests of one process, and each reply told to whoever waits for it.

A ping socket needs no right where net.ipv4.ping_group_range has the process's group; else a raw socket is taken,
which needs CAP_NET_RAW. A reply counts if its source, sequence number and the eight random octets sent along are
those of a request that is still waited for.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

from gtm.model.address import IPAddress
from gtm.model.errors import GtmError
from gtm.observe.arrival import receive, stamped, way_s

Done = Callable[[float | None], None]  # of the round-trip time in seconds, or None: no reply in time

WAITING_MAX = 0x8000  # sequence numbers have 16 bits
READ_MAX = 256  # replies taken in one turn of the loop

_HEAD = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence number
_TOKEN_BYTES = 8
_REPLY_BYTES = 512
_SOL_RAW, _ICMP_FILTER, _ICMP6_FILTER = 255, 1, 1  # linux/icmp.h, linux/icmpv6.h: no names in the socket module


@dataclass(slots=True)
class _Waiting:
    address: IPAddress
    token: bytes
    sent_s: float
    done: Done
    alarm: asyncio.TimerHandle


@dataclass(slots=True)
class _Family:
    """What differs between IPv4 and IPv6."""

    sock: socket.socket
    request: int
    reply: int
    raw: bool
    identifier: int


class Echoes:
    """Echo requests from one event loop. Sockets are opened when first needed, one for each family."""

    def __init__(self) -> None:
        """Nothing opened, nobody waiting."""
        self._loop = asyncio.get_running_loop()
        self._families: dict[int, _Family] = {}
        self._waiting: dict[int, _Waiting] = {}
        self._sequence = int.from_bytes(os.urandom(2), "big")

    def send(self, address: IPAddress, timeout_s: float, done: Done) -> None:
        """Ask for one echo; `done` is called once, later.

        Raises OSError if it cannot be sent, or too many are waited for, and GtmError where there is no right to.
        """
        family = self._families.get(address.version) or self._open(address.version)
        if len(self._waiting) >= WAITING_MAX:
            raise OSError("too many echo requests without reply")
        while (sequence := (self._sequence + 1) & 0xFFFF) in self._waiting:
            self._sequence = sequence
        self._sequence = sequence
        token = os.urandom(_TOKEN_BYTES)
        packet = _request(family.request, family.identifier, sequence, token)
        sent_s = self._loop.time()
        family.sock.sendto(packet, (str(address), 0))
        alarm = self._loop.call_later(timeout_s, self._give_up, sequence)
        self._waiting[sequence] = _Waiting(address, token, sent_s, done, alarm)

    async def echo(self, address: IPAddress, timeout_s: float) -> float | None:
        """The round-trip time in seconds, or None if no reply came in time. Raises as `send` does."""
        answer: asyncio.Future[float | None] = self._loop.create_future()
        self.send(address, timeout_s, lambda rtt_s: None if answer.done() else answer.set_result(rtt_s))
        return await answer

    def close(self) -> None:
        """Close the sockets; who still waits is told that nothing came."""
        for family in self._families.values():
            self._loop.remove_reader(family.sock)
            family.sock.close()
        self._families.clear()
        for sequence in list(self._waiting):
            self._give_up(sequence)

    def _open(self, version: int) -> _Family:
        sock, raw = _socket(version)
        sock.settimeout(0)
        stamped(sock)
        # A ping socket's identifier is its port, which the kernel writes into each request.
        identifier = int.from_bytes(os.urandom(2), "big") if raw else 0
        family = _Family(sock, *((128, 129) if version == 6 else (8, 0)), raw, identifier)
        self._families[version] = family
        self._loop.add_reader(sock, self._read, family)
        return family

    def _read(self, family: _Family) -> None:
        for _ in range(READ_MAX):
            try:
                data, source, waited_s = receive(family.sock, _REPLY_BYTES)
            except OSError:  # none left, or news of an earlier packet that did not arrive
                return
            self._take(family, data, source[0], waited_s)

    def _take(self, family: _Family, data: bytes, source: str, waited_s: float) -> None:
        if family.raw and family.reply == 0 and data:
            data = data[(data[0] & 15) * 4 :]  # a raw IPv4 socket reads the IP header too
        if len(data) < _HEAD.size + _TOKEN_BYTES:
            return
        kind, code, _, identifier, sequence = _HEAD.unpack_from(data)
        if kind != family.reply or code or (family.raw and identifier != family.identifier):
            return
        waiting = self._waiting.get(sequence)
        token = data[_HEAD.size : _HEAD.size + _TOKEN_BYTES]
        if waiting is None or token != waiting.token or ip_address(source.partition("%")[0]) != waiting.address:
            return
        del self._waiting[sequence]
        waiting.alarm.cancel()
        waiting.done(way_s(waiting.sent_s, self._loop.time(), waited_s))

    def _give_up(self, sequence: int) -> None:
        waiting = self._waiting.pop(sequence)
        waiting.alarm.cancel()
        waiting.done(None)


def _socket(version: int) -> tuple[socket.socket, bool]:
    """A socket for echoes, and whether it is a raw one. Raises GtmError if this process may have neither."""
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    protocol = socket.IPPROTO_ICMPV6 if version == 6 else socket.IPPROTO_ICMP
    try:
        return socket.socket(family, socket.SOCK_DGRAM, protocol), False
    except OSError:
        pass
    try:
        sock = socket.socket(family, socket.SOCK_RAW, protocol)
    except OSError as error:
        raise GtmError(
            f"no ICMP echo over IPv{version}: {error.strerror}; this process needs a group in the sysctl "
            "net.ipv4.ping_group_range, or CAP_NET_RAW"
        ) from error
    # Without a filter a raw socket reads every ICMP packet that the machine gets.
    if version == 6:
        passed = bytearray(b"\xff" * 32)
        struct.pack_into("=I", passed, 129 // 32 * 4, 0xFFFFFFFF & ~(1 << 129 % 32))
        sock.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, bytes(passed))
    else:
        sock.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("=I", 0xFFFFFFFE))
    return sock, True


def _request(kind: int, identifier: int, sequence: int, token: bytes) -> bytes:
    """An echo request. Its checksum is that of ICMPv4; for ICMPv6 the kernel writes its own (RFC 3542 3.1)."""
    packet = _HEAD.pack(kind, 0, 0, identifier, sequence) + token
    return _HEAD.pack(kind, 0, checksum(packet), identifier, sequence) + token


def checksum(packet: bytes) -> int:
    """The Internet checksum (RFC 1071) of an even number of octets."""
    total: int = sum(struct.unpack(f"!{len(packet) // 2}H", packet))
    total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF & ~(total + (total >> 16))
