"""`gtm balance run` on both balancers under load: orders, failed checks, managers and balancers that die."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.lab.balance import BACKENDS, BALANCERS, IPIP, SECOND, VIPS, How, Rack
from tests.lab.clients import Load, load
from tests.lab.fabric import until
from tests.lab.managed import DRAIN_S, SERVICE, Managers, managed
from tests.lab.test_balance_changes import ANEW, DATAGRAMS, KEPT, LARGE, ids, show

SHORT_S = 20  # of a drain: its clients have left long before
LASTING = ("kept", "large", "udp")


@contextmanager
def balanced(
    built: Path,
    how: How,
    *,
    drain_s: int = DRAIN_S,
    sync: bool = False,
    through: str = "direct",
    anew: int = ANEW,
) -> Iterator[tuple[Rack, Managers, Load]]:
    """Managed balancers under load, each flow of which was answered."""
    with (
        managed(built, how, drain_s=drain_s, sync=sync, through=through) as (made, managers),
        load(made.client, VIPS) as clients,
    ):
        clients.start(kept=KEPT, large=LARGE, anew=anew, datagrams=DATAGRAMS)
        clients.go_on(1, count=KEPT + LARGE + DATAGRAMS)
        yield made, managers, clients


def avoided(clients: Load, backend: str) -> None:
    """Wait until new connections go elsewhere."""
    until(lambda: all(flow.backend != backend for flow in clients.fresh(40)), f"{backend} gets nothing new")


def test_an_order_drains_a_backend_and_breaks_no_flow(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Until its clients have left, until the drain is over for those that never do (UDP), and when it is back."""
    with balanced(built, IPIP, drain_s=SHORT_S) as (_, managers, clients):
        stay = [flow for flow in clients.of(*LASTING) if flow.backend == "b2"]
        assert stay
        managers.drain("b2")
        avoided(clients, "b2")
        assert all(flow.backends.keys() == {"b2"} for flow in stay)
        clients.leave("b2")
        until(lambda: "b2" not in {flow.backend for flow in clients.of("udp")}, "its drain is over")
        for name in BALANCERS:
            managers.gtm(name, "undrain", f"backend/{SERVICE}/b2")
        until(lambda: "b2" in {flow.backend for flow in clients.fresh(40)}, "b2 is back")
        clients.go_on()
        lost = clients.lost()
        with capsys.disabled():
            show("gtm drain, gtm undrain", clients, its_own=len(stay), datagrams_lost=lost)
        assert (ids(clients.broken()), lost) == ([], 0)


@pytest.mark.parametrize("through", ["direct", "vip"])
def test_a_failed_check_takes_a_backend_out_and_breaks_its_own_flows_alone(
    built: Path, through: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with balanced(built, SECOND, through=through) as (made, _, clients):
        own = {flow for flow in clients.of("kept", "large") if flow.backend == "b2"}
        made.unplug("b2")
        avoided(clients, "b2")
        clients.go_on()
        with capsys.disabled():
            show(f"b2 killed, found by its check, {through}", clients, its_own=len(own))
        broken = [flow for flow in clients.broken() if flow.backend]
        assert own <= set(broken)
        assert {flow.backend for flow in broken} == {"b2"}
        made.plug("b2")
        until(lambda: "b2" in {flow.backend for flow in clients.fresh(40)}, "b2 is back")
        assert {flow.backend for flow in clients.of("udp")} <= set(BACKENDS)


def test_managers_die_and_end_and_come_back_without_a_loss(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the middle of a drain: what the packets taught the kernel outlives them; their successors go on from it."""
    with balanced(built, IPIP) as (_, managers, clients):
        managers.drain("b3")
        avoided(clients, "b3")
        first = {flow: flow.backend for flow in clients.of(*LASTING) if flow.backend != "b3"}
        programs = {name: managers.program(name) for name in BALANCERS}
        for name in BALANCERS:
            managers.kill(name)
        clients.go_on()
        for name in BALANCERS:
            assert managers.program(name) == programs[name]
            managers.start(name)
            managers.end(name)
            managers.start(name)
            assert managers.program(name) not in {None, programs[name]}
        clients.leave("b3")
        clients.go_on()
        avoided(clients, "b3")
        moved = sum(flow.backend != backend for flow, backend in first.items())
        lost = clients.lost()
        with capsys.disabled():
            show("managers killed, ended and started", clients, moved=moved, datagrams_lost=lost)
        assert (ids(clients.broken()), moved, lost) == ([], 0, 0)


def test_a_balancer_dies_in_the_middle_of_a_drain(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No connection breaks, neither b2's own nor those that began elsewhere since."""
    with balanced(built, SECOND) as (made, managers, clients):
        managers.drain("b2")
        avoided(clients, "b2")
        clients.start(kept=KEPT)
        clients.go_on(1, count=2 * KEPT + LARGE + DATAGRAMS)
        made.unplug("lb1")
        made.route("lb2")
        clients.go_on()
        clients.fresh(60)
        clients.leave("b2")
        with capsys.disabled():
            show("lb1 killed during gtm drain", clients, datagrams_unanswered=clients.unanswered())
        assert ids(clients.broken()) == []


def test_synced_balancers_carry_on_each_others_flows(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """IPIP has no second chance: what began within the change is known to the other balancer, or breaks.

    The one that died comes back with nothing, and is ready once it has all that its peer knows.
    """
    with balanced(built, IPIP, sync=True, anew=0) as (made, managers, clients):
        managers.drain("b2")
        clients.start(anew=ANEW)
        avoided(clients, "b2")
        clients.start(kept=KEPT)
        clients.go_on(1, count=2 * KEPT + LARGE + DATAGRAMS)
        first = {flow: flow.backend for flow in clients.of("kept", "large")}
        until(lambda: knows(managers, "lb2", managers.flows("lb1")), "lb2 knows what lb1 learnt")
        made.unplug("lb1")
        made.route("lb2")
        clients.go_on()
        clients.fresh(60)
        made.plug("lb1")
        managers.reboot("lb1")
        assert knows(managers, "lb1", managers.flows("lb2"))
        made.route("lb1")
        clients.go_on()
        moved = sum(flow.backend != backend for flow, backend in first.items())
        broken = clients.broken()
        with capsys.disabled():
            show("synced, lb1 killed during gtm drain, back, lb2 left", clients, connections_moved=moved)
        # What is just beginning is on its way to the peer for 10 ms: at most what each of these clients has in the air.
        assert ([flow.kind for flow in broken if flow.kind != "anew"], moved) == ([], 0)
        assert len(broken) <= 2 * ANEW


def knows(managers: Managers, name: str, flows: NDArray[np.uint64]) -> bool:
    """Whether a balancer knows most of these flows: some end meanwhile, and lines are full."""
    own = managers.flows(name)
    at, _ = np.nonzero(flows)
    words = flows[np.nonzero(flows)]
    return len(words) > 0 and (own[at] == words[:, None]).any(axis=1).mean() > 0.9
