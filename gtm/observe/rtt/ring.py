"""Rings of what DNS workers measured: a file of fixed size per worker, which it maps and writes without locks.

One worker writes entries and `head`, one reader writes `tail` and `pulse`; each word has one writer. An entry carries
its number and a checksum, so one that is being written, or written over, is never taken for whole, in whatever order
another core sees the writes. Nobody's address is kept unless somebody reads: a writer records only while the pulse is
fresh.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from gtm.model.errors import StoreError
from gtm.model.rtt import RttSample
from gtm.observe.rtt.network import Width, unmapped

SUFFIX = ".rtts"
ENTRIES = 4096
PULSE_MAX_S = 60  # older than that, nobody reads

_MAGIC = int.from_bytes(b"gtm-rtt1", "little")
_HEAD, _TAIL, _PULSE = 1, 2, 3  # words of the header; word 0 is the magic
_HEADER_BYTES = 64
_ENTRY = struct.Struct("=QQ16sI")  # number from 1, wall time in us, address (IPv4 mapped), round trip in us
_CHECK = struct.Struct("=I")
_ENTRY_BYTES = _ENTRY.size + _CHECK.size
_BYTES = _HEADER_BYTES + ENTRIES * _ENTRY_BYTES
_US_MAX = 0xFFFFFFFF
_V4_MAPPED = bytes(10) + b"\xff\xff"


@dataclass(frozen=True, slots=True)
class Measured:
    """One entry: a client's address (4 octets or 16), its round-trip time, and when, seconds since the epoch."""

    address: bytes
    rtt_s: float
    at_s: float


class RingWriter:
    """A worker's side of its ring."""

    def __init__(self, path: Path) -> None:
        """Map the ring of an earlier worker of the slot, or a new one. Raises StoreError."""
        try:
            if not _sound(path):
                _make(path)
            self._map = _mapped(path)
        except (OSError, ValueError) as error:
            raise StoreError(f"{path}: {error}") from error
        self._words = memoryview(self._map)[:_HEADER_BYTES].cast("Q")

    def wanted(self) -> bool:
        """Whether anybody reads."""
        return abs(_pulse_s() - self._words[_PULSE]) <= PULSE_MAX_S

    def put(self, measured: Measured) -> None:
        """Add an entry; the oldest is lost where the ring is full."""
        number = self._words[_HEAD]
        address = _V4_MAPPED + measured.address if len(measured.address) == 4 else measured.address
        rtt_us = min(round(measured.rtt_s * 1e6), _US_MAX)
        entry = _ENTRY.pack(number + 1, round(measured.at_s * 1e6), address, rtt_us)
        start = _HEADER_BYTES + number % ENTRIES * _ENTRY_BYTES
        self._map[start : start + _ENTRY_BYTES] = entry + _CHECK.pack(crc32(entry))
        self._words[_HEAD] = number + 1


class RingReader:
    """The controller's side of one ring. `lost` counts entries that were written over before they were read."""

    def __init__(self, path: Path) -> None:
        """Map a ring; what an earlier reader has read is not read again. Raises StoreError."""
        try:
            if not _sound(path):
                raise StoreError(f"{path}: not a ring of round-trip times")
            self.identity = _identity(path)
            self._map = _mapped(path)
        except (OSError, ValueError) as error:
            raise StoreError(f"{path}: {error}") from error
        self._words = memoryview(self._map)[:_HEADER_BYTES].cast("Q")
        self.lost = 0

    def read(self) -> list[Measured]:
        """The whole entries that are new, oldest first; and tell the writer that somebody reads."""
        self._words[_PULSE] = _pulse_s()
        head, tail = self._words[_HEAD], self._words[_TAIL]
        first = max(min(tail, head), head - ENTRIES)
        self.lost += first - min(tail, head)
        found = [entry for number in range(first, head) if (entry := self._entry(number)) is not None]
        self.lost += head - first - len(found)
        self._words[_TAIL] = head
        return found

    def _entry(self, number: int) -> Measured | None:
        start = _HEADER_BYTES + number % ENTRIES * _ENTRY_BYTES
        raw = self._map[start : start + _ENTRY_BYTES]
        if _CHECK.unpack_from(raw, _ENTRY.size)[0] != crc32(raw[: _ENTRY.size]):
            return None
        written, at_us, address, rtt_us = _ENTRY.unpack_from(raw)
        return Measured(address, rtt_us / 1e6, at_us / 1e6) if written == number + 1 else None


class RttRing:
    """All rings in a folder, as samples of one region. `lost` counts what came too fast to be read."""

    def __init__(self, folder: Path, region: str, width: Width | None = None) -> None:
        """Nothing is opened yet: workers come and go."""
        self._folder = folder
        self._region = region
        self._width = width or Width()
        self._readers: dict[Path, RingReader] = {}
        self.lost = 0

    def drain(self) -> list[RttSample]:
        """What workers have measured since the last call; a file that is no ring, or gone, is passed over."""
        samples: list[RttSample] = []
        self._follow()
        for reader in self._readers.values():
            lost = reader.lost
            samples += map(self._sample, reader.read())
            self.lost += reader.lost - lost
        return samples

    def _follow(self) -> None:
        """Have a reader for each ring there is now; a file that took another's place is another ring."""
        there = set(self._folder.glob(f"*{SUFFIX}"))
        for gone in self._readers.keys() - there:
            del self._readers[gone]
        for path in there:
            reader = self._readers.get(path)
            try:
                if reader is None or reader.identity != _identity(path):
                    self._readers[path] = RingReader(path)
            except (OSError, StoreError):
                self._readers.pop(path, None)

    def _sample(self, measured: Measured) -> RttSample:
        network = self._width.network(unmapped(measured.address))
        return RttSample(network=network, region=self._region, rtt_s=measured.rtt_s, at_s=measured.at_s)


def _sound(path: Path) -> bool:
    """Whether a file is a ring of this form."""
    try:
        with path.open("rb") as file:
            return path.stat().st_size == _BYTES and int.from_bytes(file.read(8), "little") == _MAGIC
    except OSError:  # absent, or left by another account
        return False


def _make(path: Path) -> None:
    """An empty ring in place of whatever is there. It is filled: a hole could not be written to on a full disk."""
    new = path.with_name(f"{path.name}.{os.getpid()}")
    new.write_bytes(_MAGIC.to_bytes(8, "little") + bytes(_BYTES - 8))
    new.chmod(0o600)  # addresses of clients
    new.replace(path)


def _mapped(path: Path) -> mmap.mmap:
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), _BYTES)


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _pulse_s() -> int:
    """Seconds on a clock that nobody sets and that all processes share."""
    return int(time.monotonic())
