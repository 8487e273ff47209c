"""A file of named sections that is written whole or not at all, and memory-mapped without any library.

magic (8 bytes) | header length, header CRC-32 (uint32 each, little-endian) | header (JSON) | sections, each at a
multiple of 64. The header has `about` (the writer's own), `order` (the byte order of the sections' integers) and
`sections`: name -> [offset from the first section, size in bytes, CRC-32].
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gtm.model.errors import StoreError

_HEAD = struct.Struct("<8sII")
_ALIGN = 64
_HEADER_MAX = 256 << 20


class DamagedError(StoreError):
    """The file is cut short, changed, or of another kind or version: it has to be made again."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Contents:
    """A container's header and its sections, read-only and mapped."""

    about: dict[str, object]
    sections: Mapping[str, memoryview]


def _up(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


def write_container(
    path: Path, magic: bytes, about: Mapping[str, object], sections: Mapping[str, bytes | memoryview]
) -> None:
    """Writes the file beside `path`, syncs it, and renames it there. Raises StoreError."""
    places: dict[str, list[int]] = {}
    offset = 0
    for name, section in sections.items():
        raw = memoryview(section).cast("B")
        places[name] = [offset, len(raw), zlib.crc32(raw)]
        offset = _up(offset + len(raw))
    document = {"about": about, "order": sys.byteorder, "sections": places}
    header = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(_HEAD.pack(magic, len(header), zlib.crc32(header)) + header)
            base = _up(file.tell())
            for name, section in sections.items():
                file.seek(base + places[name][0])
                file.write(section)
            file.truncate(base + offset)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StoreError(f"{path}: cannot be written: {error.strerror}") from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def map_container(path: Path, magic: bytes, *, verify: bool) -> Contents:
    """The container's contents, mapped; with `verify` the sections' CRCs are checked too (1 ms per few MB).

    Raises DamagedError; StoreError where the file cannot be read; FileNotFoundError where there is none.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < _HEAD.size:
                raise DamagedError(f"{path}: is cut short at {size} bytes")
            mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error
    header = _header(path, mapped, magic)
    try:
        about = header["about"]
        base = _up(_HEAD.size + int.from_bytes(mapped[8:12], "little"))
        sections = {
            name: _section(path, mapped, name, (base + offset, size, crc if verify else None))
            for name, (offset, size, crc) in header["sections"].items()
        }
        if header["order"] != sys.byteorder:
            raise DamagedError(f"{path}: was written on a {header['order']}-endian machine")
        return Contents(about=dict(about), sections=sections)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DamagedError(f"{path}: its header is not that of this version") from error


def _header(path: Path, mapped: memoryview, magic: bytes) -> dict[str, Any]:
    found, length, crc = _HEAD.unpack(mapped[: _HEAD.size])
    if found != magic:
        raise DamagedError(f"{path}: is of another kind or version ({bytes(found)!r}, not {magic!r})")
    raw = mapped[_HEAD.size : _HEAD.size + length]
    if length > _HEADER_MAX or len(raw) != length or zlib.crc32(raw) != crc:
        raise DamagedError(f"{path}: its header is damaged or cut short")
    header = json.loads(bytes(raw))
    if not isinstance(header, dict):
        raise DamagedError(f"{path}: its header is not that of this version")
    return header


def _section(path: Path, mapped: memoryview, name: str, where: tuple[int, int, int | None]) -> memoryview:
    offset, size, crc = where
    section = mapped[offset : offset + size]
    if len(section) != size:
        raise DamagedError(f"{path}: is cut short in {name}")
    if crc is not None and zlib.crc32(section) != crc:
        raise DamagedError(f"{path}: {name} is damaged")
    return section
