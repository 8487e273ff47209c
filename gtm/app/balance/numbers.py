"""Numbers by name, in a file of the state folder: what the kernel's tables and counters know backends and rings by."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from gtm.model.errors import StoreError
from gtm.publish.dns import sealed


class Numbers:
    """The numbers of names, from a range. A name keeps its number when it goes and comes back.

    What is gone longest gives its number to a new name, and only when no number is left that nobody had, and while
    nothing means the old one by it any more.
    """

    def __init__(self, path: Path, span: range, *, write: bool = True) -> None:
        """What the file says; nothing where there is none. Without `write` it stays as it is."""
        self._write = write
        self._lock = threading.Lock()
        self._path = path
        self._span = span
        self._known = {name: number for name, number in _read(path).items() if number in span}  # gone longest first

    def of(self, names: Iterable[str], *, meant: Callable[[], Collection[int]] = tuple) -> dict[str, int]:
        """The number of each name; kept before it is given out. Raises StoreError.

        `meant` tells which numbers slots or flows still hold; it is asked only when one must be given anew.
        """
        with self._lock:
            return self._of(tuple(dict.fromkeys(names)), meant)

    def held(self, names: Iterable[str]) -> dict[str, int]:
        """The numbers of those names that have one; nothing is given or kept."""
        known = self._known
        return {name: known[name] for name in names if name in known}

    def _of(self, wanted: tuple[str, ...], meant: Callable[[], Collection[int]]) -> dict[str, int]:
        if len(wanted) > len(self._span):
            raise StoreError(f"{self._path}: {len(wanted)} names, and numbers for {len(self._span)}")
        known = {name: number for name, number in self._known.items() if name not in wanted}
        taken = set(self._known.values())
        fresh = (number for number in self._span if number not in taken)
        found: dict[str, int] = {}
        for name in wanted:
            number = self._known.get(name)
            if number is None and (number := next(fresh, None)) is None:
                busy = set(meant())
                if (gone := next((each for each, had in known.items() if had not in busy), None)) is None:
                    raise StoreError(
                        f"{self._path}: no number for {name}: tables still hold those of all that are gone"
                    )
                number = known.pop(gone)
            found[name] = number
        known |= found
        if list(known.items()) != list(self._known.items()) and self._write:
            sealed.replace(self._path, json.dumps(known, indent=1).encode() + b"\n")
        self._known = known
        return found


def _read(path: Path) -> dict[str, int]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: number for name, number in found.items() if isinstance(number, int)}
