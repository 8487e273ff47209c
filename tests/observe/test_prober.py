"""The prober on a loop whose clock is invented: hours of probing in milliseconds, the same on every run."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Mapping
from ipaddress import IPv4Address
from itertools import pairwise
from random import Random
from typing import TypeVar

import pytest

from gtm.model.check import Cadence, Check, HttpProbe, Target, TcpProbe
from gtm.model.health import Phases, Result
from gtm.observe.files import CONCURRENCY_MAX, concurrency
from gtm.observe.outcome import Outcome, Reason
from gtm.observe.probe import Prepared
from gtm.observe.prober import Prober
from gtm.observe.schedule import Pace
from tests.observe.peers import says, serving

T = TypeVar("T")
GOOD = Outcome(reason=Reason.OK, detail="200 in 1 ms", took_s=0.001)
BAD = Outcome(reason=Reason.STATUS, detail="status 503", took_s=0.001)
OURS = Outcome(reason=Reason.OURS, detail="Too many open files", took_s=0.0)


class _NoWaiting(selectors.SelectSelector):
    """Where the loop would sleep, its clock moves instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everything waits for something that never comes"
            self.now_s += timeout
        return ready


class InventedLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.selector = _NoWaiting()
        super().__init__(self.selector)

    def time(self) -> float:
        return self.selector.now_s


def run(coroutine: Coroutine[object, object, T]) -> T:
    with asyncio.Runner(loop_factory=InventedLoop) as runner:
        return runner.run(coroutine)


class World:
    """Targets whose probes take as long, and come to, what the test says; and a record of all that happened."""

    def __init__(self, count: int = 3, cadence: Cadence | None = None, **limits: int) -> None:
        self.check = Check(name="tcp", probe=TcpProbe(port=1), cadence=cadence or Cadence())
        self.targets = {Target(check="tcp", address=IPv4Address(0x7F000001 + i)): self.check for i in range(count)}
        self.took_s: Callable[[Target], float] = lambda _target: 0.01
        self.outcome: Callable[[Target], Outcome] = lambda _target: GOOD
        self.starts: list[tuple[float, Target]] = []
        self.results: list[tuple[float, Target, Result]] = []
        self.running: dict[Target, int] = {}
        self.running_max = 0
        self.cancelled: list[Target] = []
        self.stale: list[tuple[float, frozenset[Target]]] = []
        self.wall_s = 1.7e9
        loop = asyncio.get_running_loop()
        assert isinstance(loop, InventedLoop)
        self.loop = loop
        self.prober = Prober(
            self.targets,
            self.note,
            on_stale=lambda stale: self.stale.append((self.loop.time(), stale)),
            random=Random(7).random,
            clock=self.loop.time,
            wall=lambda: self.wall_s,
            prepare=self.prepare,
            concurrency_max=limits.get("concurrency_max"),
        )

    def prepare(self, target: Target, _check: Check) -> Prepared:
        async def probe() -> Outcome:
            self.starts.append((self.loop.time(), target))
            self.running[target] = self.running.get(target, 0) + 1
            self.running_max = max(self.running_max, sum(self.running.values()))
            assert self.running[target] == 1, "a probe overlaps itself"
            try:
                await asyncio.sleep(self.took_s(target))
            except asyncio.CancelledError:
                self.cancelled.append(target)
                raise
            finally:
                self.running[target] -= 1
            return self.outcome(target)

        return probe

    def note(self, target: Target, result: Result) -> None:
        self.results.append((self.loop.time(), target, result))

    async def for_s(self, time_s: float, *, then: Callable[[], object] | None = None) -> None:
        """Run the prober for some time; `then` at half of it."""
        if then is not None:
            self.loop.call_later(time_s / 2, then)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(time_s):
                await self.prober.run()
        assert self.prober.counters.running == 0


def test_every_target_is_probed_about_once_an_interval() -> None:
    async def go() -> None:
        world = World(count=20)
        await world.for_s(1000)
        for target in world.targets:
            times = [at for at, seen in world.starts if seen == target]
            assert 100 <= len(times) <= 113  # 10 s less up to 10 %
        assert world.prober.counters.ok == len(world.results)
        assert world.prober.counters.late == 0

    run(go())


