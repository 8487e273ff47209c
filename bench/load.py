"""Load for one UDP server: prebuilt queries offered at a fixed rate, every reply checked, latency from a sample.

Runs as a program of its own (`python -m bench.load`), pinned to the load's core inside the client's namespace. Its
queries lie in one array, query number k at row k with DNS message ID k, all of one length; so `send()` of a slice of
the array with UDP_SEGMENT (the kernel cuts it into datagrams) offers dozens of queries for one system call, and a
reply's ID leads to what it should have been.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import socket
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

SOL_UDP = 17
UDP_SEGMENT = 103
SO_RCVBUFFORCE = 33
SO_SNDBUFFORCE = 32
SO_TIMESTAMPNS = 35
SEGMENTS_MAX = 48
BATCH = 256
SLOT = 512
CONTROL = 64

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one load saw.

    Rates are per second of the sending time, replies that came after it not counted. `wrong` counts replies that were
    not as expected, `unknown` those with an ID that was never asked; latencies are from just before the send call to
    the kernel's receive stamp, so they include the queueing behind the other queries of one burst.
    """

    sent: int
    replies: int
    wrong: int
    unknown: int
    seconds: float
    offered_per_s: float
    answers_per_s: float
    p50_us: float | None
    p99_us: float | None
    p999_us: float | None
    wrong_sample: str | None = None


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Msghdr(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("namelen", ctypes.c_uint32),
        ("iov", ctypes.c_void_p),
        ("iovlen", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Mmsghdr(ctypes.Structure):
    _fields_ = (("header", _Msghdr), ("length", ctypes.c_uint32))


class Receiver:
    """Up to BATCH datagrams per call by recvmmsg(2), with the kernel's receive times, as numpy views."""

    def __init__(self, sock: socket.socket, *, stamped: bool) -> None:
        self.data: Bytes = np.zeros((BATCH, SLOT), dtype=np.uint8)
        self._control: Bytes = np.zeros((BATCH, CONTROL), dtype=np.uint8)
        self._iov = (_Iovec * BATCH)()
        self._messages = (_Mmsghdr * BATCH)()
        self._fd = sock.fileno()
        self._stamped = stamped
        for index in range(BATCH):
            self._iov[index].base = self.data.ctypes.data + index * SLOT
            self._iov[index].length = SLOT
            header = self._messages[index].header
            header.iov = ctypes.addressof(self._iov) + index * ctypes.sizeof(_Iovec)
            header.iovlen = 1
            if stamped:
                header.control = self._control.ctypes.data + index * CONTROL
                header.controllen = CONTROL
        raw = np.frombuffer(memoryview(self._messages).cast("B"), dtype=np.uint8).reshape(
            BATCH, ctypes.sizeof(_Mmsghdr)
        )
        self._controllen = raw[:, _Msghdr.controllen.offset : _Msghdr.controllen.offset + 8].view(np.uint64)
        self.lengths = raw[:, _Mmsghdr.length.offset : _Mmsghdr.length.offset + 4].view(np.uint32)[:, 0]
        self._stamps = self._control[:, 16:32].view(np.int64)  # struct cmsghdr is 16 bytes, then struct timespec
        libc = ctypes.CDLL(None, use_errno=True)
        self._recvmmsg = libc.recvmmsg
        self._recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
        self._address = ctypes.addressof(self._messages)

    def take(self) -> int:
        """How many datagrams were read, without waiting; they are the first rows of `data`."""
        if self._stamped:
            self._controllen[:] = CONTROL
        return max(0, self._recvmmsg(self._fd, self._address, BATCH, socket.MSG_DONTWAIT, None))

    def stamps_ns(self, count: int) -> npt.NDArray[np.int64]:
        """The receive times of the last `count` datagrams, in CLOCK_REALTIME nanoseconds."""
        return self._stamps[:count, 0] * 1_000_000_000 + self._stamps[:count, 1]


class Checker:
    """Tells right replies from wrong: NOERROR, AA, one answer, an A record with the expected address.

    `expected` is a uint32 per query. `answer_at` is where the answer section starts (after the question). Replies from
    any server look alike there, since all of them point to the question's name for the owner.
    """

    def __init__(self, expected: npt.NDArray[np.uint32], answer_at: int) -> None:
        self._expected = expected
        self._at = answer_at
        self._flags = np.array([0x84, 0x00], dtype=np.uint8)
        self._fixed = np.array([0, 1, 0, 1], dtype=np.uint8)  # QDCOUNT 1, ANCOUNT 1
        self._owner = np.array([0xC0, 0x0C, 0, 1, 0, 1], dtype=np.uint8)  # pointer, A, IN

    def right(self, data: Bytes, ids: npt.NDArray[np.uint16]) -> npt.NDArray[np.bool_]:
        """Which of the replies (rows of `data`) are as expected."""
        at = self._at
        address = data[:, at + 12 : at + 16].copy().view(">u4")[:, 0]
        return (
            (address == self._expected[ids])
            & (data[:, 2] & 0xFE == self._flags[0])
            & (data[:, 3] & 0x0F == 0)
            & (data[:, 4:8] == self._fixed).all(axis=1)
            & (data[:, at : at + 6] == self._owner).all(axis=1)
        )


def offer(
    target: tuple[str, int],
    packets: Bytes,
    checker: Checker | None,
    *,
    rate: int,
    seconds: float,
    segments: int | None = None,
    settle_s: float = 0.3,
) -> Outcome:
    """Offer `rate` queries a second for `seconds` and say what came back. `checker` None: count only.

    `segments` is how many queries go out back to back; by default so many as keep the send calls below 8,000 a second
    at full load.
    """
    count, length = packets.shape
    burst = segments or max(1, min(SEGMENTS_MAX, -(-rate // 8000)))
    rows = count - count % burst
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
    sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 16 << 20)
    stamped = checker is not None
    if stamped:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    if burst > 1:
        sock.setsockopt(SOL_UDP, UDP_SEGMENT, length)
    sock.connect(target)
    receiver = Receiver(sock, stamped=stamped)
    slices = [packets[at : at + burst].data.cast("B") for at in range(0, rows, burst)]
    sent_ns = np.zeros(count, dtype=np.int64)
    latencies: list[npt.NDArray[np.int64]] = []
    replies = in_time = wrong = unknown = sent = turn = 0
    sample: str | None = None
    gap_ns = int(1e9 * burst / rate)
    start = time.monotonic_ns()
    end = start + int(seconds * 1e9)
    end_stamp = time.time_ns() + int(seconds * 1e9)
    due = start
    closing = end + int(settle_s * 1e9)
    while True:
        now = time.monotonic_ns()
        if now >= closing:
            break
        if due <= now < end:
            at = turn * burst
            sent_ns[at : at + burst] = time.time_ns()
            sock.send(slices[turn])
            sent += burst
            turn = turn + 1 if turn + 1 < len(slices) else 0
            # A generator that cannot keep up must not make up for it in one burst: it offers less, and says so.
            due = max(due + gap_ns, now - 20 * gap_ns)
        got = receiver.take()
        if not got:
            continue
        replies += got
        if checker is None:
            in_time += got if now < end else 0
            continue
        stamps = receiver.stamps_ns(got)
        in_time += got if now < end else int((stamps < end_stamp).sum())
        data = receiver.data[:got]
        ids = data[:, 0].astype(np.uint16) << np.uint16(8) | data[:, 1]
        known = ids < rows
        if not known.all():
            unknown += int((~known).sum())
            ids = np.where(known, ids, 0).astype(np.uint16)
        good = checker.right(data, ids) & (receiver.lengths[:got] >= length)
        if not good.all():
            wrong += int((~good).sum())
            if sample is None:
                row = int(np.flatnonzero(~good)[0])
                sample = bytes(data[row, : int(receiver.lengths[row])]).hex()
        latencies.append(stamps - sent_ns[ids])
    sock.close()
    quantiles: list[float | None] = [None, None, None]
    if latencies:
        quantiles = [float(q) / 1000 for q in np.quantile(np.concatenate(latencies), (0.5, 0.99, 0.999))]
    return Outcome(
        sent=sent,
        replies=replies,
        wrong=wrong,
        unknown=unknown,
        seconds=seconds,
        offered_per_s=sent / seconds,
        answers_per_s=in_time / seconds,
        p50_us=quantiles[0],
        p99_us=quantiles[1],
        p999_us=quantiles[2],
        wrong_sample=sample,
    )


def main() -> int:
    """The program: reads a file that bench.question.save wrote, offers its queries, prints the outcome as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="queries and expected answers (.npz)")
    parser.add_argument("server", help="ADDR:PORT")
    parser.add_argument("--rate", type=int, required=True, help="queries offered per second")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--segments", type=int, help="queries per system call (default: by the rate)")
    parser.add_argument("--unchecked", action="store_true", help="count replies only")
    arguments = parser.parse_args()
    host, _, port = arguments.server.rpartition(":")
    with np.load(arguments.file) as stored:
        packets = np.ascontiguousarray(stored["packets"])
        checker = None if arguments.unchecked else Checker(stored["expected"], int(stored["answer_at"]))
    outcome = offer(
        (host, int(port)),
        packets,
        checker,
        rate=arguments.rate,
        seconds=arguments.seconds,
        segments=arguments.segments,
    )
    json.dump(asdict(outcome), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
