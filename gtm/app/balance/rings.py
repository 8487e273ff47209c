"""A service's Maglev table as it changes: who owns each slot, whose flows are still on it, and when that is over."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gtm.decide.balance import SLOT_BACKEND, SLOT_PREVIOUS_SHIFT, SLOT_TRANSITION

Slots = NDArray[np.uint32]


def turned(held: Slots | None, wanted: ArrayLike, *, keeping: Collection[int]) -> Slots:
    """Slots that lead new flows as `wanted` says, and leave the others where they are.

    `keeping` are the numbers of backends that are alive, draining ones too. The oldest owner of a slot that is among
    them stays the previous one, whatever number of changes follow: packets of flows that nobody knows are its. Flows
    that began since are in the flow table, and found there while the bit is set. Without slots, or with another number
    of them, there is nothing to keep.
    """
    current = np.asarray(wanted, np.uint32)
    if held is None or len(held) != len(current):
        return current.copy()
    alive = np.zeros(1 << SLOT_PREVIOUS_SHIFT, bool)
    alive[[number for number in keeping if number]] = True
    was, previous, turning = held & SLOT_BACKEND, held >> SLOT_PREVIOUS_SHIFT, held & SLOT_TRANSITION != 0
    unknown = np.where(turning & alive[previous], previous, was)  # whose flows those are that nobody knows
    # A bit that is set stays: flows in the table may belong to somebody who was in between.
    moves = turning | alive[unknown] & (unknown != current)
    before = np.where(alive[unknown], unknown, current)
    second_chance = np.where(was != current, was, previous)
    found: Slots = np.where(
        moves,
        current | SLOT_TRANSITION | before << SLOT_PREVIOUS_SHIFT,
        current | second_chance << SLOT_PREVIOUS_SHIFT,
    ).astype(np.uint32)
    return found


def settled(held: Slots) -> Slots:
    """The slots when a change is over: the bits cleared, the previous owners left as second chances."""
    return held & np.uint32(~np.uint32(SLOT_TRANSITION))


def moving(held: Slots) -> int:
    """How many slots are in transition."""
    return int(np.count_nonzero(held & SLOT_TRANSITION))
