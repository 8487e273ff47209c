"""Established TCP connections of this machine with what the kernel knows of them, by netlink (sock_diag(7)).

That is what `ss -ti` reads. It needs no right: any process may read these of its network namespace.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from gtm.model.address import IPAddress
from gtm.model.errors import GtmError
from gtm.observe.rtt.network import unmapped
from gtm.observe.rtt.tcpinfo import TcpInfo, parse

_NETLINK_SOCK_DIAG = 4  # linux/netlink.h
_SOCK_DIAG_BY_FAMILY = 20  # linux/sock_diag.h
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLM_F_REQUEST_DUMP = 0x301
_INET_DIAG_INFO = 2  # linux/inet_diag.h
_ESTABLISHED = 1  # net/tcp_states.h
_NO_COOKIE = 0xFFFFFFFF

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_ASKED = struct.Struct("=BBBxI")  # inet_diag_req_v2: family, protocol, extensions, states; then a sockid
_SOCKID = struct.Struct("!HH16s16s")  # ports and addresses of inet_diag_sockid
_SOCKID_REST = struct.Struct("=III")  # interface, cookie
_MESSAGE_BYTES = 72  # inet_diag_msg: 4 octets, a sockid, five words; attributes follow
_ATTRIBUTE = struct.Struct("=HH")
_READ_BYTES = 1 << 18
_ANSWER_S = 10.0


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of an established connection to a port of this machine, and what the kernel knows of it."""

    address: IPAddress
    port: int
    local_port: int
    info: TcpInfo


def peers(local_port: int) -> Iterator[Peer]:
    """Everyone who is connected to a local port, over IPv4 and IPv6. Raises GtmError if the kernel does not tell."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as sock:
                sock.settimeout(_ANSWER_S)
                sock.send(_request(family, local_port))
                yield from _answers(sock)
        except OSError as error:
            _refuse(error)


def local_ends() -> Iterator[tuple[IPAddress, int]]:
    """Address and port on this machine of every established connection, over IPv4 and IPv6. Raises as `peers`."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as sock:
                sock.settimeout(_ANSWER_S)
                sock.send(_request(family, 0, extensions=0))
                for message in _messages(sock):
                    if len(message) >= _MESSAGE_BYTES:
                        port, _, here, _ = _SOCKID.unpack_from(message, 4)
                        yield unmapped(here[: 16 if message[0] == socket.AF_INET6 else 4]), port
        except OSError as error:
            _refuse(error)


def _request(family: int, local_port: int, extensions: int = 1 << (_INET_DIAG_INFO - 1)) -> bytes:
    """A dump of all established connections of one family to a port (0: any); the kernel does the choosing."""
    asked = _ASKED.pack(family, socket.IPPROTO_TCP, extensions, 1 << _ESTABLISHED)
    asked += _SOCKID.pack(local_port, 0, b"", b"") + _SOCKID_REST.pack(0, _NO_COOKIE, _NO_COOKIE)
    return _HEADER.pack(_HEADER.size + len(asked), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST_DUMP, 1, 0) + asked


def _answers(sock: socket.socket) -> Iterator[Peer]:
    return (peer for message in _messages(sock) if (peer := _peer(message)) is not None)


def _messages(sock: socket.socket) -> Iterator[bytes]:
    """Every inet_diag_msg of a dump, with its attributes."""
    while True:
        data = sock.recv(_READ_BYTES)
        at = 0
        while at + _HEADER.size <= len(data):
            length, kind, _, _, _ = _HEADER.unpack_from(data, at)
            message = data[at + _HEADER.size : at + length]
            at += length + 3 & ~3
            if kind == _NLMSG_DONE:
                return
            if kind == _NLMSG_ERROR:
                _refuse(OSError(-struct.unpack_from("=i", message)[0], "refused by the kernel"))
            if kind == _SOCK_DIAG_BY_FAMILY:
                yield message


def _peer(message: bytes) -> Peer | None:
    """One connection, or None if there is no tcp_info with it."""
    if len(message) < _MESSAGE_BYTES:
        return None
    size = 16 if message[0] == socket.AF_INET6 else 4
    local_port, port, _, there = _SOCKID.unpack_from(message, 4)
    at = _MESSAGE_BYTES
    while at + _ATTRIBUTE.size <= len(message):
        length, kind = _ATTRIBUTE.unpack_from(message, at)
        if length < _ATTRIBUTE.size:
            return None
        if kind == _INET_DIAG_INFO:
            info = parse(message[at + _ATTRIBUTE.size : at + length])
            return None if info is None else Peer(unmapped(there[:size]), port, local_port, info)
        at += length + 3 & ~3
    return None


def _refuse(error: OSError) -> NoReturn:
    raise GtmError(f"the kernel does not tell of TCP connections (sock_diag): {error.strerror or error}") from error
