"""What the balancer tells of flows: in the kernel and in the model, and what another instance can do with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from gtm.decide.balance import FLOW_BUCKETS, TCP, Tables, balance
from gtm.publish.dataplane import layout
from tests.dataplane import world as w
from tests.dataplane.events import Events
from tests.dataplane.kernel import Kernel

FIN, RST = 0x11, 0x04


@pytest.fixture
def events(kernel: Kernel) -> Iterator[Events]:
    with Events(kernel.balancer.object.map_fd("events")) as reader:
        reader.take()
        kernel.forget()
        kernel.balancer.settings["flags"] = layout.TELL_EVENTS
        yield reader
        kernel.forget()


@pytest.fixture
def tables() -> Tables:
    return replace(w.tables(), tell=True)


def send(kernel: Kernel, tables: Tables, number: int, *, sport: int, flags: int) -> str:
    """The outer target of a packet to that VIP, in which kernel and model agree."""
    frame = w.frame(w.packet(4, w.vip(4, number), w.tcp(sport=sport, flags=flags), protocol=TCP))
    _, out = kernel.run(frame)
    assert out == balance(frame, tables)[1]
    return out[30:34].hex()


def test_a_flow_is_told_when_learnt_and_when_it_ends(kernel: Kernel, events: Events, tables: Tables) -> None:
    for flags in (w.SYN, w.SYN, w.ACK, FIN, FIN, RST, w.ACK):
        assert send(kernel, tables, w.MOVING, sport=1000, flags=flags) == "0a000002"
    told = events.take()
    assert told == tables.events
    assert [(ended, word & 0xFFFF, ring) for ended, word, ring in told] == [
        (False, 2, w.MOVING),
        (True, 2 | layout.FLOW_CLOSED, w.MOVING),
    ]


def test_an_ended_flow_starts_anew(kernel: Kernel, events: Events, tables: Tables) -> None:
    for flags in (w.ACK, FIN):
        assert send(kernel, tables, w.MOVING, sport=1001, flags=flags) == "0a00000a"
    assert send(kernel, tables, w.MOVING, sport=1001, flags=w.SYN) == "0a000002"
    told = events.take()
    assert told == tables.events
    assert [word & 0xFFFF for _, word, _ in told] == [10, 10 | layout.FLOW_CLOSED, 2]


def test_the_end_of_an_unknown_flow_is_not_learnt(kernel: Kernel, events: Events, tables: Tables) -> None:
    for flags in (FIN, RST):
        assert send(kernel, tables, w.MOVING, sport=1002, flags=flags) == "0a00000a"
    assert events.take() == tables.events == []
    assert not kernel.balancer.flows["flow"].any()


def test_nothing_is_told_unasked_nor_of_steady_slots(kernel: Kernel, events: Events, tables: Tables) -> None:
    send(kernel, tables, w.MIXED, sport=1003, flags=w.SYN)
    kernel.balancer.settings["flags"] = 0
    send(kernel, replace(tables, tell=False), w.MOVING, sport=1003, flags=w.SYN)
    assert events.take() == tables.events == []


def test_another_instance_carries_the_flow_on(kernel: Kernel, events: Events, tables: Tables) -> None:
    """A word that is put into the bucket it names is found there; without it the flow would be the previous owner's."""
    for sport in range(2000, 2050):
        send(kernel, tables, w.MOVING, sport=sport, flags=w.SYN)
    told = events.take()
    kernel.forget()
    for _, word, _ in told:
        bucket = word >> layout.FLOW_BUCKET_SHIFT & FLOW_BUCKETS - 1
        kernel.balancer.flows["flow"][bucket][0] = word
    for sport in range(2000, 2050):
        assert send(kernel, tables, w.MOVING, sport=sport, flags=w.ACK) == "0a000002"
    assert send(kernel, tables, w.MOVING, sport=2050, flags=w.ACK) == "0a00000a"


def test_what_did_not_fit_is_counted(kernel: Kernel, events: Events) -> None:
    """The program never waits for a reader: a full buffer loses events, and says how many."""
    before = kernel.balancer.counters["events"].copy()
    room = layout.EVENT_BYTES // 24  # a record has a header of 8 bytes
    frames = [
        w.frame(w.packet(4, w.vip(4, w.MOVING), w.tcp(sport=4000, flags=flags), protocol=TCP)) for flags in (w.SYN, FIN)
    ]
    for _ in range(room // 2 + 5):
        for frame in frames:
            kernel.run(frame)
    after = kernel.balancer.counters["events"]
    told, lost = (int(np.sum(after[name] - before[name])) for name in ("told", "lost"))
    assert told + lost == 2 * (room // 2 + 5)
    assert 0 < lost <= 12
    assert len(events.take()) == told