def test_the_first_round_is_over_when_every_target_has_had_a_result() -> None:
    async def go() -> None:
        world = World(count=100)
        running = asyncio.create_task(world.prober.run())
        assert await world.prober.first_round()
        assert {target for _, target, _ in world.results} == set(world.targets)
        assert world.loop.time() < 1000.2
        running.cancel()
        await asyncio.wait([running])

    run(go())


def test_the_first_round_is_bounded() -> None:
    async def go() -> None:
        world = World(count=3)
        world.outcome = lambda target: OURS if target == next(iter(world.targets)) else GOOD
        running = asyncio.create_task(world.prober.run())
        assert not await world.prober.first_round(timeout_s=5)
        assert world.loop.time() == pytest.approx(1005)
        assert not await world.prober.first_round()
        world.outcome = lambda _target: GOOD
        assert await world.prober.first_round()
        running.cancel()
        await asyncio.wait([running])

    run(go())


def test_without_targets_the_first_round_is_over_at_once() -> None:
    async def go() -> bool:
        return await World(count=0).prober.first_round(timeout_s=0.001)

    assert run(go())


def test_our_own_faults_are_counted_and_tried_again_but_never_reported() -> None:
    async def go() -> None:
        world = World(count=1)
        world.outcome = lambda _target: OURS if world.loop.time() < 1003 else GOOD
        await world.for_s(3.5)
        assert [result.ok for _, _, result in world.results] == [True]
        assert world.prober.counters.failed == {Reason.OURS: 3}
        assert world.prober.counters.ours_detail == "Too many open files"

    run(go())


def test_results_carry_what_the_probe_found() -> None:
    async def go() -> None:
        world = World(count=1)
        world.outcome = lambda _target: BAD
        await world.for_s(0.5)
        ((_, _, result),) = world.results
        assert result == Result(at_s=1.7e9, ok=False, took_s=0.001, detail="status 503")
        assert world.prober.counters.failed == {Reason.STATUS: 1}

    run(go())


@pytest.mark.parametrize("step_s", [-7200.0, 7200.0])
def test_a_step_of_the_wall_clock_moves_no_probe_and_no_stamp_goes_back(step_s: float) -> None:
    async def go(step_s: float) -> list[tuple[float, Target]]:
        world = World(count=5)

        def step() -> None:
            world.wall_s += step_s

        await world.for_s(100, then=step)
        stamps = [result.at_s for _, _, result in world.results]
        assert stamps == sorted(set(stamps))
        return world.starts

    assert run(go(step_s)) == run(go(0.0))


def test_a_probe_longer_than_its_interval_never_overlaps_itself() -> None:
    async def go() -> None:
        world = World(count=2, cadence=Cadence(interval_s=1.0))
        world.took_s = lambda _target: 2.5
        await world.for_s(30)
        times = [at for at, target in world.starts if target == next(iter(world.targets))]
        assert len(times) in {11, 12}
        assert all(b - a >= 2.5 for a, b in pairwise(times))

    run(go())


def test_no_more_run_at_once_than_allowed_and_delays_are_counted() -> None:
    async def go() -> None:
        world = World(count=50, concurrency_max=5)
        world.took_s = lambda _target: 0.5
        await world.for_s(60)
        assert world.running_max == 5
        assert len(world.starts) >= 200
        counters = world.prober.counters
        assert counters.started == len(world.starts)
        assert counters.late > 0
        assert counters.delay_s_max > 1

    run(go())


def test_update_keeps_what_did_not_change() -> None:
    async def go(*, update: bool) -> list[tuple[float, Target]]:
        world = World(count=5)
        await world.for_s(50, then=lambda: world.prober.update(dict(world.targets)) if update else None)
        return world.starts

    assert run(go(update=True)) == run(go(update=False))


def test_update_probes_new_and_changed_targets_at_once_and_forgets_removed_ones() -> None:
    async def go() -> None:
        world = World(count=4)
        gone, changed, *kept = world.targets
        new = Target(check="tcp", address=IPv4Address("127.9.9.9"))
        other = Check(name="tcp", probe=TcpProbe(port=2))
        wanted: Mapping[Target, Check] = {changed: other, **dict.fromkeys(kept, world.check), new: world.check}
        await world.for_s(100, then=lambda: world.prober.update(wanted))
        after = [(at, target) for at, target in world.starts if at >= 1050]
        assert {target for at, target in after if at <= 1050.1} >= {changed, new}
        assert gone not in {target for _, target in after}
        assert set(kept) <= {target for _, target in after}

    run(go())


def test_update_while_probes_run_cancels_those_that_no_longer_count() -> None:
    async def go() -> None:
        world = World(count=3)
        world.took_s = lambda _target: 5.0
        first, *kept = world.targets
        await world.for_s(8, then=lambda: world.prober.update(dict.fromkeys(kept, world.check)))
        assert world.cancelled[0] == first
        assert {target for at, target in world.starts if at >= 1004} <= set(kept)
        assert {target for _, target, _ in world.results} == set(kept)

    run(go())


def test_update_before_a_probe_took_its_first_step() -> None:
    async def go() -> None:
        world = World(count=2)
        running = asyncio.create_task(world.prober.run())
        while not world.prober.counters.started:  # noqa: ASYNC110 -- that moment has no event
            await asyncio.sleep(0)
        world.prober.update({})
        await asyncio.sleep(1)
        assert world.prober.counters.running == 0
        assert world.results == []
        running.cancel()
        await asyncio.wait([running])

    run(go())


def test_update_makes_the_first_round_wait_for_new_targets() -> None:
    async def go() -> None:
        world = World(count=1)
        running = asyncio.create_task(world.prober.run())
        assert await world.prober.first_round()
        new = Target(check="tcp", address=IPv4Address("127.9.9.9"))
        world.prober.update({**world.targets, new: world.check})
        assert await world.prober.first_round()
        assert new in {target for _, target, _ in world.results}
        running.cancel()
        await asyncio.wait([running])

    run(go())


def test_a_target_without_a_result_for_three_intervals_is_stale_until_it_has_one() -> None:
    async def go() -> None:
        world = World(count=3)
        first, *_ = world.targets
        world.outcome = lambda target: OURS if target == first and world.loop.time() < 1100 else GOOD
        await world.for_s(150)
        (since_s, stale), (until_s, none) = world.stale
        assert (stale, none) == (frozenset({first}), frozenset())
        assert 1030 <= since_s <= 1031.1
        assert 1100 <= until_s <= 1102.2
        assert world.prober.counters.stale == 0
        assert world.prober.counters.stalled == 1

    run(go())


def test_intervals_of_staleness_are_those_of_the_pace() -> None:
    async def go() -> None:
        world = World(count=3, cadence=Cadence(fast_s=1.0, timeout_s=1.0, idle_s=100.0))
        fast, idle, steady = world.targets
        world.prober.pace({fast: Pace.FAST, idle: Pace.IDLE})
        world.outcome = lambda _target: GOOD if world.loop.time() < 1200 else OURS
        await world.for_s(600)
        since_s = {target: min(at for at, stale in world.stale if target in stale) for target in world.targets}
        last_s = {target: max(at for at, seen, _ in world.results if seen == target) for target in world.targets}
        for target, every_s in ((fast, 1.0), (idle, 100.0), (steady, 10.0)):
            assert 3 * every_s <= since_s[target] - last_s[target] <= 3 * every_s + 1.1

    run(go())


def test_leaving_idle_makes_nothing_stale_that_is_probed_now() -> None:
    async def go() -> None:
        world = World(count=100, cadence=Cadence(interval_s=1.0, timeout_s=0.5, idle_s=100.0))
        world.prober.pace(dict.fromkeys(world.targets, Pace.IDLE))
        await world.for_s(601, then=lambda: world.prober.pace(dict.fromkeys(world.targets, Pace.STEADY)))
        assert world.stale == []

    run(go())


def test_a_hanging_probe_and_one_that_waits_for_room_are_stale() -> None:
    async def go() -> None:
        world = World(count=2, concurrency_max=1)
        world.took_s = lambda _target: 1e6
        await world.for_s(40)
        assert [stale for _, stale in world.stale] == [frozenset(world.targets)]

    run(go())


def test_what_was_before_the_run_makes_nothing_stale_and_a_target_that_is_gone_is_not_stale() -> None:
    async def go() -> None:
        world = World(count=2)
        first, second = world.targets
        await asyncio.sleep(1000)
        world.outcome = lambda target: OURS if target == first else GOOD
        await world.for_s(100, then=lambda: world.prober.update({second: world.check}))
        assert [stale for _, stale in world.stale] == [{first}, frozenset()]
        assert world.stale[0][0] >= 2030

    run(go())


