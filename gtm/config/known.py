"""What may be referred to: the names that a file writes down."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Names in file order, those with faults of their own too, so that one mistake is reported once.

    Where the file that has them cannot be read (`complete` is false), every name counts as known.
    """

    names: tuple[str, ...] = ()
    complete: bool = True

    def __contains__(self, name: str) -> bool:
        return not self.complete or name in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)
