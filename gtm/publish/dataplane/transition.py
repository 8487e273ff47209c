"""The slots of a Maglev table across changes: who has each one, who had it before, and for how long that matters.

The program keeps no state of a flow but while its slot is in transition. Then a SYN goes to the current backend and is
learnt; a known flow stays where it is; and an unknown one, which is older than the transition, is the previous
backend's. So the previous one of a slot is always the oldest of those whose flows still have a right to them: later
owners got theirs while the slot was in transition, and these are known. The bit stays until nobody but the current one
has flows left: until a drain is over, a backend died, or `drain_s` after it lost the slot; a day where it lost it in
vain (BYSTANDERS_S).

Nothing here reads a clock: times are seconds of one that the caller chooses and keeps to.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gtm.decide.balance import SLOT_BACKEND, SLOT_PREVIOUS_SHIFT, SLOT_TRANSITION
from gtm.publish.dataplane import layout

Slots = NDArray[np.uint32]
Numbers = NDArray[np.uint16]
Rows = NDArray[np.int64]
Times = NDArray[np.float64]
Many = NDArray[np.bool_]

NOBODY = 0
SOMEBODY = SLOT_BACKEND  # no backend's number: one whose name is not known any more, but whose flows may be
OWNERS = 4  # of a slot that are kept apart; of more, the newer ones become SOMEBODY

BYSTANDERS_S = 86400.0  # longer than all but a few connections live

Living = Mapping[int, float | None]
"""The backends that packets can go to, by number: when the drain of one is over, None for one that does not drain.

As the program sees it: a number that is not here, or whose time has come, gets no packets.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """A table with its past. `slots` is what the kernel gets; the rest says how long which bits stay.

    `rows` are the slots that some earlier owner still has flows of, in order. `owner[k]` is the k-th oldest such owner
    of each (NOBODY where there are fewer), and `until_s[k]` when its flows' time is over, if it does not drain.
    """

    slots: Slots
    rows: Rows
    owner: Numbers
    until_s: Times

    @classmethod
    def fresh(cls, wanted: ArrayLike) -> Self:
        """A table without a past."""
        none = np.zeros((OWNERS, 0))
        slots = np.array(wanted, np.uint32)
        return cls(slots=slots, rows=np.zeros(0, np.int64), owner=none.astype(np.uint16), until_s=none)

    @classmethod
    def resumed(cls, slots: ArrayLike, living: Living, *, now_s: float, drain_s: float) -> Self:
        """The table that the kernel kept while nobody looked after it: what is in transition stays so for `drain_s`.

        The kernel knows no times, and of the owners between the oldest and the current one nothing at all; so the
        oldest one's time begins anew, and the others are SOMEBODY until the last drain is over.
        """
        kept = np.array(slots, np.uint32)
        rows = np.flatnonzero(kept & SLOT_TRANSITION)
        owner = np.zeros((OWNERS, len(rows)), np.uint16)
        owner[0] = kept[rows] >> SLOT_PREVIOUS_SHIFT
        owner[1] = SOMEBODY
        until_s = np.full((OWNERS, len(rows)), now_s + drain_s)
        until_s[1] = max([now_s + drain_s, *(deadline_s for deadline_s in living.values() if deadline_s is not None)])
        return cls(slots=kept, rows=rows, owner=owner, until_s=until_s)

    @property
    def current(self) -> Numbers:
        """Who has each slot."""
        return (self.slots & SLOT_BACKEND).astype(np.uint16)

    @property
    def moving(self) -> Many:
        """Which slots are in transition."""
        bits: Many = (self.slots & SLOT_TRANSITION) != 0
        return bits

    def numbers(self) -> frozenset[int]:
        """Every backend that the table names still, so that its number must not become another's."""
        named = (self.slots & SLOT_BACKEND, self.slots >> SLOT_PREVIOUS_SHIFT, self.owner.ravel())
        return frozenset(np.unique(np.concatenate([np.unique(each) for each in named])).tolist()) - {NOBODY, SOMEBODY}

    def due_s(self, living: Living) -> float | None:
        """When `settle` has something to do, if nobody dies before; None: nothing is in transition."""
        ends = _ends(self.owner, self.until_s, _deadlines(living))
        counts = (ends > -inf) & (self.owner != self.current[self.rows])
        return float(ends[counts].min()) if counts.any() else None