def test_faults_are_those_of_targets_whose_last_attempt_failed_on_us() -> None:
    async def go() -> None:
        world = World(count=3)
        first, second, third = world.targets
        world.outcome = lambda target: OURS if target != third else GOOD
        await world.for_s(5)
        assert dict(world.prober.faults) == {first: "Too many open files", second: "Too many open files"}
        world.prober.update(dict.fromkeys((first, third), world.check))
        assert set(world.prober.faults) == {first}
        world.outcome = lambda _target: BAD
        await world.for_s(5)
        assert dict(world.prober.faults) == {}

    run(go())


def test_a_fast_target_is_probed_at_its_fast_interval_at_once() -> None:
    async def go() -> None:
        world = World(count=2, cadence=Cadence(interval_s=100.0, jitter=0.0, fast_s=1.0, timeout_s=1.0))
        first, second = world.targets
        await world.for_s(400, then=lambda: world.prober.pace({first: Pace.FAST}))
        times = [at for at, target in world.starts if target == first and at >= 1200]
        assert times[0] <= 1200.1
        assert 199 <= len(times) <= 202
        assert len([at for at, target in world.starts if target == second and at >= 1200]) == 2

    run(go())


def test_a_timeout_while_this_process_stood_still_is_our_fault() -> None:
    async def go() -> None:
        world = World(count=1)
        timeout = Outcome(reason=Reason.TIMEOUT, detail="timeout after 3 s", took_s=3.0)
        world.took_s = lambda _target: 3.0 if world.loop.time() < 1005 else 0.01
        world.outcome = lambda _target: timeout if world.loop.time() < 1005 else GOOD

        def stand_still() -> None:
            world.loop.selector.now_s += 1.0

        world.loop.call_later(1.6, stand_still)
        await world.for_s(8)
        assert {result.ok for _, _, result in world.results} == {True}
        assert world.prober.counters.failed == {Reason.OURS: 1}
        assert world.prober.counters.ours_detail == "this process stood still meanwhile: timeout after 3 s"

    run(go())


def test_a_poor_result_says_why_and_phases_are_kept() -> None:
    async def go() -> None:
        world = World(count=1)
        phases = Phases(connect_s=0.001, first_byte_s=0.002)
        poor = Outcome(reason=Reason.OK, detail="200 in 3 ms", took_s=0.003, poor="status 203", phases=phases)
        world.outcome = lambda _target: poor
        await world.for_s(0.5)
        ((_, _, result),) = world.results
        assert (result.ok, result.poor, result.phases) == (True, True, phases)
        assert result.detail == "200 in 3 ms: status 203"

    run(go())


def test_cancelling_cancels_every_probe() -> None:
    async def go() -> None:
        world = World(count=10)
        world.took_s = lambda _target: 2.0
        await world.for_s(1)
        assert sorted(world.cancelled, key=str) == sorted(world.targets, key=str)

    run(go())


def test_an_error_in_the_caller_ends_the_run() -> None:
    async def go() -> None:
        world = World(count=1)

        def broken(_target: Target, _result: Result) -> None:
            raise RuntimeError("a bug of the caller")

        prober = Prober(world.targets, broken, clock=world.loop.time, prepare=world.prepare)
        with pytest.raises(ExceptionGroup) as caught:
            await prober.run()
        assert caught.group_contains(RuntimeError, match="a bug of the caller")

    run(go())


def test_concurrency_leaves_room_for_other_files() -> None:
    assert 8 <= concurrency() <= CONCURRENCY_MAX


def test_a_real_server_is_probed_and_its_death_is_seen() -> None:
    async def go() -> None:
        seen: asyncio.Queue[Result] = asyncio.Queue()
        async with serving(says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as peer:
            cadence = Cadence(interval_s=0.05, timeout_s=10)
            check = Check(name="web", probe=HttpProbe(port=peer.port), cadence=cadence)
            target = Target(check="web", address=peer.address)
            prober = Prober({target: check}, lambda _target, result: seen.put_nowait(result))
            running = asyncio.create_task(prober.run())
            assert await prober.first_round()
            assert (await seen.get()).ok
        while (await seen.get()).ok:
            pass
        running.cancel()
        await asyncio.wait([running])
        assert prober.counters.failed.keys() <= {Reason.REFUSED, Reason.CLOSED}

    asyncio.run(go())
