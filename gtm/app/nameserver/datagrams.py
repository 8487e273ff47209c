"""UDP: take what has come, answer it, come back. Two loops: one per kind of listening address."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from functools import partial

from gtm.app.nameserver import counters as c
from gtm.app.nameserver.answerer import Answerer
from gtm.app.nameserver.sockets import IP_PKTINFO
from gtm.model.address import Endpoint

BATCH = 64  # datagrams per turn: long enough to save the poll, short enough for TCP and reloads to get theirs
QUERY_MAX_BYTES = 4096
_ANCILLARY_BYTES = 64


def receiver(sock: socket.socket, endpoint: Endpoint, answerer: Answerer, counters: memoryview) -> Callable[[], None]:
    """A function that takes up to BATCH queries from a socket and answers them. It never raises and never blocks."""
    packed = socket.inet_aton if endpoint.address.version == 4 else _packed6
    word = c.UDP4 if endpoint.address.version == 4 else c.UDP6
    take = _any_address if endpoint.address.is_unspecified else _one_address
    return partial(take, sock, packed, word, answerer, counters)


def _one_address(
    sock: socket.socket, packed: Callable[[str], bytes], word: int, answerer: Answerer, counters: memoryview
) -> None:
    receive, send, fast, full, seed = sock.recvfrom, sock.sendto, answerer.fast, answerer.full, answerer.seed
    for _ in range(BATCH):
        try:
            query, peer = receive(QUERY_MAX_BYTES)
        except BlockingIOError:
            return
        except OSError:  # an ICMP error of an earlier answer
            continue
        counters[word] += 1
        reply = fast(query, packed(peer[0]), seed)
        if reply is not None:
            counters[c.FAST] += 1
            counters[c.RCODE + (reply[3] & 15)] += 1
        else:
            reply = full(query, packed(peer[0]))
            if reply is None:
                continue
        try:
            send(reply, peer)
        except OSError:  # no route, no buffer, source port 0: the client asks again
            counters[c.SEND_ERRORS] += 1


def _any_address(
    sock: socket.socket, packed: Callable[[str], bytes], word: int, answerer: Answerer, counters: memoryview
) -> None:
    """As above, answering from the address that was asked (RFC 1123 6.1.3.3, RFC 3542 6)."""
    for _ in range(BATCH):
        try:
            query, ancillary, _, peer = sock.recvmsg(QUERY_MAX_BYTES, _ANCILLARY_BYTES)
        except BlockingIOError:
            return
        except OSError:
            continue
        counters[word] += 1
        reply = answerer.fast(query, packed(peer[0]), answerer.seed)
        if reply is not None:
            counters[c.FAST] += 1
            counters[c.RCODE + (reply[3] & 15)] += 1
        else:
            reply = answerer.full(query, packed(peer[0]))
            if reply is None:
                continue
        try:
            sock.sendmsg([reply], [_from_there(one) for one in ancillary], 0, peer)
        except OSError:
            counters[c.SEND_ERRORS] += 1


def _from_there(ancillary: tuple[int, int, bytes]) -> tuple[int, int, bytes]:
    """The packet information of a query, turned into that of its answer: same local address, any interface."""
    level, kind, data = ancillary
    if level == socket.IPPROTO_IP and kind == IP_PKTINFO:
        _, local, _ = struct.unpack("=I4s4s", data)
        return level, kind, struct.pack("=I4s4s", 0, local, bytes(4))
    return level, kind, data


def _packed6(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, text.partition("%")[0])
