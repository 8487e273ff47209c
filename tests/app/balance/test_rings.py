"""Who owns a slot's flows while tables change: no flow whose owner is alive ever moves within the drain time."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gtm.app.balance.rings import Slots, moving, settled, turned
from gtm.decide.balance import SLOT_BACKEND, SLOT_PREVIOUS_SHIFT, SLOT_TRANSITION

SLOTS = 7
NUMBERS = range(1, 6)


@dataclass
class Flows:
    """The kernel's rule (dataplane/src/flow.h), with a flow table that loses nothing: flow -> backend."""

    table: dict[tuple[int, int], int] = field(default_factory=dict)

    def packet(self, slots: Slots, flow: tuple[int, int], alive: set[int], *, syn: bool) -> int:
        """Who gets a packet of a flow, whose slot is its first number."""
        slot = int(slots[flow[0]])
        current, previous = slot & SLOT_BACKEND, slot >> SLOT_PREVIOUS_SHIFT
        if not slot & SLOT_TRANSITION:
            return current
        known = self.table.get(flow)
        if syn:
            known = current
        elif known is None or known not in alive:
            known = previous if previous in alive else current
        self.table[flow] = known
        return known


Change = tuple[tuple[int, ...], frozenset[int]]
CHANGES = st.lists(
    st.tuples(
        st.tuples(*[st.sampled_from(NUMBERS)] * SLOTS),  # the wanted table
        st.frozensets(st.sampled_from(NUMBERS), max_size=2),  # who dies before it
    ),
    min_size=1,
    max_size=8,
)


@given(CHANGES, st.lists(st.booleans(), min_size=8, max_size=8))
def test_no_flow_of_a_live_owner_moves(changes: list[Change], talks: list[bool]) -> None:
    flows, alive, owners = Flows(), set(NUMBERS), {}
    slots = turned(None, np.ones(SLOTS, np.uint32), keeping=alive)
    for number, ((wanted, dead), talk) in enumerate(zip(changes, talks, strict=False)):
        for slot in range(SLOTS):  # a flow begins in each slot
            owners[slot, number] = flows.packet(slots, (slot, number), alive, syn=True)
        alive -= dead
        if not alive:
            return
        table = [backend if backend in alive else min(alive) for backend in wanted]
        slots = turned(slots, np.array(table), keeping=alive)
        assert (turned(slots, np.array(table), keeping=alive) == slots).all()  # the same again changes nothing
        if talk:
            for flow, owner in owners.items():
                got = flows.packet(slots, flow, alive, syn=False)
                assert got in alive
                assert got == owner or owner not in alive
                owners[flow] = got
    for flow, owner in owners.items():
        got = flows.packet(slots, flow, alive, syn=False)
        assert got == owner or owner not in alive


@given(CHANGES)
def test_new_flows_go_where_the_table_says(changes: list[Change]) -> None:
    slots, alive = turned(None, np.ones(SLOTS, np.uint32), keeping=set(NUMBERS)), set(NUMBERS)
    for wanted, _ in changes:
        slots = turned(slots, np.array(wanted), keeping=alive)
        for slot, backend in enumerate(wanted):
            assert Flows().packet(slots, (slot, 0), alive, syn=True) == backend


def test_what_did_not_move_is_not_in_transition() -> None:
    before = turned(None, [1, 2, 3, 1], keeping={1, 2, 3})
    assert moving(before) == 0
    after = turned(before, [1, 2, 2, 2], keeping={1, 2, 3})
    assert [bool(slot & SLOT_TRANSITION) for slot in after] == [False, False, True, True]
    assert (after >> SLOT_PREVIOUS_SHIFT).tolist() == [0, 0, 3, 1]


def test_flows_of_the_dead_are_not_kept() -> None:
    after = turned(turned(None, [1, 2], keeping={1, 2}), [2, 2], keeping={2})
    assert moving(after) == 0
    assert (after & SLOT_BACKEND).tolist() == [2, 2]


def test_settled_slots_keep_a_second_chance() -> None:
    after = settled(turned(turned(None, [1, 2], keeping={1, 2}), [2, 2], keeping={1, 2}))
    assert after.tolist() == [2 | 1 << SLOT_PREVIOUS_SHIFT, 2]


def test_another_size_begins_anew() -> None:
    assert turned(turned(None, [1, 1], keeping={1}), [2, 2, 2], keeping={1, 2}).tolist() == [2, 2, 2]
