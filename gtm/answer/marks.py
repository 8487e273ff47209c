"""Marks: where answering notes which steered sets are asked."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Words(Protocol):
    """A number for each set: an array, or memory that is mapped."""

    def __setitem__(self, number: int, value: int, /) -> None:
        """Put a value."""


class Marks(NamedTuple):
    """`now` is put at the number of a set whenever it is looked up. What is remembered is not looked up again."""

    of_set: Words
    now: int


def unread(sets: int) -> Marks:
    """Marks that nobody reads, for so many sets: an assignment costs less than asking whether to make one."""
    return Marks(bytearray(sets), 0)
