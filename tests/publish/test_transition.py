"""Slots in transition: small cases, and flows that live through any sequence of changes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gtm.decide import maglev
from gtm.decide.balance import (
    MAPPED,
    SLOT_TRANSITION,
    TCP,
    UDP,
    Backend,
    Kind,
    Packet,
    Tables,
    Vip,
    Wrap,
    flow_hash,
    owner,
)
from gtm.publish.dataplane.transition import (
    BYSTANDERS_S,
    OWNERS,
    SOMEBODY,
    Living,
    Ring,
    change,
    forget,
    over,
    settle,
)

DRAIN_S = 300.0
BIT = SLOT_TRANSITION
ALL: Living = dict.fromkeys(range(1, 9))
A, B, C, D, E, F = range(1, 7)


SEED = (0x1234567, 0x89ABCDEF)
SIZE = 13
VIP = Vip(ring=0)
RECORD = Backend(wrap=Wrap.IP, address=bytes(16), source=bytes(16), mac=bytes(6))


def slot_of(hashed: int) -> int:
    return (hashed & 0xFFFFFFFF) * SIZE >> 32


def packet_of(port: int, protocol: int, kind: Kind) -> Packet:
    source, target = (MAPPED + bytes((10, 0, 0, last)) for last in (1, 2))
    return Packet(
        kind=kind,
        source=source,
        target=target,
        source_port=port,
        target_port=443,
        protocol=protocol,
        length=40,
        l3=14,
        family=4,
        traffic_class=0,
    )


def words(*slots: tuple[int, int, int]) -> list[int]:
    return [current | bit | previous << 16 for current, bit, previous in slots]


def moved(ring: Ring, *wanted: int, at: float, living: Living = ALL) -> Ring:
    return change(ring, wanted, living, now_s=at, drain_s=DRAIN_S)


def test_a_first_table_has_no_past() -> None:
    ring = Ring.fresh([A, B, 0])
    assert ring.slots.tolist() == [A, B, 0]
    assert not ring.moving.any()
    assert ring.due_s(ALL) is None
    assert ring.numbers() == {A, B}


def test_a_change_is_over_after_the_drain_time_and_leaves_a_second_chance() -> None:
    ring = moved(Ring.fresh([A, B]), A, C, at=10)
    assert ring.slots.tolist() == words((A, 0, 0), (C, BIT, B))
    assert ring.due_s(ALL) == 310
    assert settle(ring, ALL, now_s=309.9).slots.tolist() == ring.slots.tolist()
    after = settle(ring, ALL, now_s=310)
    assert after.slots.tolist() == words((A, 0, 0), (C, 0, B))
    assert after.due_s(ALL) is None
    assert over(ring, after).tolist() == [False, True]
    assert settle(after, {A: None, C: None}, now_s=311).slots.tolist() == [A, C]


def test_a_second_change_keeps_the_oldest_owner_and_then_the_one_between() -> None:
    ring = moved(moved(Ring.fresh([A]), B, at=0), C, at=100)
    assert ring.slots.tolist() == words((C, BIT, A))
    assert ring.due_s(ALL) == 300
    ring = settle(ring, ALL, now_s=300)
    assert ring.slots.tolist() == words((C, BIT, B))
    assert settle(ring, ALL, now_s=400).slots.tolist() == words((C, 0, B))


def test_the_oldest_that_lives() -> None:
    ring = moved(moved(Ring.fresh([A]), B, at=0), C, at=100)
    without = {number: None for number in ALL if number != A}
    assert settle(ring, without, now_s=101).slots.tolist() == words((C, BIT, B))
    assert settle(ring, {C: None}, now_s=101).slots.tolist() == [C]


def test_a_slot_that_comes_back_serves_its_own_unknown_flows_for_good() -> None:
    ring = moved(moved(Ring.fresh([A]), B, at=0), A, at=100)
    assert ring.slots.tolist() == words((A, BIT, A))
    ring = settle(ring, ALL, now_s=399)
    assert ring.slots.tolist() == words((A, BIT, A))
    assert ring.due_s(ALL) == 400
    assert settle(ring, ALL, now_s=400).slots.tolist() == words((A, 0, B))
    assert settle(ring, {A: None}, now_s=399).slots.tolist() == [A]


def test_who_is_dead_is_owed_nothing() -> None:
    assert moved(Ring.fresh([A]), B, at=0, living={B: None}).slots.tolist() == [B]


def test_who_drains_keeps_its_flows_until_its_own_deadline() -> None:
    ring = moved(Ring.fresh([A]), B, at=0, living={A: 20.0, B: None})
    assert ring.due_s({A: 20.0, B: None}) == 20
    assert settle(ring, {A: 20.0, B: None}, now_s=20).slots.tolist() == [B]
    assert settle(ring, {A: 1000.0, B: None}, now_s=999).moving.all()


def test_a_drain_that_begins_during_a_change_prolongs_it() -> None:
    ring = moved(Ring.fresh([A]), B, at=0)
    ring = settle(ring, {A: 500.0, B: None}, now_s=200)
    assert ring.due_s({A: 500.0, B: None}) == 500
    assert settle(ring, {A: 500.0, B: None}, now_s=400).moving.all()


def test_more_owners_than_are_kept_apart_still_keep_the_bit() -> None:
    ring = Ring.fresh([A])
    for at, who in enumerate((B, C, D, E, F)):
        ring = moved(ring, who, at=at)
    assert ring.owner[:, 0].tolist() == [A, B, C, SOMEBODY]
    assert ring.slots.tolist() == words((F, BIT, A))
    ring = settle(ring, ALL, now_s=302)
    assert ring.slots.tolist() == words((F, BIT, 0))
    assert not settle(ring, ALL, now_s=304).moving.any()
    assert len(ring.owner) == OWNERS


def test_a_manager_that_comes_back_goes_on_from_what_the_kernel_has() -> None:
    kept = words((A, 0, B), (B, BIT, A), (A, BIT, A))
    ring = Ring.resumed(kept, ALL, now_s=50, drain_s=DRAIN_S)
    assert ring.slots.tolist() == kept
    assert ring.current.tolist() == [A, B, A]
    assert settle(ring, ALL, now_s=349).slots.tolist() == kept
    assert settle(ring, ALL, now_s=350).slots.tolist() == words((A, 0, B), (B, 0, A), (A, 0, 0))
    assert moved(ring, C, C, C, at=60).slots.tolist() == words((C, BIT, A), (C, BIT, A), (C, BIT, A))


def test_names_every_backend_that_it_still_needs() -> None:
    ring = moved(moved(Ring.fresh([A, D]), B, D, at=0), C, D, at=100)
    assert ring.numbers() == {A, B, C, D}


def test_a_table_of_another_size_is_another_table() -> None:
    with pytest.raises(ValueError, match="3"):
        moved(Ring.fresh([A, B]), A, B, C, at=0)


def test_ended_flows_are_forgotten_and_no_others() -> None:
    size = 65537
    before = moved(Ring.fresh([A] * size), *[B] * 30_000, *[A] * (size - 30_000), at=0)
    after = settle(before, ALL, now_s=300)
    after = moved(after, *[B] * 1000, *[A] * (size - 1000), at=301)
    hashes = np.random.default_rng(1).integers(0, 1 << 63, 20_000, dtype=np.uint64) * np.uint64(2)
    slots = (hashes & np.uint64(0xFFFFFFFF)) * np.uint64(size) >> np.uint64(32)
    numbers = np.where(np.arange(20_000) % 3 == 2, C, A).astype(np.uint64)
    flows = (hashes >> np.uint64(16) << np.uint64(16) | numbers).reshape(-1, 8)
    was = flows.copy().ravel()
    ended = over(before, Ring.fresh(after.current))
    gone = forget(flows, ended & ~after.moving, after, [A, B])
    left = flows.ravel()
    assert gone == (left == 0).sum()
    assert (left[left != 0] == was[left != 0]).all()
    ours = numbers != C
    assert (left[~ours] != 0).all()
    assert not left[ours & (slots < 999)].any()
    assert left[ours & (slots > 1001)].all()


def test_the_same_addresses_and_ports_again_after_a_change_are_another_connection() -> None:
    """Without `forget`, the first connection's entry would answer for the second one."""
    flows: dict[int, list[int]] = {}
    ring = Ring.fresh([A])

    def whose(kind: Kind) -> int:
        tables = Tables(seed=SEED, vips={}, rings={}, backends=dict.fromkeys(ALL, RECORD), flows=flows)
        packet = packet_of(1024, TCP, kind)
        return owner(packet, VIP, int(ring.slots[0]), flow_hash(packet, SEED), tables)

    assert whose(Kind.SYN) == A
    ring = moved(ring, B, at=0)
    assert whose(Kind.DATA) == A
    before, ring = ring, settle(ring, ALL, now_s=300)
    (bucket,) = flows.values()
    words_ = np.array(bucket, np.uint64)
    assert forget(words_, over(before, ring), ring, [A, B]) == 1
    bucket[:] = words_.tolist()
    assert whose(Kind.SYN) == B
    ring = moved(ring, C, at=301)
    assert whose(Kind.DATA) == B


