"""Batches of datagrams: recvmmsg(2) and sendmmsg(2) over memory that is laid out once.

A call moves up to SIZE datagrams, and a client's address stays the octets that the kernel wrote: recvfrom and sendto
make text of it and parse that again. The memory is mmap objects, whose slices are bytes in one step. With a responder
that does nothing this was measured at 3.9 microseconds of CPU a query against 4.9 for recvfrom and sendto.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import socket
from ctypes import c_int, c_uint, c_void_p
from dataclasses import dataclass
from struct import Struct

SIZE = 64  # datagrams per call: long enough to save the calls, short enough for TCP and reloads to get their turn
QUERY_MAX_BYTES = 4096
REPLY_MAX_BYTES = 2048
_CONTROL_BYTES = 64

# struct mmsghdr of 64-bit Linux: name, namelen, iov, iovlen, control, controllen, flags | len
_MMSG = Struct("=QI4xQQQQi4xI4x")
_IOV = Struct("=QQ")
_LEN_WORD = 14  # of the sixteen 32-bit words of an mmsghdr
_CONTROLLEN_WORD = 5  # of its eight 64-bit words
_MSG_DONTWAIT = 0x40

_libc = ctypes.CDLL(None, use_errno=True)
_recvmmsg = _libc.recvmmsg
_recvmmsg.argtypes = (c_int, c_void_p, c_uint, c_int, c_void_p)
_sendmmsg = _libc.sendmmsg
_sendmmsg.argtypes = (c_int, c_void_p, c_uint, c_int)


@dataclass(frozen=True, slots=True)
class _Memory:
    """Anonymous memory: as an mmap, and where it is."""

    map: mmap.mmap
    at: int

    @classmethod
    def of(cls, size: int) -> _Memory:
        made = mmap.mmap(-1, size)
        return cls(made, ctypes.addressof(ctypes.c_char.from_buffer(made)))


class Batch:
    """One socket's batch. The loop that answers works on the memory itself:

    queries, replies   the datagrams; slot i begins at i * QUERY_MAX_BYTES and i * REPLY_MAX_BYTES
    names              the clients' socket addresses
    lengths            the lengths of queries, in 32-bit words
    reply_lengths      the lengths of replies, in 64-bit words
    slots              for each slot where all of these are: (query, its length's word, client's address, its end,
                       reply, its length's word)
    """

    def __init__(self, sock: socket.socket, *, with_control: bool) -> None:
        """For a bound UDP socket; `with_control` returns the packet information of a query with its answer."""
        six = sock.family == socket.AF_INET6
        name_bytes = 28 if six else 16
        address_at, address_end = (8, 24) if six else (4, 8)  # within sockaddr_in6, sockaddr_in
        self._number = sock.fileno()
        self._with_control = with_control
        self._interface_at = 32 if six else 16  # of the interface's index, within the one control message
        queries, replies = _Memory.of(SIZE * QUERY_MAX_BYTES), _Memory.of(SIZE * REPLY_MAX_BYTES)
        names, controls = _Memory.of(SIZE * name_bytes), _Memory.of(SIZE * _CONTROL_BYTES)
        in_iovs, out_iovs = _Memory.of(SIZE * _IOV.size), _Memory.of(SIZE * _IOV.size)
        incoming, outgoing = _Memory.of(SIZE * _MMSG.size), _Memory.of(SIZE * _MMSG.size)
        for slot in range(SIZE):
            name = names.at + slot * name_bytes
            control = controls.at + slot * _CONTROL_BYTES if with_control else 0
            control_bytes = _CONTROL_BYTES if with_control else 0
            for messages, iovs, data, most in (
                (incoming, in_iovs, queries.at + slot * QUERY_MAX_BYTES, QUERY_MAX_BYTES),
                (outgoing, out_iovs, replies.at + slot * REPLY_MAX_BYTES, 0),
            ):
                iov = slot * _IOV.size
                _IOV.pack_into(iovs.map, iov, data, most)
                message = (name, name_bytes, iovs.at + iov, 1, control, control_bytes, 0, 0)
                _MMSG.pack_into(messages.map, slot * _MMSG.size, *message)
        self.queries, self.replies, self.names = queries.map, replies.map, names.map
        self.lengths = memoryview(incoming.map).cast("I")
        self.reply_lengths = memoryview(out_iovs.map).cast("Q")
        self.slots = tuple(
            (
                slot * QUERY_MAX_BYTES,
                slot * 16 + _LEN_WORD,
                slot * name_bytes + address_at,
                slot * name_bytes + address_end,
                slot * REPLY_MAX_BYTES,
                slot * 2 + 1,
            )
            for slot in range(SIZE)
        )
        self._in_at, self._out_at = incoming.at, outgoing.at
        self._in_words, self._out_words = (memoryview(one.map).cast("Q") for one in (incoming, outgoing))
        self._controls = controls.map
        self._pointed_at = in_iovs  # by the kernel's structures alone

    def receive(self) -> int:
        """Take what waits, at most SIZE datagrams; how many. 0 where nothing does, or a past answer's error came up."""
        if not self._with_control:
            return max(0, int(_recvmmsg(self._number, self._in_at, SIZE, _MSG_DONTWAIT, None)))
        for slot in range(SIZE):
            self._in_words[slot * 8 + _CONTROLLEN_WORD] = _CONTROL_BYTES
        count = max(0, int(_recvmmsg(self._number, self._in_at, SIZE, _MSG_DONTWAIT, None)))
        for slot in range(count):  # answer from the address asked, by any interface (RFC 1123 6.1.3.3, RFC 3542 6)
            self._out_words[slot * 8 + _CONTROLLEN_WORD] = self._in_words[slot * 8 + _CONTROLLEN_WORD]
            index = slot * _CONTROL_BYTES + self._interface_at
            self._controls[index : index + 4] = bytes(4)
        return count

    def send(self, start: int, stop: int) -> int:
        """Send the replies of slots start to stop - 1; how many could not be sent.

        One that cannot (no route, no buffer, source port 0) is passed over: its client asks again.
        """
        failed = 0
        while start < stop:
            sent = _sendmmsg(self._number, self._out_at + start * _MMSG.size, stop - start, _MSG_DONTWAIT)
            if sent <= 0:
                if ctypes.get_errno() == errno.EINTR:
                    continue
                failed += 1
                sent = 1
            start += sent
        return failed
