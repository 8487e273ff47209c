"""A deployment file's text: read whole, with every reason why it cannot be text found and located."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from gtm.model.errors import ConfigError

SIZE_MAX_BYTES = 16 * 1024 * 1024

# What YAML 1.2 (5.1) allows in a stream, less the byte order mark inside a text.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


def read(path: Path) -> str | None:
    """The file's text without byte order mark, or None if there is no such file. Raises ConfigError."""
    file = str(path)
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError("is not a regular file", file=file)
        if found.st_size > SIZE_MAX_BYTES:
            raise ConfigError(
                f"is too large: {found.st_size} bytes", file=file, allowed=f"up to {SIZE_MAX_BYTES} bytes"
            )
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            raise ConfigError("is a link to a file that does not exist", file=file) from None
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot be read: {getattr(error, 'strerror', None) or error}", file=file) from error
    return decode(data, file)


def is_file(path: Path) -> bool:
    """Whether there is a file that can be looked at; never raises."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Whether there is a folder that can be looked at; never raises."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def decode(data: bytes, file: str) -> str:
    """The text of UTF-8 bytes. Raises ConfigError with the line of the first byte or character that is not allowed."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"byte 0x{data[error.start]:02x} is not UTF-8 text",
            file=file,
            line=_line(data[: error.start]),
            allowed="UTF-8",
        ) from None
    text = text.removeprefix("\ufeff")
    bad = _UNPRINTABLE.search(text)
    if bad is not None:
        raise ConfigError(
            f"control character U+{ord(bad.group()):04X}", file=file, line=_line(text[: bad.start()].encode())
        )
    return text


def _line(before: bytes) -> int:
    """The line number, from 1, of what follows `before`."""
    return before.count(b"\n") + 1
