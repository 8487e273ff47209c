"""A range of TTLs on the wire: from results of probes by way of the decision to the answer of a real worker."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gtm.answer.authority import Authority
from gtm.answer.compile import compile_sets, layout
from gtm.answer.table import SteeredSet
from gtm.decide.health import fold_all
from gtm.decide.plan import Decision, Dependents, decide
from gtm.model.check import Cadence, Target
from gtm.model.health import Judgement, Result
from gtm.model.override import Action, Override, Subject
from gtm.model.policy import Order, Policy, Rule
from gtm.model.snapshot import Snapshot
from gtm.publish.dns.control import Control
from gtm.publish.dns.tables import Publisher
from gtm.wire import name as wire_name
from tests.answer.table import classes, table, zone
from tests.app.node import CLIENTS, ecs_query, node, until
from tests.app.worker import ask, free_port, worker
from tests.decide.world import CHECK, POOL, WWW, deployment, targets_of

FIRST = Policy(rules=(Rule(order=Order(regions=("us-east", "eu-west"))),))
NAME = replace(WWW, ttl_s=60, ttl_min_s=5, policy=FIRST, answers=3)
WANTED = replace(
    deployment(NAME), checks={"web": replace(CHECK, cadence=Cadence(interval_s=10.0, fall=3, rise=2, fast_s=4.0))}
)
US_EAST = {str(instance.a) for instance in POOL.instances if instance.region == "us-east"}


class Brain:
    """What a controller does with results and orders, one call after the other."""

    def __init__(self, state: Path, classes_file: Path) -> None:
        self.state = state
        self.at_s = 1000.0
        self.judgements: dict[Target, Judgement] = {}
        self.decision: Decision | None = None
        self.sets: tuple[SteeredSet, ...] | None = None
        self.lay = layout(WANTED, classes().loci)
        self.dependents = Dependents.of(WANTED)
        self.publisher = Publisher(state, Control(state, writable=True), key=table().key)
        self.base = self.publisher.lay(WANTED, Authority.build([zone()], self.lay.index), self.lay.index, classes_file)

    def probed(self, *failed: Target, overrides: tuple[Override, ...] = ()) -> bool:
        """One round of probes of which these fail; whether that made anything to publish."""
        self.at_s += 4.0
        results = [
            (target, Result(at_s=self.at_s, ok=target not in failed, took_s=0.01, detail=""))
            for target in WANTED.targets()
        ]
        before = dict(self.judgements)
        self.judgements.update(fold_all(before, results, WANTED.targets()))
        moved = [
            target
            for target, now in self.judgements.items()
            if (was := before.get(target)) is None
            or was.health is not now.health
            or self.dependents.pace.moved(target, was, now)
        ]
        if moved or overrides:
            self.publish(overrides)
        return bool(moved)

    def publish(self, overrides: tuple[Override, ...] = ()) -> None:
        snapshot = Snapshot(
            revision=1 if self.decision is None else self.decision.snapshot.revision + 1,
            now_s=self.at_s,
            deployment=WANTED,
            judgements=dict(self.judgements),
            overrides=overrides,
        )
        self.decision = decide(snapshot, self.decision, self.dependents)
        self.sets = compile_sets(self.decision.plan, self.lay, self.sets, self.decision.touched)
        self.publisher.publish(self.base, WANTED, snapshot.revision, self.sets, self.at_s)


@pytest.fixture
def brain(tmp_path: Path, classes_file: Path) -> Brain:
    """One that has published what it saw in its first round, in which all was well."""
    made = Brain(tmp_path, classes_file)
    assert made.probed()
    return made


def told(reply: bytes) -> tuple[int, set[str]]:
    """The TTL and the addresses of an answer."""
    start = reply.index(b"\0", 12) + 5
    records = [reply[start + 16 * i : start + 16 * i + 16] for i in range(int.from_bytes(reply[6:8], "big"))]
    (ttl,) = {int.from_bytes(record[6:10], "big") for record in records}
    return ttl, {".".join(map(str, record[12:])) for record in records}


def answer(port: int) -> tuple[int, set[str]]:
    """The TTL and the addresses that a client gets."""
    query = b"\x12\x34\x01\0\0\1\0\0\0\0\0\0" + wire_name.parse("www.example.com.") + b"\0\1\0\1"
    return told(ask(query, port))


def test_an_instance_that_fails_shortens_the_ttl_before_it_goes_down(brain: Brain) -> None:
    port = free_port()
    first = targets_of("us-east")[0]
    with worker(brain.state, f"127.0.0.1:{port}"):
        assert answer(port) == (18, US_EAST)  # one interval, then two fast ones
        assert not brain.probed()  # all is well again: nothing to publish
        assert brain.probed(first)
        until(lambda: answer(port) == (8, US_EAST))
        assert brain.probed(first)
        until(lambda: answer(port) == (5, US_EAST))
        assert brain.probed(first)
        until(lambda: answer(port) == (14, US_EAST - {str(first.address)}))  # now it may return
        assert not brain.probed(first)
        assert brain.probed()
        until(lambda: answer(port) == (5, US_EAST - {str(first.address)}))
        assert brain.probed()
        until(lambda: answer(port) == (18, US_EAST))


def test_a_drain_with_an_end_and_nothing_available(brain: Brain) -> None:
    port = free_port()
    drain = Override(
        subject=Subject(kind="region", name="us-east"),
        action=Action.DRAIN,
        owner="ann",
        reason="test",
        since_s=0,
        until_s=brain.at_s + 15.0,
    )
    with worker(brain.state, f"127.0.0.1:{port}"):
        assert not brain.probed(overrides=(drain,))
        until(lambda: answer(port)[0] == 11 and not answer(port)[1] & US_EAST)
        assert not brain.probed(overrides=(drain,))
        until(lambda: answer(port)[0] == 7)
        for _ in range(3):
            brain.probed(*WANTED.targets())
        until(lambda: answer(port) == (5, US_EAST))  # serve_all, and the least TTL


CHECK_2S = """\
checks:
  web: {{http: {{port: {web}, path: /healthz}}, interval: 2s, timeout: 0.5s, fall: 3, rise: 2, jitter: 0%}}
"""


def test_a_node_whose_instance_dies_shortens_the_ttl_while_it_is_still_answered(tmp_path: Path) -> None:
    with node(tmp_path) as made:
        steering = made.folder / "zones" / "example.com.yaml"
        steering.write_text(steering.read_text().replace("ttl: 5, answers: 2", "ttl: 1..60, answers: 3"))
        (made.folder / "probes" / "checks.yaml").write_text(CHECK_2S.format(web=made.web))
        made.serve()
        query = ecs_query("www.example.com.", CLIENTS["us-east"])
        everything = {"127.0.1.11", "127.0.1.12", "127.0.1.13"}
        until(lambda: told(ask(query, made.port)) == (6, everything))  # three failures, two seconds apart
        made.kill("127.0.1.11")
        seen: list[tuple[int, frozenset[str]]] = []

        def gone() -> bool:
            ttl, addresses = told(ask(query, made.port))
            if not seen or seen[-1] != (ttl, frozenset(addresses)):
                seen.append((ttl, frozenset(addresses)))
            return "127.0.1.11" not in addresses

        until(gone)
        shortened = [ttl for ttl, addresses in seen if addresses == everything]
        assert shortened == sorted(shortened, reverse=True)
        assert shortened[0] == 6
        assert shortened[-1] < 6  # two seconds each: how many of the steps are seen hangs on the machine
        assert set(seen[-1][1]) == everything - {"127.0.1.11"}
