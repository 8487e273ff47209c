"""Captured frames as a pcap file (draft-ietf-opsawg-pcap), for tcpdump and Wireshark; times to the nanosecond."""

from __future__ import annotations

from struct import pack
from typing import BinaryIO

MAGIC_NS, ETHERNET = 0xA1B23C4D, 1


class Pcap:
    """Writes frames to a file that is open; its header at once."""

    def __init__(self, file: BinaryIO, *, snap_bytes: int) -> None:
        """`snap_bytes` is the most that is kept of a frame."""
        self._file = file
        file.write(pack("<IHHiIII", MAGIC_NS, 2, 4, 0, 0, snap_bytes, ETHERNET))

    def frame(self, captured: bytes, *, length: int, at_ns: int) -> None:
        """Write what was captured of a frame that was `length` octets long; `at_ns` since the epoch."""
        seconds, rest_ns = divmod(at_ns, 1_000_000_000)
        self._file.write(pack("<IIII", seconds & 0xFFFFFFFF, rest_ns, len(captured), length) + captured)