# Any sequence of changes.


@dataclass(slots=True)
class Flow:
    """A connection: whose it is, and until when that one must keep it if its slot went to another."""

    packet: Packet
    slot: int
    whose: int
    lost_s: float | None = None


class Population(RuleBasedStateMachine):
    """Backends that come, go, drain, die; a manager that restarts; flows that must stay with theirs all the while.

    The oracle knows who answered a flow's first packet, when that backend lost the flow's slot, and whether it lives.
    Packets go by the program's specification and by nothing but what the kernel has: slots, backends, flow table.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.weights = dict.fromkeys(range(1, 6), 1)
        self.living: dict[int, float | None] = dict.fromkeys(range(1, 6))
        self.ports = count(1024)
        self.flows: list[Flow] = []
        self.learnt: dict[int, list[int]] = {}
        self.ring = Ring.fresh(self.wanted())

    def wanted(self) -> list[int]:
        members = [
            maglev.Member(name=f"web/{number}", number=number, weight=weight)
            for number, weight in self.weights.items()
            if number in self.living and self.living[number] is None
        ]
        return maglev.table(members, secret=b"secret", size=SIZE)

    def alive(self, number: int) -> bool:
        deadline_s = self.living.get(number, 0.0)
        return deadline_s is None or self.now_s < deadline_s

    def owed_s(self, flow: Flow) -> float:
        """Until when its backend must keep a flow, if it lives."""
        deadline_s = self.living.get(flow.whose)
        if flow.lost_s is None:
            return float("inf")
        return flow.lost_s + DRAIN_S if deadline_s is None else deadline_s

    def place(self, after: Ring) -> None:
        """The kernel gets a ring."""
        before, self.ring = self.ring, after
        words_ = np.array([entry for bucket in self.learnt.values() for entry in bucket], np.uint64)
        forget(words_, over(before, after), after, range(1, 6))
        self.learnt = {key: words_[8 * at : 8 * at + 8].tolist() for at, key in enumerate(self.learnt)}
        current = after.current
        for flow in self.flows:
            if current[flow.slot] == flow.whose:
                flow.lost_s = None
            elif flow.lost_s is None:
                flow.lost_s = self.now_s
        self.drop()

    def drop(self) -> None:
        """Flows that nobody owes anything any more."""
        self.flows = [flow for flow in self.flows if self.alive(flow.whose) and self.now_s < self.owed_s(flow)]

    def update(self) -> None:
        self.drop()
        self.place(change(self.ring, self.wanted(), self.living, now_s=self.now_s, drain_s=DRAIN_S))

    def send(self, packet: Packet, *, learn: bool = True) -> int:
        backends = {number: RECORD for number in self.living if self.alive(number)}
        tables = Tables(seed=SEED, vips={}, rings={}, backends=backends, flows=self.learnt, learn=learn)
        hashed = flow_hash(packet, SEED)
        return owner(packet, VIP, int(self.ring.slots[slot_of(hashed)]), hashed, tables)

    def begin(self, port: int, protocol: int) -> None:
        packet = packet_of(port, protocol, Kind.SYN if protocol == TCP else Kind.DATA)
        whose = self.send(packet)
        self.flows = [
            flow for flow in self.flows if (flow.packet.source_port, flow.packet.protocol) != (port, protocol)
        ]
        if whose and self.alive(whose):
            slot = slot_of(flow_hash(packet, SEED))
            if whose != self.ring.current[slot]:  # new UDP of one that has lost the slot: owed what is left of its time
                return
            self.flows.append(Flow(packet=packet_of(port, protocol, Kind.DATA), slot=slot, whose=whose))

    @precondition(lambda self: len(self.flows) < 40)
    @rule(protocol=st.sampled_from((TCP, UDP)), many=st.integers(1, 10))
    def open(self, protocol: int, many: int) -> None:
        for _ in range(many):
            self.begin(next(self.ports), protocol)

    @precondition(lambda self: self.flows)
    @rule(data=st.data())
    def open_again(self, data: st.DataObject) -> None:
        """The same addresses and ports, from the client's first packet on."""
        packet = data.draw(st.sampled_from(self.flows)).packet
        if packet.protocol == TCP:
            self.begin(packet.source_port, TCP)

    @rule(data=st.data())
    def talk(self, data: st.DataObject) -> None:
        """Some flows send; the others stay idle."""
        chosen = data.draw(st.integers(0, (1 << len(self.flows)) - 1))
        for at, flow in enumerate(self.flows):
            if chosen >> at & 1:
                assert self.send(flow.packet) == flow.whose

    @rule(number=st.integers(1, 5), weight=st.sampled_from((0, 1, 2)))
    def weigh(self, number: int, weight: int) -> None:
        self.weights[number] = weight
        self.update()

    @rule(number=st.integers(1, 5), drain_s=st.sampled_from((50.0, DRAIN_S, 1000.0)))
    def drain(self, number: int, drain_s: float) -> None:
        if number in self.living and self.living[number] is None:
            self.living[number] = self.now_s + drain_s
            self.update()

    @rule(number=st.integers(1, 5))
    def undrain(self, number: int) -> None:
        if self.living.get(number) is not None and self.alive(number):
            self.living[number] = None
            self.update()

    @rule(number=st.integers(1, 5))
    def die(self, number: int) -> None:
        self.living.pop(number, None)
        self.update()

    @rule(number=st.integers(1, 5))
    def revive(self, number: int) -> None:
        if not self.alive(number):
            self.living[number] = None
            self.update()

    @rule(step_s=st.sampled_from((0.5, 40.0, 150.0, 299.0, 301.0)))
    def wait(self, step_s: float) -> None:
        """The manager acts at the moments that the ring names."""
        until_s = self.now_s + step_s
        while (due_s := self.ring.due_s(self.living)) is not None and due_s <= until_s:
            assert due_s > self.now_s
            self.now_s = due_s
            self.drop()
            self.place(settle(self.ring, self.living, now_s=self.now_s))
        self.now_s = until_s
        self.drop()

    @rule()
    def restart(self) -> None:
        """A new manager finds the slots in the kernel; times begin anew."""
        self.ring = Ring.resumed(self.ring.slots, self.living, now_s=self.now_s, drain_s=DRAIN_S)
        self.ring = settle(self.ring, self.living, now_s=self.now_s)

    @invariant()
    def no_flow_moves(self) -> None:
        """Asked without learning, so that idle flows stay unknown."""
        for flow in self.flows:
            assert self.send(flow.packet, learn=False) == flow.whose


