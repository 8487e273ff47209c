"""What the shared store said last, in a file: a node that restarts while the store is away goes on from there."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from gtm.model.errors import StoreError
from gtm.model.override import Override, Subject
from gtm.store.etcd.layout import decode_order, encode_order

MODE = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class Cached:
    """The orders as of a revision of the store under a prefix, and when that was (seconds since the epoch)."""

    prefix: str
    revision: int
    at_s: float
    overrides: tuple[Override, ...]


def save(path: Path, cached: Cached) -> None:
    """Write the file anew, whole or not at all. Raises StoreError."""
    document = {
        "prefix": cached.prefix,
        "revision": cached.revision,
        "at_s": cached.at_s,
        "overrides": {str(one.subject): json.loads(encode_order(one)) for one in cached.overrides},
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(document, file, ensure_ascii=False)
                file.flush()
                os.fchmod(file.fileno(), MODE)
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StoreError(f"{path}: {(error.strerror or str(error)).lower()}") from error


def load(path: Path, prefix: str) -> Cached | None:
    """What was saved under the same prefix; None if nothing was, or it makes no sense."""
    try:
        found = json.loads(path.read_text("utf-8"))
        if found["prefix"] != prefix:
            return None
        return Cached(
            prefix=prefix,
            revision=int(found["revision"]),
            at_s=float(found["at_s"]),
            overrides=tuple(
                decode_order(Subject.parse(subject), json.dumps(order).encode())
                for subject, order in found["overrides"].items()
            ),
        )
    except (OSError, StoreError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return None
