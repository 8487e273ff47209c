"""Maglev tables with numpy: equal to gtm.decide.maglev's, slot for slot, for many services at once.

Turns of different backends are taken together. A turn is a proposal for the backend's next free slot; a slot keeps the
earliest turn, and whoever loses a slot proposes for its next one. That is deferred acceptance (Gale and Shapley, 1962),
and as all slots prefer the earlier turn, it ends where taking turns one by one ends, in whatever order proposals are
made. What else makes it quick: backends look for their next few free slots at once, and the last slots, to which most
of the steps of the plain form go, are found from the few that are left and not by walking past all that are taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from gtm.decide import maglev
from gtm.decide.maglev import Member

Numbers = NDArray[np.uint16]
Indices = NDArray[np.int64]

FREE, TAKEN = -1, 1 << 30  # holders of a slot; between them, the turn that holds it for now
LANES = 12_000  # backends that go together: enough to drown the cost of calling numpy, few enough for the cache
AHEAD = 12  # free slots that a backend looks up at once
CELLS = 1 << 16  # slots looked at in one call, for all backends together
LAST = 128  # slots of a table that are given one by one
PLAIN_BACKENDS = 150  # fewer that go together are quicker in the plain form


def tables(wanted: Sequence[Sequence[Member]], *, secret: bytes, size: int) -> list[Numbers]:
    """A table of `size` slots for each list of members, as gtm.decide.maglev.table says. ValueError as there."""
    orders = [maglev.order(members, size=size) for members in wanted]
    found: list[Numbers] = [np.zeros(size, np.uint16) for _ in wanted]
    for group in _groups(orders):
        if _together([orders[at] for at in group]) < PLAIN_BACKENDS:
            for at in group:
                found[at][:] = maglev.table(orders[at], secret=secret, size=size)
        else:
            filled = _Filling([orders[at] for at in group], secret=secret, size=size).run()
            for at, who in zip(group, filled, strict=True):
                found[at][:] = np.array([member.number for member in orders[at]], np.uint16)[who]
    return found


def table(members: Sequence[Member], *, secret: bytes, size: int) -> Numbers:
    """One table; see `tables`."""
    return tables([members], secret=secret, size=size)[0]


def _groups(orders: Sequence[Sequence[Member]]) -> Iterator[list[int]]:
    """Positions of tables that are filled together; those without members are left out."""
    group: list[int] = []
    lanes = 0
    for at in sorted(range(len(orders)), key=lambda at: len(orders[at])):
        if orders[at]:
            if group and lanes + len(orders[at]) > LANES:
                yield group
                group, lanes = [], 0
            group.append(at)
            lanes += len(orders[at])
    if group:
        yield group


def _together(orders: Sequence[Sequence[Member]]) -> float:
    """How many turns can be taken at once, on average: a heavy backend's next turn waits for its last one."""
    return sum(sum(member.weight for member in order) / max(member.weight for member in order) for order in orders)