TestPopulation = Population.TestCase
TestPopulation.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)


def test_bystanders_keep_what_maglev_takes_from_them_in_vain() -> None:
    """B drains. What goes from A to C with it is A's for a day; from B to A until B's deadline; and it comes back."""
    before = Ring.fresh([A, A, B, C])
    draining: Living = {A: None, B: 10.0 + DRAIN_S, C: None}
    during = change(before, [A, C, A, C], draining, now_s=10.0, drain_s=DRAIN_S, bystanders={A, C})
    assert during.moving.tolist() == [False, True, True, False]
    later = settle(during, {A: None, C: None}, now_s=11.0 + DRAIN_S)
    assert later.moving.tolist() == [False, True, False, False]
    assert int(later.slots[1]) == C | BIT | A << 16
    assert later.due_s({A: None, C: None}) == 10.0 + BYSTANDERS_S
    assert not settle(later, {A: None, C: None}, now_s=10.0 + BYSTANDERS_S).moving.any()
    assert not settle(later, {C: None}, now_s=400.0).moving.any()  # who died keeps nothing
    back = change(later, [A, A, B, C], ALL, now_s=500.0, drain_s=DRAIN_S, bystanders={A, C})
    assert int(back.slots[1]) == A | BIT | A << 16  # known flows are C's, unknown ones older than all of this


def test_who_the_change_is_about_keeps_its_flows_for_a_drains_time() -> None:
    """A new backend takes its share: flows of those that lose it are kept as long as a drain takes."""
    ring = change(Ring.fresh([A, A, B, B]), [A, C, C, A], ALL, now_s=10.0, drain_s=DRAIN_S, bystanders={A, B})
    assert ring.moving.tolist() == [False, True, True, True]
    assert settle(ring, ALL, now_s=11.0 + DRAIN_S).moving.tolist() == [False, False, False, True]
