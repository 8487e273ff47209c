"""An echo request that must be answered (RFC 792, RFC 4443 section 4).

A ping socket needs no right where the sysctl net.ipv4.ping_group_range (it rules IPv6 too) has a group of the process;
else a raw socket is taken, which needs CAP_NET_RAW.
"""

from __future__ import annotations

import os
import socket
import struct

from gtm.model.address import IPAddress
from gtm.model.check import IcmpProbe, Target
from gtm.observe.attempt import Attempt
from gtm.observe.connection import fault
from gtm.observe.kinds.datagram import Datagrams
from gtm.observe.outcome import ProbeFault, Reason

SIZE_MIN_BYTES = 16
SIZE_MAX_BYTES = 65000
_HEAD = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence number
_TYPES = {4: (8, 0), 6: (128, 129)}  # echo request and echo reply
_RIGHTS = (
    "may not send ICMP echo requests (allowed: a group of this process in the sysctl net.ipv4.ping_group_range, "
    "or CAP_NET_RAW)"
)


class IcmpAsk:
    """Sends one request with random octets; only its own reply counts."""

    __slots__ = ("_address", "_size_bytes")

    def __init__(self, target: Target, probe: IcmpProbe) -> None:
        if not SIZE_MIN_BYTES <= probe.size_bytes <= SIZE_MAX_BYTES:
            raise ValueError(f"size {probe.size_bytes} is out of range (allowed: {SIZE_MIN_BYTES} to {SIZE_MAX_BYTES})")
        self._address = target.address
        self._size_bytes = probe.size_bytes

    async def __call__(self, attempt: Attempt) -> str:
        """That it was answered. Raises ProbeFault."""
        attempt.doing = "sending the echo request"
        sock, raw = _socket(self._address)
        datagrams = Datagrams(attempt, sock)
        datagrams.connect(self._address, 0)
        request, reply = _TYPES[self._address.version]
        identifier, sequence = struct.unpack("!HH", os.urandom(4))
        payload = os.urandom(self._size_bytes)
        await datagrams.send(_packet(request, identifier, sequence, payload))
        attempt.doing = "waiting for the echo reply"
        # The identifier of a ping socket is the kernel's, which hands on no other.
        wanted = (reply, 0, identifier if raw else None, sequence, payload)
        while _parsed(await datagrams.receive(), raw=raw, version=self._address.version) != wanted:
            pass  # a raw socket hears all ICMP of this peer, requests that it sends to us included
        attempt.first_byte_s = attempt.lap_s()
        return "echo reply"


def _socket(address: IPAddress) -> tuple[socket.socket, bool]:
    """A socket for echoes, and whether it is a raw one. Raises ProbeFault (ours) if there is none to be had."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    protocol = socket.IPPROTO_ICMP if address.version == 4 else socket.IPPROTO_ICMPV6
    try:
        return socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, protocol), False
    except PermissionError:
        pass
    except OSError as error:
        raise fault(error, "opening a ping socket") from error
    try:
        return socket.socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol), True
    except PermissionError as error:
        raise ProbeFault(Reason.OURS, _RIGHTS) from error
    except OSError as error:
        raise fault(error, "opening a raw socket") from error


def _packet(kind: int, identifier: int, sequence: int, payload: bytes) -> bytes:
    """An echo request. A ping socket writes its own identifier, and the kernel ICMPv6's checksum (RFC 3542 3.1)."""
    blank = _HEAD.pack(kind, 0, 0, identifier, sequence) + payload
    return _HEAD.pack(kind, 0, _checksum(blank), identifier, sequence) + payload


def _parsed(data: bytes, *, raw: bool, version: int) -> tuple[int, int, int | None, int, bytes] | None:
    """(type, code, identifier where we chose it, sequence number, payload) of a packet; None if it is too short."""
    if raw and version == 4 and data:
        data = data[(data[0] & 15) * 4 :]  # a raw IPv4 socket reads the IP header too
    if len(data) < _HEAD.size:
        return None
    kind, code, _, identifier, sequence = _HEAD.unpack_from(data)
    return kind, code, identifier if raw else None, sequence, data[_HEAD.size :]


def _checksum(packet: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    padded = packet + b"\0" * (len(packet) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF
