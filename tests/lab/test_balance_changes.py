"""Changes under continuous load: what breaks when a backend drains or dies, a balancer dies, a table is swapped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gtm.publish.dataplane.link import Outcome
from tests.lab.balance import (
    BACKENDS,
    BALANCERS,
    GUE,
    IPIP,
    L2,
    NUMBERS,
    SECOND,
    SECOND6,
    SLOTS,
    VIPS,
    How,
    Rack,
    moving,
    rack,
    settled,
    without,
)
from tests.lab.clients import Flow, Load, load

KEPT, LARGE, ANEW, DATAGRAMS = 48, 6, 8, 24
SWAPS = 100
WAYS = pytest.mark.parametrize("how", [L2, IPIP, GUE], ids=["l2", "ipip", "gue"])


@contextmanager
def loaded(built: Path, how: How) -> Iterator[tuple[Rack, Load]]:
    """A rack under load, each flow of which was answered."""
    with rack(built, how) as made, load(made.client, VIPS) as clients:
        clients.start(kept=KEPT, large=LARGE, anew=ANEW, datagrams=DATAGRAMS)
        clients.go_on(1, count=KEPT + LARGE + DATAGRAMS)
        yield made, clients


def show(what: str, clients: Load, **more: object) -> None:
    """One line, past what pytest captures."""
    kinds = Counter(flow.kind for flow in list(clients.flows))
    flows = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    told = "".join(f"; {name.replace('_', ' ')} {value}" for name, value in more.items())
    print(f"\n  {what}: {flows} flows, {clients.answers():,} answers; {len(clients.broken())} broken{told}")


def ids(flows: list[Flow]) -> list[str]:
    return [f"{flow.kind} {flow.backend} {flow.broken}" for flow in flows]


@WAYS
def test_a_drained_backend_breaks_no_flow(
    built: Path, how: How, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    with loaded(built, how) as (made, clients):
        stay = [flow for flow in clients.of("kept", "large", "udp") if flow.backend == "b2"]
        assert stay
        made.write_slots(moving(made.slots, without(made.slots, "b2")))
        new = clients.fresh(60)
        clients.go_on()
        assert "b2" not in {flow.backend for flow in new}
        assert {flow.backend for flow in stay} == {"b2"}
        clients.leave("b2")
        made.alive.remove("b2")
        made.write_backends()
        made.write_slots(settled(made.slots))
        clients.go_on()
        assert "b2" not in {flow.backend for flow in clients.of("kept", "large", "udp")}
        lost = clients.lost()
        with capsys.disabled():
            show(f"{request.node.callspec.id}: b2 drained", clients, its_own=len(stay), datagrams_lost=lost)
        assert ids(clients.broken()) == []
        assert lost == 0


@WAYS
def test_a_killed_backend_breaks_its_own_flows_alone(
    built: Path, how: How, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    with loaded(built, how) as (made, clients):
        own = {flow for flow in clients.of("kept", "large") if flow.backend == "b2"}
        made.unplug("b2")
        made.alive.remove("b2")
        made.write_backends()
        made.write_slots(without(made.slots, "b2"))
        clients.go_on()
        new = clients.fresh(60)
        clients.go_on()
        lost = {flow.backend for flow in clients.of("udp")}
        with capsys.disabled():
            show(f"{request.node.callspec.id}: b2 killed", clients, its_own=len(own))
        broken = [flow for flow in clients.broken() if flow.backend]
        assert own <= set(broken)
        assert {flow.backend for flow in broken} == {"b2"}
        assert {flow.backend for flow in new} == set(BACKENDS) - {"b2"} == lost


def test_a_hundred_tables_and_new_programs_lose_nothing(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each table moves slots; a flow stays with who had it first. A program is replaced after each tenth table."""
    with loaded(built, GUE) as (made, clients):
        first = {flow: flow.backend for flow in clients.of("kept", "large", "udp")}
        before = clients.answers()
        for turn in range(SWAPS):
            names = sorted(BACKENDS, key=lambda name: (NUMBERS[name] * (turn + 1)) % 7)
            made.write_slots(moving(made.slots, [NUMBERS[names[(at * turn + at) % 3]] for at in range(SLOTS)]))
            if turn % 10 == 9:
                assert {made.update(name) for name in BALANCERS} == {Outcome.UPDATED}
        during = clients.answers() - before
        clients.go_on()
        moved = sum(flow.backend != backend for flow, backend in first.items())
        lost = clients.lost()
        with capsys.disabled():
            show(f"{SWAPS} tables", clients, moved=moved, answers_meanwhile=during, datagrams_lost=lost)
        assert during > 0
        assert (ids(clients.broken()), moved, lost) == ([], 0, 0)


def test_all_goes_on_while_nobody_manages(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the middle of a change; whoever comes back finds tables, flows and counters as the packets left them."""
    with loaded(built, IPIP) as (made, clients):
        made.write_slots(moving(made.slots, without(made.slots, "b2")))
        clients.go_on()
        first = {flow: flow.backend for flow in clients.of("kept", "large", "udp")}
        served = {name: made.forwarded(name) for name in BALANCERS}
        for name in BALANCERS:
            made.leave_alone(name)
        clients.go_on()
        assert {flow.backend for flow in clients.fresh(60)} == set(BACKENDS) - {"b2"}
        for name, before in served.items():
            assert made.update(name) is Outcome.UPDATED
            assert made.forwarded(name) > before
            found = made.balancers[name].ring(0)
            assert found is not None
            assert (found[0], found[1].tolist()) == (made.generation, made.slots)
        clients.go_on()
        moved = sum(flow.backend != backend for flow, backend in first.items())
        lost = clients.lost()
        with capsys.disabled():
            show("nobody manages for a while", clients, moved=moved, datagrams_lost=lost)
        assert (ids(clients.broken()), moved, lost) == ([], 0, 0)


@pytest.mark.parametrize(
    ("how", "changing"),
    [
        *((IPIP, False), (SECOND, False), (GUE, True)),
        *((how, True) for how in (SECOND, SECOND6, replace(SECOND, tc=True), replace(SECOND6, tc=True))),
    ],
    ids=[
        *("steady", "second-chance-steady", "without-it-in-transition"),
        *(f"second-chance-in-transition{how}" for how in ("", "-ip6", "-tc", "-ip6-tc")),
    ],
)
def test_a_killed_balancer_breaks_no_connection(
    built: Path, how: How, changing: bool, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    """The one that is left knows none of its flows: its table decides, and within a change a second chance.

    Without a second chance those that began within the change with the killed one are lost, which shows what it does.
    """
    with loaded(built, how) as (made, clients):
        if changing:
            made.write_slots(moving(made.slots, without(made.slots, "b2")))
            clients.start(kept=KEPT, large=LARGE)
            clients.go_on(1, count=2 * KEPT + 2 * LARGE + DATAGRAMS)
        first = {flow: flow.backend for flow in clients.of("kept", "large")}
        served = [made.forwarded(name) for name in BALANCERS]
        made.unplug("lb1")
        made.route("lb2")
        clients.go_on()
        clients.fresh(60)
        made.plug("lb1")
        made.route(*BALANCERS)
        clients.go_on()
        clients.fresh(60)
        assert all(made.forwarded(name) > before for name, before in zip(BALANCERS, served, strict=True))
        moved = sum(flow.backend != backend for flow, backend in first.items())
        broken = [flow for flow in clients.broken() if flow.kind != "anew"]
        what = f"lb1 killed, {request.node.callspec.id}"
        with capsys.disabled():
            show(what, clients, connections_moved=moved, datagrams_unanswered=clients.unanswered())
        assert moved == 0
        if changing and not how.second_chance:
            assert broken
        else:
            assert ids(clients.broken()) == []
