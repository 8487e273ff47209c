"""Sockets as a nameserver needs them: shared by all workers, never fragmenting, answering from the address asked."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress

from gtm.model.address import Endpoint
from gtm.model.errors import GtmError

RECEIVE_BUFFER_BYTES = 4 << 20
BACKLOG = 1024
_IP_MTU_DISCOVER, _IP_PMTUDISC_OMIT = 10, 5
_IPV6_MTU_DISCOVER, _IPV6_PMTUDISC_OMIT = 23, 5
IP_PKTINFO = 8


def bind_udp(endpoint: Endpoint) -> socket.socket:
    """A non-blocking UDP socket. Raises GtmError if it cannot be had."""
    sock = _bound(endpoint, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    # Path MTU messages are forgeable; our answers fit 1232 octets, so the path's word is not needed (RFC 9715).
    with suppress(OSError):
        if endpoint.address.version == 4:
            sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_OMIT)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _IPV6_PMTUDISC_OMIT)
    if endpoint.address.is_unspecified:
        if endpoint.address.version == 4:
            sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    return sock


def bind_tcp(endpoint: Endpoint) -> socket.socket:
    """A non-blocking listening TCP socket. Raises GtmError if it cannot be had."""
    sock = _bound(endpoint, socket.SOCK_STREAM)
    with suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)
    sock.listen(BACKLOG)
    return sock


DNS_KINDS = (socket.SOCK_DGRAM, socket.SOCK_STREAM)


def claim(endpoint: Endpoint, *, shared: bool = False, kinds: Sequence[socket.SocketKind] = DNS_KINDS) -> None:
    """Check that nobody else serves an endpoint: SO_REUSEPORT alone would let two servers share it unnoticed.

    With `shared`, sockets of our own account are no obstacle: our workers may hold a wildcard address of that port.
    Raises GtmError that names the endpoint and the reason.
    """
    for kind in kinds:
        _bound(endpoint, kind, shared=shared).close()


def _bound(endpoint: Endpoint, kind: socket.SocketKind, *, shared: bool = True) -> socket.socket:
    family = socket.AF_INET if endpoint.address.version == 4 else socket.AF_INET6
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((str(endpoint.address), endpoint.port))
    except OSError as error:
        sock.close()
        protocol = "UDP" if kind == socket.SOCK_DGRAM else "TCP"
        raise GtmError(f"cannot listen on {endpoint} ({protocol}): {error.strerror}") from error
    return sock
