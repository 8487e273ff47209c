"""All sources together, as the controller runs them."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
import structlog

from gtm.app import rtt_sources
from gtm.app.rtt_sources import BATCH, RttSources
from gtm.model.node import Node
from gtm.model.rtt import RttFile, RttFormat, RttKind, RttSample, RttSettings, RttTarget
from gtm.observe.rtt.ring import Measured, RingWriter

DEADLINE_S = 60.0
HERE = Node(name="n1", region="us-east")
NOWHERE = Node(name="n1")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often: what is waited for here is that something is seen, not when."""
    monkeypatch.setattr(rtt_sources, "FILES_POLL_S", 0.05)
    monkeypatch.setattr(rtt_sources, "DRAIN_S", 0.05)


class Bench:
    """Sources over a folder, and what came of them."""

    def __init__(self, folder: Path, settings: RttSettings | None, node: Node = HERE, **more: object) -> None:
        self.samples: list[RttSample] = []
        self.folder = folder
        (folder / "state" / "workers").mkdir(parents=True)
        self.batches: list[int] = []
        self.task: asyncio.Task[None] | None = None
        self.sources = RttSources(settings, node, folder, folder / "state", self._take, **more)  # type: ignore[arg-type]

    def _take(self, samples: list[RttSample]) -> None:
        self.samples += samples
        self.batches.append(len(samples))

    async def until(self, reached: Callable[[], object]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not reached():
                assert self.task is None or not self.task.done(), self.task.exception()
                await asyncio.sleep(0.01)


@asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[RttSources]:
    task = bench.task = asyncio.create_task(bench.sources.run())
    try:
        yield bench.sources
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()


def files(*named: RttFile) -> RttSettings:
    return RttSettings(files=named, passive=False)


def put(path: Path, text: str, *, at_s: float | None = None) -> None:
    """A file that takes the place of what was there."""
    new = path.with_suffix(".new")
    new.write_text(text)
    if at_s is not None:
        os.utime(new, (at_s, at_s))
    new.replace(path)


CSV = RttFile(path="probes/rtt.csv")


def test_a_csv_is_read_and_read_again_when_it_changes(tmp_path: Path) -> None:
    (tmp_path / "probes").mkdir()
    path = tmp_path / "probes" / "rtt.csv"
    put(path, "192.0.2.0/24,us-east,10\n192.0.3.0/24,eu-west,20,7\n", at_s=1_700_000_000)

    async def scenario() -> None:
        bench = Bench(tmp_path, files(CSV), NOWHERE)
        async with running(bench) as sources:
            await bench.until(lambda: len(bench.samples) == 2)
            assert bench.samples[0] == RttSample(
                network=ip_network("192.0.2.0/24"), region="us-east", rtt_s=0.01, at_s=1_700_000_000.0
            )
            put(path, "192.0.4.0/24,us-east,30\n", at_s=time.time() + 9999)
            await bench.until(lambda: len(bench.samples) == 3)
            assert bench.samples[2].at_s <= time.time()  # a file from the future is from now
            assert sources.counters.samples == {"active": 0, "passive": 0, "csv": 3, "atlas": 0}
            assert sources.problems == {}

    asyncio.run(scenario())


def test_a_file_that_is_wrong_or_absent_is_a_problem_until_it_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "rtt.csv"

    async def scenario() -> None:
        bench = Bench(tmp_path, files(RttFile(path="rtt.csv")), regions=["us-east"])
        async with running(bench) as sources:
            await bench.until(lambda: sources.problems)
            assert sources.problems == {"rtt.csv": "rtt.csv: No such file or directory"}
            put(path, "192.0.2.0/24,us-east,10\n192.0.2.0/24,us-esat,10\n")
            await bench.until(lambda: "us-esat" in sources.problems["rtt.csv"])
            assert sources.problems["rtt.csv"].startswith("rtt.csv:2: 'us-esat' is not a region; did you mean us-east?")
            assert bench.samples == []
            put(path, "192.0.2.0/24,us-east,10\n")
            await bench.until(lambda: bench.samples and not sources.problems)

    asyncio.run(scenario())


def test_a_large_file_comes_in_portions(tmp_path: Path) -> None:
    put(tmp_path / "rtt.csv", "".join(f"10.{n >> 8}.{n & 255}.0/24,us-east,1\n" for n in range(BATCH * 2 + 5)))

    async def scenario() -> None:
        bench = Bench(tmp_path, files(RttFile(path="rtt.csv")))
        async with running(bench):
            await bench.until(lambda: len(bench.samples) == BATCH * 2 + 5)
        assert bench.batches == [BATCH, BATCH, 5]

    asyncio.run(scenario())


def test_atlas_results_by_the_address_that_was_pinged(tmp_path: Path) -> None:
    result = {"dst_addr": "193.0.14.129", "from": "79.156.126.125", "min": 31.5, "timestamp": 1_654_959_318}
    put(tmp_path / "atlas.json", json.dumps([result, {**result, "dst_addr": "193.0.14.130"}]))
    atlas = RttFile(path="atlas.json", format=RttFormat.ATLAS, regions={ip_address("193.0.14.129"): "eu-west"})

    async def scenario() -> None:
        bench = Bench(tmp_path, replace(files(atlas), prefix4=20))
        async with running(bench) as sources:
            await bench.until(lambda: sources.counters.ignored)
            [sample] = bench.samples
            assert (sample.network, sample.region) == (ip_network("79.156.112.0/20"), "eu-west")
            assert (sources.counters.samples["atlas"], sources.counters.ignored) == (1, 1)

    asyncio.run(scenario())


def test_rings_of_workers_are_drained_for_the_node_s_region(tmp_path: Path) -> None:
    async def scenario() -> None:
        bench = Bench(tmp_path, RttSettings())
        writer = RingWriter(tmp_path / "state" / "workers" / "dns-0.rtts")
        async with running(bench) as sources:
            await bench.until(writer.wanted)
            writer.put(Measured(bytes((203, 0, 113, 9)), 0.05, 1_700_000_000.0))
            await bench.until(lambda: bench.samples)
            assert bench.samples == [
                RttSample(network=ip_network("203.0.113.0/24"), region="us-east", rtt_s=0.05, at_s=1_700_000_000.0)
            ]
            assert sources.counters.samples["passive"] == 1

    asyncio.run(scenario())


def test_targets_are_measured(tmp_path: Path) -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            target = RttTarget(address=ip_address("127.0.0.1"), kind=RttKind.TCP, port=listener.getsockname()[1])
            bench = Bench(tmp_path, RttSettings(targets=(target,), interval_s=0.2, timeout_s=10.0))
            async with running(bench) as sources:
                await bench.until(lambda: len(bench.samples) >= 2)
                assert {(sample.network, sample.region) for sample in bench.samples} == {
                    (ip_network("127.0.0.0/24"), "us-east")
                }
                assert sources.counters.samples["active"] == len(bench.samples)
                assert sources.counters.active.answered >= len(bench.samples)

    asyncio.run(scenario())


def test_a_node_without_a_region_measures_nothing_and_says_so_once(tmp_path: Path) -> None:
    put(tmp_path / "rtt.csv", "192.0.2.0/24,us-east,10\n")
    target = RttTarget(address=ip_address("127.0.0.1"), kind=RttKind.TCP, port=1)
    settings = RttSettings(targets=(target,), interval_s=0.1, files=(RttFile(path="rtt.csv"),))

    async def scenario() -> None:
        bench = Bench(tmp_path, settings, NOWHERE)
        writer = RingWriter(tmp_path / "state" / "workers" / "dns-0.rtts")
        with structlog.testing.capture_logs() as logs:
            async with running(bench) as sources:
                await bench.until(lambda: bench.samples)
                sources.configure(replace(settings, interval_s=0.2), NOWHERE)
                await asyncio.sleep(0)
                sources.configure(replace(settings, interval_s=0.3), HERE)
                await bench.until(lambda: sources.counters.active.sent)
                await bench.until(writer.wanted)
        said = [entry for entry in logs if entry["event"] == "rtt_not_measured"]
        assert len(said) == 1
        assert "no region" in said[0]["reason"]

    asyncio.run(scenario())


def test_after_a_reload_only_what_is_new_is_read(tmp_path: Path) -> None:
    for name in ("a", "b"):
        put(tmp_path / f"{name}.csv", "192.0.2.0/24,us-east,10\n")
    a, b = RttFile(path="a.csv"), RttFile(path="b.csv")

    async def scenario() -> None:
        bench = Bench(tmp_path, files(a))
        async with running(bench) as sources:
            await bench.until(lambda: len(bench.samples) == 1)
            sources.configure(files(a, b), HERE)
            await bench.until(lambda: len(bench.samples) == 2)
            sources.configure(replace(files(a), prefix4=16), HERE)  # what is read is another thing now
            await bench.until(lambda: len(bench.samples) == 3)
            sources.configure(None, HERE)
            put(tmp_path / "a.csv", "192.0.2.0/24,us-east,10\n")
            sources.configure(files(b), HERE)
            await bench.until(lambda: len(bench.samples) == 4)
            assert sources.counters.samples["csv"] == 4

    asyncio.run(scenario())


def test_without_settings_nothing_runs(tmp_path: Path) -> None:
    async def scenario() -> None:
        bench = Bench(tmp_path, None)
        writer = RingWriter(tmp_path / "state" / "workers" / "dns-0.rtts")
        async with running(bench) as sources:
            await asyncio.sleep(0)
            assert not writer.wanted()
            sources.configure(RttSettings(), HERE)
            await bench.until(writer.wanted)

    asyncio.run(scenario())