def change(
    ring: Ring,
    wanted: ArrayLike,
    living: Living,
    *,
    now_s: float,
    drain_s: float,
    bystanders: Collection[int] = (),
) -> Ring:
    """The table in which every slot has its wanted owner, and those that lose one keep their flows for `drain_s`.

    One that drains keeps them until its own deadline instead. Nothing is kept for who is not living. What goes from one
    of the `bystanders` to another (backends that the change is not about: Maglev moves less than 1 % of their slots all
    the same) is kept for BYSTANDERS_S: nobody asked for an end of these flows. `wanted` has as many slots as the ring:
    in a table of another size every flow has another slot (ValueError; a fresh one is needed).
    """
    new = np.asarray(wanted, np.uint16)
    if new.shape != ring.slots.shape:
        raise ValueError(f"a ring of {len(ring.slots)} slots cannot become one of {len(new)}")
    ring = settle(ring, living, now_s=now_s)
    deadlines, old = _deadlines(living), ring.current
    losing = np.flatnonzero((old != new) & (deadlines[old] > now_s))
    rows = np.union1d(ring.rows, losing)
    owner, until_s = (_spread(each, ring.rows, rows) for each in (ring.owner, ring.until_s))
    own_s = deadlines[old[losing]]
    apart = np.isin(old[losing], list(bystanders)) & np.isin(new[losing], list(bystanders))
    _push(
        owner,
        until_s,
        at=np.searchsorted(rows, losing),
        who=old[losing],
        end_s=np.where(own_s < inf, own_s, now_s + np.where(apart, max(drain_s, BYSTANDERS_S), drain_s)),
        deadlines=deadlines,
    )
    slots = (ring.slots & ~np.uint32(SLOT_BACKEND)) | new
    return settle(Ring(slots=slots, rows=rows, owner=owner, until_s=until_s), living, now_s=now_s)


def inherited(ring: Ring, slots: ArrayLike, previous: ArrayLike, *, until_s: float) -> Ring:
    """The ring with slots in transition that another instance has so: whose flows nobody knows are `previous`'s there.

    What is in transition here too stays as it is. As with `Ring.resumed`, owners in between are not known; nor is the
    oldest one, where `previous` is NOBODY. It may be who has the slot again.
    """
    at, before = np.asarray(slots, np.int64), np.asarray(previous, np.uint16)
    at, first = np.unique(at, return_index=True)
    fresh = ~np.isin(at, ring.rows)
    at, before = at[fresh], before[first][fresh]
    rows = np.union1d(ring.rows, at)
    owner, ends = (_spread(each, ring.rows, rows) for each in (ring.owner, ring.until_s))
    columns = np.searchsorted(rows, at)
    owner[0, columns], owner[1, columns], ends[:2, columns] = before, SOMEBODY, until_s
    new = ring.slots.copy()
    new[at] = ring.current[at] | np.uint32(SLOT_TRANSITION) | before.astype(np.uint32) << np.uint32(SLOT_PREVIOUS_SHIFT)
    return Ring(slots=new, rows=rows, owner=owner, until_s=ends)


def settle(ring: Ring, living: Living, *, now_s: float) -> Ring:
    """The ring without those whose time is over or who are dead: with another previous one, or no bit any more.

    Who has a slot again has all of its flows, however long it was without. A slot that leaves its transition keeps the
    last one that had it, while that one lives, as the second chance that GUE carries along.
    """
    deadlines, current = _deadlines(living), ring.current[ring.rows]
    lives = deadlines > now_s
    keeps = (_ends(ring.owner, ring.until_s, deadlines) > now_s) | ((ring.owner == current) & lives[ring.owner])
    owner, until_s = _compact(ring.owner, ring.until_s, keeps)
    others = ((owner != NOBODY) & (owner != current)).any(axis=0)
    oldest = _first(owner, (owner != NOBODY) & (owner != SOMEBODY))
    last = _first(
        ring.owner[::-1], (ring.owner != current)[::-1] & (ring.owner != SOMEBODY)[::-1] & lives[ring.owner][::-1]
    )
    slots = ring.slots.copy()
    kept = (slots[ring.rows] >> SLOT_PREVIOUS_SHIFT).astype(np.uint16)
    kept[kept == current] = NOBODY
    previous = np.where(others, oldest, np.where(last != NOBODY, last, kept)).astype(np.uint32)
    slots[ring.rows] = current | np.uint32(SLOT_TRANSITION) * others | previous << np.uint32(SLOT_PREVIOUS_SHIFT)
    slots[~lives[slots >> SLOT_PREVIOUS_SHIFT]] &= SLOT_BACKEND | SLOT_TRANSITION
    return Ring(slots=slots, rows=ring.rows[others], owner=owner[:, others], until_s=until_s[:, others])


