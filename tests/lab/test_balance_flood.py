"""A flood of random sources beside real clients, into the balancer that has half of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gtm.publish.dataplane import layout
from tests.lab.balance import BALANCERS, SECOND, VIPS, Rack, moving, without
from tests.lab.clients import Load
from tests.lab.flood import ACK, UDP, Kind, flooding, frame
from tests.lab.test_balance_changes import loaded, show

RATE, ENOUGH = 10_000, 40_000
KINDS = {
    "syn": Kind(target=VIPS[0]),
    "ack": Kind(target=VIPS[0], flags=ACK),
    "udp": Kind(target=VIPS[0], protocol=UDP),
    "no-such-port": Kind(target=VIPS[0], port=81, protocol=UDP),
}


def remembered(made: Rack, name: str) -> int:
    """Flows in a balancer's table."""
    return int(np.count_nonzero(made.balancers[name].flows["flow"]))


def flooded(made: Rack, clients: Load, kind: Kind, built: Path) -> int:
    """Frames sent into lb1, while all clients go on and new ones come."""
    template = frame(kind, target_mac=made.macs["lb1"], source_mac=made.macs["r"])
    with flooding(built, made.fabric.hosts["sw"], "lb1", template, kind, rate=RATE) as flood:
        while flood.packets < ENOUGH:
            clients.go_on()
            clients.fresh(20)
        return flood.packets


@pytest.mark.parametrize("name", KINDS)
def test_clients_go_on_under_a_flood_in_the_middle_of_a_change(
    built: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is learnt meanwhile; what is new goes by the hash, and by the backends' second chance."""
    with loaded(built, SECOND) as (made, clients):
        made.write_slots(moving(made.slots, without(made.slots, "b2")))
        clients.go_on()
        clients.fresh(20)
        first = {flow: flow.backend for flow in clients.of("kept", "large")}
        for balancer in made.balancers.values():
            balancer.settings["flags"] |= layout.LEARN_NOTHING
        before = {each: remembered(made, each) for each in BALANCERS}
        sent = flooded(made, clients, KINDS[name], built)
        assert {each: remembered(made, each) for each in BALANCERS} == before
        for balancer in made.balancers.values():
            balancer.settings["flags"] &= ~np.uint32(layout.LEARN_NOTHING)
        clients.go_on()
        moved = sum(flow.backend != backend for flow, backend in first.items())
        with capsys.disabled():
            show(f"{sent:,} of {name} meanwhile", clients, moved=moved, datagrams_unanswered=clients.unanswered())
        assert ([flow.broken for flow in clients.broken()], moved) == ([], 0)
