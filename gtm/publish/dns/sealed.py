"""Sealed files: written whole or not at all, and checked before they are believed.

A file is a line `gtm KIND PYTHON`, a BLAKE2b digest of the rest, and the payload. Payloads are `marshal` (plain
containers; quick, and tied to the Python version that the first line names) or pickles of model values.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import os
import pickle
import pkgutil
import sys
import tempfile
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

import gtm.model
from gtm.model.errors import StoreError

_PYTHON = f"{sys.implementation.name}-{sys.version_info.major}.{sys.version_info.minor}"
_DIGEST_BYTES = 16


def digest(payload: bytes) -> bytes:
    """The digest that seals a payload."""
    return hashlib.blake2b(payload, digest_size=_DIGEST_BYTES).digest()


def write(path: Path, kind: str, payload: bytes) -> None:
    """Write a sealed file by way of a temporary one, so that readers see the old file or the new one."""
    replace(path, _head(kind) + digest(payload) + payload)


def replace(path: Path, data: bytes) -> None:
    """Put a file in place atomically, readable by its owner and group. Raises StoreError."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                os.fchmod(handle, 0o640)  # the folder's group may be that of workers which dropped privileges
                file.write(data)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error


def read(path: Path, kind: str) -> memoryview:
    """The payload of a sealed file. Raises StoreError if it is missing, another kind, torn or altered."""
    try:
        data = memoryview(path.read_bytes())
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    head = _head(kind)
    start = len(head) + _DIGEST_BYTES
    payload = data[start:]
    if bytes(data[: len(head)]) != head:
        raise StoreError(f"{path}: not a {kind} file of {_PYTHON}")
    if bytes(data[len(head) : start]) != digest(payload):  # type: ignore[arg-type]
        raise StoreError(f"{path}: damaged")
    return payload


def _head(kind: str) -> bytes:
    return f"gtm {kind} {_PYTHON}\n".encode()


class _ModelUnpickler(pickle.Unpickler):
    """Unpickles values of the model and nothing else, so that a state file can say things but not do things."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - the base class's own type
        if module.startswith("gtm.model.") or module == "ipaddress" or (module, name) == ("builtins", "frozenset"):
            return super().find_class(module, name)
        raise StoreError(f"a state file asks for {module}.{name}")


def thaw(payload: memoryview) -> Any:  # noqa: ANN401 - the caller knows what it froze
    """The model values in a payload. Raises StoreError for anything else."""
    if bytes(payload[:_DIGEST_BYTES]) != _shapes():
        raise StoreError("state file: written by another version of gtm")
    try:
        return _ModelUnpickler(io.BytesIO(payload[_DIGEST_BYTES:])).load()
    except (pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError, TypeError, ValueError) as error:
        raise StoreError(f"state file: {error}") from error


class _ModelPickler(pickle.Pickler):
    """Pickles enum members by value: some releases of Python 3.11 would do it through `getattr`, which thaw refuses."""

    def reducer_override(self, value: object) -> Any:  # noqa: ANN401 - the base class's own type
        return (type(value), (value.value,)) if isinstance(value, Enum) else NotImplemented


def freeze(value: object) -> bytes:
    """Model values as a payload."""
    payload = io.BytesIO(_shapes())
    payload.seek(0, io.SEEK_END)
    _ModelPickler(payload, protocol=5).dump(value)
    return payload.getvalue()


@cache
def _shapes() -> bytes:
    """A digest of the fields of all model values: a pickle of others loads without complaint but lacks some of them."""
    shapes = []
    for found in pkgutil.iter_modules(gtm.model.__path__):
        module = importlib.import_module(f"{gtm.model.__name__}.{found.name}")
        for name, kind in sorted(vars(module).items()):
            if isinstance(kind, type) and kind.__module__ == module.__name__:
                names = (*getattr(kind, "__dataclass_fields__", ()), *getattr(kind, "_fields", ()))
                shapes.append(f"{found.name}.{name}({','.join(names)})")
    return digest("\n".join(shapes).encode())
