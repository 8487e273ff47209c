"""A flood of random sources beside real clients, into the balancer that has half of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gtm.decide.guard import Limits, Policy, Reason
from gtm.decide.guard_policy import bucket
from gtm.model.balance import Rate
from gtm.publish.dataplane import layout
from gtm.publish.dataplane.guard import Guard
from gtm.publish.dataplane.jiffies import measure
from tests.lab.balance import BALANCERS, IPIP, SECOND, SEED, VIPS, Rack, moving, packed, rack, without
from tests.lab.clients import Load, load
from tests.lab.flood import ACK, UDP, Kind, flooding, frame
from tests.lab.test_balance_changes import KEPT, LARGE, loaded, show

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


def flooded(made: Rack, clients: Load, kind: Kind, built: Path, *, fresh: int = 20) -> int:
    """Frames sent into lb1, while all clients go on and new ones come."""
    template = frame(kind, target_mac=made.macs["lb1"], source_mac=made.macs["r"])
    with flooding(built, made.fabric.hosts["sw"], "lb1", template, kind, rate=RATE) as flood:
        while flood.packets < ENOUGH:
            clients.go_on()
            clients.fresh(fresh)
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


@pytest.mark.parametrize("name", ["syn", "udp", "no-such-port"])
def test_connections_go_on_while_the_guard_drops_a_flood(
    built: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What asks for a VIP anew has a few packets a second; connections under way take no part in that."""
    jiffies_per_s = measure().rate_per_s
    with rack(built, IPIP) as made, load(made.client, VIPS) as clients:
        clients.start(kept=KEPT, large=LARGE)
        clients.go_on(1, count=KEPT + LARGE)
        with Guard(made.balancers["lb1"].object, built / "guard.bpf.o") as guard:
            limits = Limits(packets=bucket(Rate(packets_per_s=10, burst=10), jiffies_per_s))
            targets = {packed(vip): limits for vip in VIPS}
            guard.set_policy(Policy(seed=SEED, on=frozenset({Reason.VIP_RATE}), targets=targets))
            guard.install()
            sent = flooded(made, clients, KINDS[name], built, fresh=0)
            dropped = {reason.name: packets for reason, (packets, _) in guard.dropped().items() if packets}
        with capsys.disabled():
            show(f"{sent:,} of {name} meanwhile", clients, dropped=dropped)
        assert clients.broken() == []
        assert dropped.keys() == {"VIP_RATE"}
        assert dropped["VIP_RATE"] > sent / 2