class _Filling:
    """Tables that are filled side by side. Lanes are the backends of all of them; slots count through all tables."""

    def __init__(self, orders: Sequence[Sequence[Member]], *, secret: bytes, size: int) -> None:
        lengths = [len(order) for order in orders]
        steps = [maglev.permutation(member.name, secret=secret, size=size) for order in orders for member in order]
        self.size, self.none = size, len(orders) * size
        self.first = np.cumsum([0, *lengths])
        self.offset, self.skip = np.array(steps, np.uint32).T  # products of slots of a prime up to 65537 just fit
        self.scan = self.offset.copy()  # where a lane's search goes on
        self.base = np.repeat(np.arange(len(orders), dtype=np.uint32) * np.uint32(size), lengths)
        self.turns = [
            _turns(order, size=size) + first for order, first in zip(orders, self.first.tolist(), strict=False)
        ]
        self.open = np.ones(self.none, np.bool_)
        self.holder = np.full(self.none + 1, FREE, np.int32)
        self.holder[self.none] = TAKEN  # stands for "look further"
        self.owner = np.empty(self.none, np.int32)
        self.row = AHEAD + 1  # a lane's free slots, and the mark that says there are no more of them
        self.ahead = np.full(len(steps) * self.row, self.none, np.int32)
        self.at = np.arange(len(steps)) * self.row

    def run(self) -> list[NDArray[np.int32]]:
        """Who has each slot, by position in its order."""
        ends = [_ends(turns) for turns in self.turns]
        done = [0] * len(self.turns)
        while batches := [self._batch(at, done, ends[at]) for at in range(len(done)) if self.size - done[at] > LAST]:
            left = self.size - min(done)
            self._take(np.concatenate(batches), free=left / self.size)
        for at, turn in enumerate(done):
            self._last(at, turn)
        owners = self.owner.reshape(-1, self.size)
        return [owners[at] - first for at, first in enumerate(self.first[:-1].tolist())]

    def _batch(self, at: int, done: list[int], ends: Indices | int) -> Indices:
        """The next turns of a table: of different backends, and for no more than half of its free slots."""
        start = done[at]
        end = start - start % ends + ends if isinstance(ends, int) else int(ends[start])
        done[at] = min(end, start + (self.size - start) // 2)
        batch: Indices = self.turns[at][start : done[at]]
        return batch

    def _take(self, lanes: Indices, *, free: float) -> None:
        """Each lane takes its next free slot; where two want one, the earlier in `lanes` has it."""
        lanes = lanes[::-1]  # of two that are written to one place the last one stays, so the earliest comes last
        turn = np.arange(len(lanes))
        choice = np.full(len(lanes), self.none)
        seeking = turn
        while len(seeking):
            at_end: list[Indices] = []
            while len(seeking):
                lane = lanes.take(seeking)
                place = self.at.take(lane)
                slot = self.ahead.take(place).astype(np.int64)  # any other index is twice as slow to write by
                self.at[lane] = place + 1
                better = seeking > self.holder.take(slot)
                mine, slots = seeking.compress(better), slot.compress(better)
                self.holder[slots] = mine.astype(np.int32)
                choice[mine] = slots
                worse = ~better
                seeking = seeking.compress(worse)
                more = slot.compress(worse) != self.none
                if not more.all():
                    at_end.append(lane.compress(worse).compress(~more))
                    seeking = seeking.compress(more)
            if at_end:
                self._look(np.concatenate(at_end), free=free)
            seeking = turn[self.holder.take(choice) != turn]  # those that lost a slot, or know of none
        self.holder[choice] = TAKEN
        self.open[choice] = False
        self.owner[choice] = lanes.astype(np.int32)

    def _look(self, lanes: Indices, *, free: float) -> None:
        """Finds the next free slots of lanes that know of none: about as many as they will ask for."""
        wanted = min(0.7 * AHEAD, 1.0 + 1.5 * free * self.none / len(self.skip))
        width = int(min(1 + wanted / free, self.size))
        columns = np.arange(width, dtype=np.uint32)
        for some in np.array_split(lanes, 1 + len(lanes) * width // CELLS):
            self._walk(some, columns)

    def _walk(self, lanes: Indices, columns: NDArray[np.uint32]) -> None:
        """Goes as many steps along the lanes' permutations as there are columns, or fewer where AHEAD are found."""
        skip, width = self.skip[lanes], len(columns)
        slots = skip[:, None] * columns
        slots += self.scan[lanes, None]
        slots -= slots // self.size * self.size  # several times quicker than %
        slots += self.base[lanes, None]
        found = np.flatnonzero(self.open.take(slots))
        row = found // width
        count = np.bincount(row, minlength=len(lanes))
        rank = np.arange(len(row)) - (np.cumsum(count) - count)[row]
        start = lanes * self.row
        self.ahead[start[:, None] + np.arange(self.row)] = self.none
        if (most := count.max(initial=0)) > AHEAD:
            kept = rank < AHEAD
            found, row, rank = found[kept], row[kept], rank[kept]
        self.ahead[start[row] + rank] = slots.take(found)
        self.at[lanes] = start
        walked = np.full(len(lanes), width)
        if most >= AHEAD:
            full = rank == AHEAD - 1
            walked[row[full]] = found[full] % width + 1
        self.scan[lanes] = (self.scan[lanes] + skip * walked) % self.size

    def _last(self, at: int, turn: int) -> None:
        """Gives the last slots of a table one by one, each turn the one that comes first in its permutation."""
        lanes = self.turns[at][turn:]
        slots = np.flatnonzero(self.open[at * self.size : (at + 1) * self.size])
        inverse = np.array([pow(skip, -1, self.size) for skip in self.skip[lanes].tolist()])
        rank = (slots - self.offset[lanes, None].astype(np.int64)) % self.size * inverse[:, None] % self.size
        left = len(slots)
        for line, lane in enumerate(lanes.tolist()):
            best = int(rank[line, :left].argmin())
            self.owner[at * self.size + int(slots[best])] = lane
            left -= 1
            slots[best] = slots[left]
            rank[line + 1 :, best] = rank[line + 1 :, left]


def _turns(order: Sequence[Member], *, size: int) -> Indices:
    """gtm.decide.maglev.turns."""
    weights = np.array([member.weight for member in order], np.int64)
    if (weights == weights[0]).all():
        return np.resize(np.arange(len(order)), size)
    had = np.ceil(weights * (size / weights.sum())).astype(np.int64) + 1
    who = np.repeat(np.arange(len(order)), had)
    number = np.arange(len(who)) - np.repeat(np.cumsum(had) - had, had)
    return who[np.lexsort((who, number / weights[who]))[:size]]


def _ends(turns: Indices) -> Indices | int:
    """For each turn, where a batch that begins there must end: before some backend's second turn.

    An int where that is every so many turns, as in equal rounds.
    """
    distinct = int(turns.max()) + 1 - int(turns[0])
    if (turns == np.resize(turns[:distinct], len(turns))).all():
        return distinct
    by_lane = np.argsort(turns, kind="stable")
    following = np.full(len(turns), len(turns))
    again = turns[by_lane[1:]] == turns[by_lane[:-1]]
    following[by_lane[:-1][again]] = by_lane[1:][again]
    ends: Indices = np.minimum.accumulate(following[::-1])[::-1]
    return ends
