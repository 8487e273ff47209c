"""Random and mutated frames through kernel and model, which share nothing: GTM_DATAPLANE_PACKETS of them."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from gtm.decide.balance import TCP, UDP, Packet, balance, parse
from gtm.publish.dataplane import layout
from tests.dataplane import world as w
from tests.dataplane.cases import all_cases
from tests.dataplane.events import Events
from tests.dataplane.kernel import Kernel, action

PACKETS = int(os.environ.get("GTM_DATAPLANE_PACKETS", "1000000"))
PARTS = 8  # that several processes may share
SEED = int(os.environ.get("GTM_DATAPLANE_SEED", "1"))
INTERESTING = (0, 1, 4, 6, 8, 0x11, 0x2C, 0x3A, 0x40, 0x45, 0x7F, 0x80, 0x81, 0x88, 0xFF)
VIPS = (w.MIXED, w.MOVING, w.TRACKED, w.MOVING_TRACKED, w.GONE, w.QUIC, w.CROSSED, *range(1, 9), 13)


def flow(random: Random) -> bytes:
    """A packet of one of many flows, few enough to meet again, over any VIP, family and number of tags."""
    family, number = random.choice(w.FAMILIES), random.choice(VIPS)
    sport, host = random.randrange(1024, 1088), random.randrange(64)
    source = f"198.51.100.{host}" if family == 4 else f"2001:db8:c::{host:x}"
    if number == w.QUIC and random.random() < 0.7:
        server_id = random.choice(
            (*(name for _, name in w.SERVER_IDS.values()), random.randbytes(random.randrange(16)))
        )
        payload = w.quic(random.randrange(8), server_id, long=random.random() < 0.5, nonce=random.randrange(9))
        payload, protocol = w.udp(sport=sport, payload=payload), UDP
    elif random.random() < 0.3:
        payload, protocol = w.udp(sport=sport), UDP
    else:
        payload, protocol = w.tcp(sport=sport, flags=random.choice((w.SYN, w.ACK, w.ACK, 0x12, 0x11, 0x04))), TCP
    ip = w.packet(family, w.vip(family, number), payload, protocol=protocol, source=source, tos=random.randrange(256))
    return w.frame(ip, tags=random.randrange(3))


def mutate(random: Random, frame: bytes) -> bytes:
    """The frame with some bytes changed, most of them in its headers, or cut, or longer than it says."""
    changed = bytearray(frame)
    for _ in range(random.choice((1, 1, 2, 4))):
        at = random.randrange(min(len(changed), random.choice((40, 90, 1500))))
        changed[at] = random.choice((random.choice(INTERESTING), random.randrange(256), changed[at] ^ 1 << at % 8))
    if random.random() < 0.1:
        del changed[random.randrange(14, len(changed) + 1) :]
    if random.random() < 0.1:
        changed += bytes(random.randrange(1, 40))
    return bytes(changed)


@pytest.mark.parametrize("part", range(PARTS))
def test_random_and_mutated_packets(kernel: Kernel, part: int) -> None:
    random, tables = Random(SEED * PARTS + part), replace(w.tables(), tell=True)
    corpus = [case.frame for case in all_cases()]
    corpus += [frame for frame in corpus if len(frame) < 200] * 9
    kernel.forget()
    kernel.balancer.settings["flags"] = layout.TELL_EVENTS
    events = Events(kernel.balancer.object.map_fd("events"))
    events.take()
    before, expected = kernel.verdicts(), Counter(dict.fromkeys(kernel.verdicts(), 0))
    came_before, came = kernel.came(), dict.fromkeys(tables.vips, (0, 0))
    for number in range(PACKETS // PARTS):
        if number % 1000 == 0:
            assert events.take() == tables.events
            tables.events.clear()
        choice = random.random()
        frame = (
            flow(random) if choice < 0.3 else mutate(random, flow(random) if choice < 0.5 else random.choice(corpus))
        )
        verdict, left = balance(frame, tables)
        expected[verdict] += 1
        packet = parse(frame)
        if isinstance(packet, Packet) and (key := (packet.target, packet.target_port, packet.protocol)) in came:
            came[key] = came[key][0] + 1, came[key][1] + packet.length
        assert kernel.run(frame) == (action(verdict), left), f"packet {number}, {verdict.name}: {frame.hex()}"
    with events:
        assert events.take() == tables.events
    after = kernel.verdicts()
    assert {verdict: after[verdict] - before[verdict] for verdict in after} == expected
    now = kernel.came()
    assert {key: (now[key][0] - was[0], now[key][1] - was[1]) for key, was in came_before.items()} == came
    learnt = kernel.balancer.flows["flow"]
    assert {int(bucket): learnt[bucket].tolist() for bucket in np.flatnonzero(learnt.any(axis=1))} == {
        bucket: flows for bucket, flows in tables.flows.items() if any(flows)
    }
