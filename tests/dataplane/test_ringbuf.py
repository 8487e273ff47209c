"""The kernel's ring buffer as gtm reads it: every event once and in order, around the end of the buffer too."""

from __future__ import annotations

import select
from collections.abc import Iterator
from dataclasses import replace

import pytest

from gtm.decide.balance import TCP, Tables, balance
from gtm.publish.dataplane import layout
from gtm.publish.dataplane.events import RECORD, Events
from tests.dataplane import world as w
from tests.dataplane.kernel import Kernel

WAIT_MS = 30_000


@pytest.fixture
def events(kernel: Kernel) -> Iterator[Events]:
    reader = Events(kernel.balancer.object.map_fd("events"), kernel.balancer.settings)
    kernel.forget()
    reader.begin()
    yield reader
    reader.end()
    kernel.forget()


def syn(port: int, source: str = w.CLIENT[4]) -> bytes:
    return w.frame(w.packet(4, w.vip(4, w.MOVING), w.tcp(sport=port, flags=w.SYN), protocol=TCP, source=source))


def told(reader: Events) -> list[tuple[bool, int, int]]:
    return [(int(each["kind"]) == layout.FLOW_ENDED, int(each["flow"]), int(each["ring"])) for each in reader.take()]


def test_events_are_those_of_the_specification(kernel: Kernel, events: Events) -> None:
    model: Tables = replace(w.tables(), tell=True)
    for port in range(1000, 1300):
        for flags in (w.SYN, w.ACK, 0x11, 0x11):
            frame = w.frame(w.packet(4, w.vip(4, w.MOVING), w.tcp(sport=port, flags=flags), protocol=TCP))
            kernel.run(frame)
            balance(frame, model)
    assert len(model.events) == 600
    assert told(events) == model.events
    assert len(events.take()) == 0


def test_nothing_is_lost_around_the_end(kernel: Kernel, events: Events) -> None:
    """Enough events to go round, read at odd moments."""
    count = round(1.05 * layout.EVENT_BYTES / RECORD.itemsize)
    lost = int(kernel.balancer.counters["events"]["lost"].sum())
    seen, made = [], 0
    while made < count:
        for _ in range(min(9_973, count - made)):
            kernel.run(syn(made & 0x7FFF | 1, f"10.1.{made >> 15}.1"))
            made += 1
        seen += [flow for _, flow, _ in told(events)]
    ports = len({(number & 0x7FFF | 1, number >> 15) for number in range(count)})
    assert int(kernel.balancer.counters["events"]["lost"].sum()) == lost
    assert len(seen) >= ports
    assert len(set(seen)) == ports


def test_what_was_told_before_is_dropped_and_after_it_is_not_told(kernel: Kernel, events: Events) -> None:
    kernel.run(syn(7))
    events.begin()
    kernel.run(syn(8))
    assert len(events.take()) == 1
    events.end()
    kernel.run(syn(9))
    assert len(events.take()) == 0


def test_its_descriptor_is_readable_while_events_wait(kernel: Kernel, events: Events) -> None:
    poll = select.poll()
    poll.register(events.fd, select.POLLIN)
    assert poll.poll(0) == []
    kernel.run(syn(7))
    assert poll.poll(WAIT_MS) == [(events.fd, select.POLLIN)]
    assert len(events.take()) == 1
    assert poll.poll(0) == []
