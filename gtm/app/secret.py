"""The secret that weighted choices are keyed by: made once per state folder, so that a split survives restarts."""

from __future__ import annotations

import secrets
from pathlib import Path

from gtm.model.errors import StoreError
from gtm.publish.dns.sealed import replace

FILE = "secret"


def secret(state: Path) -> int:
    """The state folder's 64-bit secret; a new one if there is none, or none that can be read as one."""
    path = state / FILE
    try:
        return int(path.read_text(), 16) & (1 << 64) - 1
    except (FileNotFoundError, ValueError):
        value = secrets.randbits(64)
        replace(path, f"{value:016x}\n".encode())
        return value
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
