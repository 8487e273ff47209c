"""Who owns a flow across changes of the tables: sequences of packets, kernel and model side by side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gtm.decide.balance import TCP, UDP, Tables, Verdict, balance
from gtm.publish.dataplane import layout
from tests.dataplane import world as w
from tests.dataplane.kernel import Kernel

CURRENT, PREVIOUS = "0a000002", "0a00000a"


@pytest.fixture
def tables(kernel: Kernel) -> Tables:
    kernel.forget()
    return w.tables()


def owner(kernel: Kernel, tables: Tables, number: int, *, sport: int, flags: int | None = None) -> str:
    """The outer target of a packet to that VIP, in which kernel and model agree; no flags: UDP."""
    payload, protocol = (w.udp(sport=sport), UDP) if flags is None else (w.tcp(sport=sport, flags=flags), TCP)
    frame = w.frame(w.packet(4, w.vip(4, number), payload, protocol=protocol))
    _, out = kernel.run(frame)
    verdict, expected = balance(frame, tables)
    assert (out, verdict) == (expected, Verdict.TX_FORWARD)
    return out[30:34].hex()


def test_a_new_flow_goes_to_the_new_backend_and_stays(kernel: Kernel, tables: Tables) -> None:
    assert owner(kernel, tables, w.MOVING, sport=1000, flags=w.SYN) == CURRENT
    assert owner(kernel, tables, w.MOVING, sport=1000, flags=w.ACK) == CURRENT


def test_an_unknown_established_flow_is_the_previous_owners(kernel: Kernel, tables: Tables) -> None:
    assert owner(kernel, tables, w.MOVING, sport=1001, flags=w.ACK) == PREVIOUS
    assert owner(kernel, tables, w.MOVING, sport=1001, flags=w.ACK) == PREVIOUS
    assert kernel.balancer.flows["flow"].any()


def test_a_reused_port_starts_anew(kernel: Kernel, tables: Tables) -> None:
    assert owner(kernel, tables, w.MOVING, sport=1002, flags=w.ACK) == PREVIOUS
    assert owner(kernel, tables, w.MOVING, sport=1002, flags=w.SYN) == CURRENT
    assert owner(kernel, tables, w.MOVING, sport=1002, flags=w.ACK) == CURRENT


def test_udp_follows_the_previous_owner_or_where_all_is_tracked_is_new(kernel: Kernel, tables: Tables) -> None:
    assert owner(kernel, tables, w.MOVING, sport=1003) == PREVIOUS
    assert owner(kernel, tables, w.MOVING_TRACKED, sport=1003) == CURRENT
    assert owner(kernel, tables, w.MOVING_TRACKED, sport=1003, flags=w.ACK) == PREVIOUS


@pytest.mark.parametrize("sport", range(2000, 2012))
def test_a_previous_owner_that_is_over_or_gone_gets_nothing(kernel: Kernel, tables: Tables, sport: int) -> None:
    assert owner(kernel, tables, w.GONE, sport=sport, flags=w.ACK) == CURRENT
    assert owner(kernel, tables, w.GONE, sport=sport) == CURRENT


def test_a_known_owner_whose_drain_is_over_loses_its_flows(kernel: Kernel, tables: Tables) -> None:
    assert owner(kernel, tables, w.MOVING, sport=1004) == PREVIOUS
    backends = {**tables.backends, w.OTHER: replace(tables.backends[w.OTHER], expired=True)}
    kernel.balancer.set_backends(backends)
    try:
        assert owner(kernel, replace(tables, backends=backends), w.MOVING, sport=1004) == CURRENT
    finally:
        kernel.balancer.set_backends(tables.backends)


def test_opened_and_closed_flows_are_counted(kernel: Kernel, tables: Tables) -> None:
    before = kernel.balancer.counters["backend"][:, 2].copy()
    for flags in (w.SYN, w.ACK, w.ACK, 0x11, w.SYN, 0x04):
        assert owner(kernel, tables, 2, sport=1006, flags=flags) == CURRENT
    after = kernel.balancer.counters["backend"][:, 2]
    grown = {name: int((after[name] - before[name]).sum()) for name in ("packets", "opened", "closed")}
    assert grown == {"packets": 6, "opened": 2, "closed": 2}


@pytest.mark.parametrize("everywhere", [True, False])
def test_in_a_flood_nothing_is_learnt(kernel: Kernel, tables: Tables, *, everywhere: bool) -> None:
    """A new flow goes where its later packets will; one that is known stays where it is, whatever begins anew."""
    assert owner(kernel, tables, w.MOVING, sport=1006, flags=w.SYN) == CURRENT
    learnt = np.unique(kernel.balancer.flows["flow"])
    if everywhere:
        quiet = replace(tables, learn=False)
        kernel.balancer.settings["flags"] = layout.LEARN_NOTHING
    else:
        quiet = replace(tables, floods=frozenset({w.packed(w.vip(4, w.MOVING))}))
        kernel.flood(w.packed(w.vip(4, w.MOVING)), until=(1 << 64) - 1)
    for flags in (w.SYN, w.ACK):
        assert owner(kernel, quiet, w.MOVING, sport=1005, flags=flags) == PREVIOUS
        assert owner(kernel, quiet, w.MOVING, sport=1006, flags=flags) == CURRENT
    assert np.array_equal(np.unique(kernel.balancer.flows["flow"]), learnt)
    kernel.balancer.settings["flags"] = 0
    kernel.flood(w.packed(w.vip(4, w.MOVING)), until=1)
    assert owner(kernel, tables, w.MOVING, sport=1005) == PREVIOUS
    assert owner(kernel, tables, w.MOVING, sport=1007, flags=w.SYN) == CURRENT
    assert len(np.unique(kernel.balancer.flows["flow"])) == len(learnt) + 2


def test_steady_slots_leave_no_trace(kernel: Kernel, tables: Tables) -> None:
    for sport in range(3000, 3100):
        frame = w.frame(w.packet(4, w.vip(4, w.MIXED), w.tcp(sport=sport)))
        assert kernel.run(frame)[1] == balance(frame, tables)[1]
    assert not kernel.balancer.flows["flow"].any()