def over(before: Ring, after: Ring) -> Many:
    """The slots whose transition ended."""
    return before.moving & ~after.moving


def forget(flows: NDArray[np.uint64], ended: Many, after: Ring, numbers: Collection[int]) -> int:
    """Takes the flows of slots whose transition `ended` out of the flow table, and returns how many these were.

    In a later transition they would count as known, and be wrong if their addresses and ports were used again. To be
    called when the kernel has the ring `after`; `numbers` are the backends of its service. A flow's word tells its slot
    but for 16 bits of the hash, so one that may be of a slot still in transition stays. Not for services that always
    track, whose flows are known in every slot.
    """
    ours = np.zeros(SLOT_BACKEND + 1, np.bool_)
    ours[list(numbers)] = True
    words = flows.reshape(-1)
    at = np.flatnonzero(ours[(words & np.uint64(layout.FLOW_BACKEND)).astype(np.int64)])
    known = (words[at] >> np.uint64(layout.FLOW_TAG_SHIFT)).astype(np.int64) & 0xFFFF  # bits 16-31 of the hash
    first, last = ((known << 16 | low) * len(ended) >> 32 for low in (0, 0xFFFF))
    moving = after.moving
    stale = at[(ended[first] | ended[last]) & ~moving[first] & ~moving[last]]
    words[stale] = 0
    return len(stale)


def _deadlines(living: Living) -> Times:
    """When each number's packets stop: at infinity for one that does not drain, never begun for one that is dead."""
    found = np.full(SLOT_BACKEND + 1, -inf)
    for number, deadline_s in living.items():
        found[number] = inf if deadline_s is None else deadline_s
    found[SOMEBODY] = inf
    return found


def _ends(owner: Numbers, until_s: Times, deadlines: Times) -> Times:
    """When the flows of each owner have no right to it any more."""
    own_s = deadlines[owner]
    return np.where(own_s < inf, own_s, until_s)


def _push(owner: Numbers, until_s: Times, *, at: Rows, who: Numbers, end_s: Times, deadlines: Times) -> None:
    """Adds the owners that lose the slots in columns `at`: to those that are there, or anew behind them."""
    for place in range(OWNERS):
        here = owner[place, at]
        mine = (here == who) | (here == NOBODY)
        owner[place, at[mine]], until_s[place, at[mine]] = who[mine], end_s[mine]
        at, who, end_s = at[~mine], who[~mine], end_s[~mine]
    ends = _ends(owner[-1, at], until_s[-1, at], deadlines)
    owner[-1, at], until_s[-1, at] = SOMEBODY, np.maximum(ends, end_s)


def _compact(owner: Numbers, until_s: Times, keeps: Many) -> tuple[Numbers, Times]:
    """Those that are kept, moved up in their order."""
    order = np.argsort(~keeps, axis=0, kind="stable")
    up = np.take_along_axis(np.where(keeps, owner, NOBODY), order, axis=0)
    return up.astype(np.uint16), np.take_along_axis(until_s, order, axis=0)


def _first(owner: Numbers, which: Many) -> Numbers:
    """In each column the first that is meant; NOBODY for none."""
    found: Numbers = np.take_along_axis(owner, which.argmax(axis=0)[None], axis=0)[0] * which.any(axis=0)
    return found


def _spread(each: NDArray[Any], rows: Rows, wider: Rows) -> NDArray[Any]:
    """The columns of `rows` among those of `wider`."""
    found = np.zeros((OWNERS, len(wider)), each.dtype)
    found[:, np.searchsorted(wider, rows)] = each
    return found
