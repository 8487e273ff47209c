"""What the kernel knows of a TCP connection: the parts of `struct tcp_info` (linux/tcp.h) that tell a round-trip time.

The least time is taken, not the smoothed one: queues and delayed acknowledgements (40 ms and more, on connections
that carry one answer) only ever add. The kernel takes no time from what it had to send twice (Karn) unless a
timestamp option tells the copies apart (RFC 7323 4).
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

SIZE = 160  # up to and with tcpi_data_segs_out, which Linux has had since 4.6; later kernels only append
# state at 0, last_ack_recv at 56, rtt at 68, total_retrans at 100, bytes_received at 128, min_rtt at 148,
# data_segs_in at 152, data_segs_out at 156
_FIELDS = struct.Struct("=B55xI8xI28xI24xQ12xIII")
_NONE = 0xFFFFFFFF  # of min_rtt: nothing measured yet


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """One connection now. `smoothed_s` and `least_s` are round-trip times, the latter None where none was measured.

    `quiet_s` is how long ago the last acknowledgement came. `resent` counts segments that were sent again.
    """

    state: int
    quiet_s: float
    smoothed_s: float
    resent: int
    received_bytes: int
    least_s: float | None
    segments_in: int
    segments_out: int


def parse(raw: bytes) -> TcpInfo | None:
    """What is in a tcp_info, or None if the kernel is older than Linux 4.6."""
    if len(raw) < SIZE:
        return None
    state, quiet_ms, rtt_us, resent, received, least_us, segments_in, segments_out = _FIELDS.unpack_from(raw)
    least_s = None if least_us in {0, _NONE} else least_us / 1e6
    return TcpInfo(state, quiet_ms / 1e3, rtt_us / 1e6, resent, received, least_s, segments_in, segments_out)


def of(sock: socket.socket) -> TcpInfo | None:
    """A connected TCP socket's, or None if the kernel does not tell. Raises OSError."""
    return parse(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, SIZE))


def clean_s(info: TcpInfo | None) -> float | None:
    """The least round-trip time of a connection on which nothing was sent twice, in seconds."""
    return info.least_s if info is not None and info.resent == 0 else None
