"""What others push reaches those who wait for it, once, in order, and in portions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from gtm.app.intake import Intake
from gtm.model.check import Target
from gtm.model.health import Health, Judgement, Result
from gtm.model.load import LoadMetric, LoadSample
from gtm.model.push import PushedHealth
from gtm.model.rtt import RttSample
from gtm.store import inbox as inbox_module
from gtm.store.store import Store
from tests.app.pushing import OUTSIDE

WALL_S, NOW_S = 1_800_000_000.0, 500.0
ONE, TWO = (Target(check="outside", address=ip_address(text)) for text in ("192.0.2.11", "192.0.2.21"))
DOWN = PushedHealth(target=ONE, health=Health.DOWN, detail="no orders", ttl_s=60.0, at_s=WALL_S)
LOAD = LoadSample(subject="region/us-east", metric=LoadMetric.REQUESTS, value=1200.0, at_s=WALL_S)
RTT = RttSample(network=ip_network("192.0.2.0/24"), region="us-east", rtt_s=0.01, at_s=WALL_S)


@dataclass
class Waiting:
    """What was handed on."""

    results: list[tuple[Target, Result]] = field(default_factory=list)
    loads: list[LoadSample] = field(default_factory=list)
    rtts: list[RttSample] = field(default_factory=list)

    def take(self, target: Target, result: Result) -> None:
        self.results.append((target, result))


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Store]:
    """The store as another process has it."""
    with Store(tmp_path / "store.db") as store:
        yield store


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


@pytest.fixture
def intake(outside: Store, tmp_path: Path, waiting: Waiting) -> Iterator[Intake]:
    with Store(tmp_path / "store.db") as store:
        checks = {ONE: OUTSIDE, TWO: OUTSIDE}
        yield Intake(store, checks, results=waiting.take, loads=waiting.loads.extend, rtts=waiting.rtts.extend)


def test_each_kind_goes_to_those_who_wait_for_it(intake: Intake, outside: Store, waiting: Waiting) -> None:
    outside.deliver([DOWN, LOAD, RTT, replace(DOWN, target=TWO, health=Health.DEGRADED, at_s=WALL_S + 1)])
    assert not intake.look(now_s=NOW_S, wall_s=WALL_S + 1)
    assert waiting.results == [
        (ONE, Result(at_s=WALL_S, ok=False, took_s=0.0, detail="no orders")),
        (TWO, Result(at_s=WALL_S + 1, ok=True, took_s=0.0, detail="no orders", poor=True)),
    ]
    assert (waiting.loads, waiting.rtts) == ([LOAD], [RTT])
    intake.look(now_s=NOW_S + 1, wall_s=WALL_S + 2)
    assert len(waiting.results) == 2


def test_what_waited_before_the_first_look_is_taken(outside: Store, tmp_path: Path, waiting: Waiting) -> None:
    outside.deliver([LOAD])
    with Store(tmp_path / "store.db") as store:
        late = Intake(store, {}, results=waiting.take, loads=waiting.loads.extend, rtts=waiting.rtts.extend)
        late.look(now_s=NOW_S, wall_s=WALL_S)
    assert waiting.loads == [LOAD]


def test_portions_go_on_though_nobody_writes(intake: Intake, outside: Store, waiting: Waiting) -> None:
    most = inbox_module.COLLECTED_MAX
    outside.deliver([replace(LOAD, value=float(number)) for number in range(2 * most + 1)])
    assert [intake.look(now_s=NOW_S, wall_s=WALL_S) for _ in range(4)] == [True, True, False, False]
    assert [one.value for one in waiting.loads] == list(range(2 * most + 1))


def test_a_target_that_is_gone_gets_nothing_and_silence_is_known(
    intake: Intake, outside: Store, waiting: Waiting
) -> None:
    outside.deliver([DOWN, replace(DOWN, target=TWO)])
    intake.configure({TWO: OUTSIDE})
    intake.look(now_s=NOW_S, wall_s=WALL_S)
    assert [target for target, _ in waiting.results] == [TWO]
    assert intake.expired(NOW_S + 59) == frozenset()
    assert intake.expired(NOW_S + 60) == {TWO}


def test_a_restart_knows_what_still_counts(intake: Intake) -> None:
    last = Result(at_s=WALL_S - 10, ok=True, took_s=0.0, detail="")
    intake.restore({ONE: Judgement(health=Health.UP, last=last)}, now_s=NOW_S, wall_s=WALL_S)
    assert intake.expired(NOW_S + 49) == {TWO}
    assert intake.expired(NOW_S + 50) == {ONE, TWO}
