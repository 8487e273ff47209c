"""A service's addresses on their interface, by rtnetlink(7): put on, taken off, looked up. Needs CAP_NET_ADMIN.

Only addresses that are declared are touched. Those of IPv4 get the label `INTERFACE:gtm`, so that people see whose
they are.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from gtm.model.address import IPAddress
from gtm.model.errors import GtmError

_NEWADDR, _DELADDR, _GETADDR = 20, 21, 22  # linux/rtnetlink.h
_REQUEST, _ACK, _DUMP, _REPLACE, _CREATE = 0x1, 0x4, 0x300, 0x100, 0x400  # linux/netlink.h
_ERROR, _DONE = 2, 3
_IFA_ADDRESS, _IFA_LOCAL, _IFA_LABEL, _IFA_FLAGS = 1, 2, 3, 8  # linux/if_addr.h
_NODAD = 0x02  # the same address is on other nodes on purpose
_LABEL_MAX = 15
_READ_BYTES = 1 << 18
_ANSWER_S = 10.0

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_IFADDR = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix length, flags, scope, interface
_ATTRIBUTE = struct.Struct("=HH")


def present(interface: str) -> frozenset[IPAddress]:
    """The addresses on an interface. Raises GtmError."""
    index = _index(interface)
    with _talking(f"addresses of {interface}") as sock:
        sock.send(_message(_GETADDR, _REQUEST | _DUMP, _IFADDR.pack(socket.AF_UNSPEC, 0, 0, 0, 0)))
        return frozenset(_addresses(sock, index))


def put_on(interface: str, address: IPAddress) -> None:
    """Have an address on an interface, as a host's; nothing if it is there. Raises GtmError."""
    attributes = _attribute(_IFA_LOCAL, address.packed) + _attribute(_IFA_ADDRESS, address.packed)
    label = f"{interface}:gtm"
    if address.version == 4 and len(label) <= _LABEL_MAX:
        attributes += _attribute(_IFA_LABEL, label.encode() + b"\0")
    if address.version == 6:
        attributes += _attribute(_IFA_FLAGS, struct.pack("=I", _NODAD))
    body = _head(interface, address) + attributes
    _do(_NEWADDR, _REQUEST | _ACK | _CREATE | _REPLACE, body, f"put {address} on {interface}", errno.EEXIST)


def take_off(interface: str, address: IPAddress) -> None:
    """Have an address not on an interface; nothing if it is not there. Raises GtmError."""
    body = _head(interface, address) + _attribute(_IFA_LOCAL, address.packed)
    _do(_DELADDR, _REQUEST | _ACK, body, f"take {address} off {interface}", errno.EADDRNOTAVAIL)


def _head(interface: str, address: IPAddress) -> bytes:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    return _IFADDR.pack(family, address.max_prefixlen, 0, 0, _index(interface))


def _index(interface: str) -> int:
    try:
        return socket.if_nametoindex(interface)
    except OSError as error:
        raise GtmError(f"there is no interface {interface}") from error


def _message(kind: int, flags: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, 1, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


@contextlib.contextmanager
def _talking(what: str) -> Iterator[socket.socket]:
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
            sock.settimeout(_ANSWER_S)
            yield sock
    except OSError as error:
        hint = " (it takes CAP_NET_ADMIN)" if error.errno == errno.EPERM else ""
        raise GtmError(f"{what}: {error.strerror or error}{hint}") from error


def _do(kind: int, flags: int, body: bytes, what: str, fine: int) -> None:
    """Ask for a change and wait for the kernel's word; the error `fine` is as good as none."""
    with _talking(what) as sock:
        sock.send(_message(kind, flags, body))
        for answer, message in _messages(sock.recv(_READ_BYTES)):
            if answer == _ERROR and (code := -struct.unpack_from("=i", message)[0]) not in (0, fine):
                raise OSError(code, os.strerror(code))


def _messages(data: bytes) -> Iterable[tuple[int, bytes]]:
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, at)
        yield kind, data[at + _HEADER.size : at + length]
        at += max(length + 3 & ~3, _HEADER.size)


def _addresses(sock: socket.socket, index: int) -> Iterator[IPAddress]:
    """Those of one interface, in the answer to a dump."""
    while True:
        for kind, message in _messages(sock.recv(_READ_BYTES)):
            if kind == _DONE:
                return
            if kind == _ERROR:
                code = -struct.unpack_from("=i", message)[0]
                raise OSError(code, os.strerror(code))
            if kind == _NEWADDR and _IFADDR.unpack_from(message)[4] == index:
                found = dict(_attributes(message[_IFADDR.size :]))
                value = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS)
                if value is not None:
                    yield ip_address(value)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind, data[at + _ATTRIBUTE.size : at + length]
        at += length + 3 & ~3
