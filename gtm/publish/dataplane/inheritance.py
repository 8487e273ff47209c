"""Slots in transition of another instance: one that joins in the middle of a change must know whose flows nobody knows.

In words of Section.SLOTS the key is 31 bits of a digest of the service and the size of its table, and 17 of the slot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from gtm.model.sync import PAGE_WORDS_MAX
from gtm.publish.dataplane import layout
from gtm.wire.sync import digest48

Words = NDArray[np.uint64]
SLOT_BITS, NUMBER_BITS = 17, 16
NO_SLOT = (1 << SLOT_BITS) - 1  # a word that has seconds in the place of a backend: how long the change still lasts
SECONDS_MAX = layout.FLOW_BACKEND
_SLOT_BITS, _NUMBER_BITS = np.uint64(SLOT_BITS), np.uint64(NUMBER_BITS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A service's table of `size` slots: those that are in transition, the previous backend of each, for how long."""

    service: str
    size: int
    slots: NDArray[np.int64]
    previous: NDArray[np.uint32]
    left_s: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inheritance:
    """Slots of a service's table that are in transition for `left_s` more; the previous backend of each, 0 for none."""

    service: str
    slots: NDArray[np.int64]
    previous: NDArray[np.uint32]
    left_s: float


def words_of(change: Change) -> Words:
    """What another instance is told of a change. Each page says all by itself, as it begins with how long it lasts."""
    digest = _digest(change.service, change.size) << SLOT_BITS
    keys = np.uint64(digest) | change.slots.astype(np.uint64)
    words = keys << _NUMBER_BITS | change.previous.astype(np.uint64)
    seconds = np.clip(np.round(change.left_s), 0, SECONDS_MAX).astype(np.int64)
    told = []
    for lasting in np.unique(seconds).tolist():
        head = np.uint64((digest | NO_SLOT) << NUMBER_BITS | lasting)
        some = words[seconds == lasting]
        told.append(np.insert(some, np.arange(0, len(some), PAGE_WORDS_MAX - 1), head))
        told.append(np.full(-len(told[-1]) % PAGE_WORDS_MAX, head))
    return np.concatenate(told) if told else words


def inheritances(words: Words, sizes: Mapping[str, int], numbers: Callable[[Words], Words]) -> Iterator[Inheritance]:
    """What whole pages say of this instance's services, whose tables have these sizes.

    `numbers` are this instance's of the backends in words, 0 for one that is not known here: the slot is in transition
    all the same, for the sake of flows that are known.
    """
    services = {_digest(service, size): (service, size) for service, size in sizes.items()}
    heads = np.flatnonzero(words >> _NUMBER_BITS & np.uint64(NO_SLOT) == np.uint64(NO_SLOT)).tolist()
    for start, end in pairwise([*heads, len(words)]):
        head = int(words[start])
        service, size = services.get(head >> NUMBER_BITS + SLOT_BITS, ("", 0))
        told = words[start + 1 : end]
        slots = (told >> _NUMBER_BITS & np.uint64(NO_SLOT)).astype(np.int64)
        inside = slots < size
        if inside.any():
            yield Inheritance(
                service=service,
                slots=slots[inside],
                previous=numbers(told[inside]).astype(np.uint32),
                left_s=float(head & SECONDS_MAX),
            )


def _digest(service: str, size: int) -> int:
    return digest48(f"{service} {size}") & (1 << 48 - SLOT_BITS) - 1
