"""The keeper of load: sources in their turn, faults counted and shown, reloads, pushes; and a real Prometheus."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from gtm.app.load import PUSHED, LoadKeeper
from gtm.model.load import (
    LoadFileSource,
    LoadMetric,
    LoadQuery,
    LoadSample,
    LoadSettings,
    LoadSourceState,
    PrometheusSource,
)
from tests.app.worker import free_port
from tests.observe.load.web import reply, vector, web
from tests.observe.load.world import EAST_1, EAST_2, deployment

REQUESTS, CONNECTIONS, UTILISATION = LoadMetric
DEADLINE_S = 60.0
FAST = LoadSettings(interval_s=0.02, timeout_s=30.0, half_life_s=0.0)


def query(metric: LoadMetric = REQUESTS, text: str = "x") -> LoadQuery:
    return LoadQuery(metric=metric, query=text, label="instance")


def state(keeper: LoadKeeper, source: str) -> LoadSourceState:
    return next(one for one in keeper.summary().sources if one.source == source)


class Waiting:
    """What the keeper calls on each change; `until` waits for a change after which something is so."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()

    def __call__(self) -> None:
        self.changed.set()

    async def until(self, what: Callable[[], bool]) -> None:
        while not what():
            self.changed.clear()
            await self.changed.wait()


@asynccontextmanager
async def running(keeper: LoadKeeper) -> AsyncIterator[None]:
    task = asyncio.create_task(keeper.run())
    try:
        async with asyncio.timeout(DEADLINE_S):
            yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_a_server_is_asked_each_interval_and_survives_its_own_restart() -> None:
    async def scenario() -> None:
        waiting = Waiting()
        async with web(lambda _: vector(({"instance": "192.0.2.11:80"}, "10"))) as first:
            settings = replace(FAST, sources=(PrometheusSource(url=first.url, queries=(query(),)),))
            keeper = LoadKeeper(deployment(settings), waiting)
            async with running(keeper):
                await first.until(3)
                assert keeper.table()[EAST_1, REQUESTS].value == 10.0
                assert keeper.table()["region/us-east", REQUESTS].parts == 1
                first.stop()
                await waiting.until(lambda: state(keeper, first.url).problem is not None)
                assert state(keeper, first.url).failures > 0
                # What was known stays known, with its age, until it is too old.
                assert keeper.table()[EAST_1, REQUESTS].raw == 10.0
                async with web(lambda _: vector(({"instance": "192.0.2.11:80"}, "20")), first.port) as second:
                    await second.until(2)
                    assert keeper.table()[EAST_1, REQUESTS].raw == 20.0
                    assert state(keeper, first.url).problem is None

    asyncio.run(scenario())


def test_a_failing_server_is_counted_and_shown_and_stops_no_other(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "load.json"
        async with web(lambda _: reply(b"no", 500)) as bad:
            settings = replace(
                FAST,
                sources=(PrometheusSource(url=bad.url, queries=(query(),)), LoadFileSource(path=str(path))),
            )
            waiting = Waiting()
            keeper = LoadKeeper(deployment(settings), waiting)
            async with running(keeper):
                await bad.until(3)
                assert "HTTP status 500" in str(state(keeper, bad.url).problem)
                assert state(keeper, bad.url).failures >= 2
                await waiting.until(lambda: state(keeper, str(path)).problem is not None)
                aside = tmp_path / "aside"
                loads = [{"subject": EAST_2, "connections": 5}, {"subject": "region/nowhere", "connections": 5}]
                aside.write_text(json.dumps({"at": time.time(), "loads": loads}))
                aside.replace(path)
                await waiting.until(lambda: (EAST_2, CONNECTIONS) in keeper.table())
                assert keeper.table()[EAST_2, CONNECTIONS].source == str(path)
                shown = state(keeper, str(path))
                assert (shown.problem, shown.samples, shown.ignored) == (None, 1, 1)
                assert shown.age_s is not None

    asyncio.run(scenario())


def test_a_reload_keeps_what_is_known_of_those_that_stay() -> None:
    async def scenario() -> None:
        async with (
            web(lambda _: vector(({"instance": "192.0.2.11"}, "1"), ({"instance": "us-west"}, "9"))) as first,
            web(lambda _: vector(({"instance": "192.0.2.12"}, "2"))) as second,
        ):
            at_first = deployment(replace(FAST, sources=(PrometheusSource(url=first.url, queries=(query(),)),)))
            then = deployment(replace(FAST, sources=(PrometheusSource(url=second.url, queries=(query(),)),)))
            then = replace(then, regions={name: one for name, one in then.regions.items() if name != "us-west"})
            keeper = LoadKeeper(at_first)
            async with running(keeper):
                await first.until(2)
                assert ("region/us-west", REQUESTS) in keeper.table()
                keeper.configure(then)
                await second.until(2)
                assert keeper.table()[EAST_1, REQUESTS].raw == 1.0
                assert keeper.table()[EAST_2, REQUESTS].raw == 2.0
                assert ("region/us-west", REQUESTS) not in keeper.table()
                assert [one.source for one in keeper.summary().sources] == [second.url]
                keeper.configure(deployment(None))
                assert keeper.summary().sources == ()

    asyncio.run(scenario())


def test_pushed_load_counts_where_it_is_wanted() -> None:
    wanted, unknown = (
        LoadSample(subject=subject, metric=UTILISATION, value=0.5, at_s=time.time())
        for subject in ("region/us-east", "region/nowhere")
    )
    told = []
    keeper = LoadKeeper(deployment(LoadSettings(reports=True)), lambda: told.append(1))
    keeper.push([wanted, unknown])
    assert keeper.table()["region/us-east", UTILISATION].source == PUSHED
    assert (state(keeper, PUSHED).samples, state(keeper, PUSHED).ignored) == (1, 1)
    assert told == [1]
    assert [one.subject for one in keeper.summary().subjects] == ["region/us-east"]
    for settings in (LoadSettings(), None):
        closed = LoadKeeper(deployment(settings))
        closed.push([wanted])
        assert not closed.table()


def test_what_was_measured_too_long_ago_does_not_count() -> None:
    keeper = LoadKeeper(deployment(LoadSettings(reports=True, age_max_s=100.0)))
    old = LoadSample(subject=EAST_1, metric=REQUESTS, value=5.0, at_s=time.time() - 101)
    keeper.push([old])
    assert not keeper.table()
    keeper.push([replace(old, at_s=time.time() - 50)])
    assert keeper.table()[EAST_1, REQUESTS].age_s == pytest.approx(50, abs=20)


# A real Prometheus.

CONFIG = """\
global: {scrape_interval: 100ms, scrape_timeout: 100ms}
scrape_configs:
  - job_name: lb
    static_configs: [{targets: ["%s"]}]
    metrics_path: /metrics
    relabel_configs:
      - {source_labels: [__address__], target_label: instance, regex: ".*", replacement: "192.0.2.11:9100"}
"""
METRICS = b"""\
# TYPE lb_connections gauge
lb_connections 17
# TYPE lb_busy gauge
lb_busy{part="a"} 0.25
lb_busy{part="b"} 0.75
lb_broken NaN
"""


async def ready(url: str) -> None:
    """Wait until Prometheus says that it is ready and has scraped something."""
    async with httpx.AsyncClient(trust_env=False) as client:
        while True:
            try:
                answer = await client.get(f"{url}/api/v1/query", params={"query": "lb_connections"})
                if answer.status_code == 200 and answer.json()["data"]["result"]:
                    return
            except (httpx.HTTPError, ValueError):
                pass
            await asyncio.sleep(0.05)


def test_a_real_prometheus_is_asked(tmp_path: Path) -> None:
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("needs prometheus")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\n"
        writer.write(head + b"Content-Length: %d\r\n\r\n%s" % (len(METRICS), METRICS))
        await writer.drain()
        writer.close()

    async def scenario(program: str, url: str, exporter: asyncio.Server) -> None:
        port = exporter.sockets[0].getsockname()[1]
        (tmp_path / "prometheus.yml").write_text(CONFIG % f"127.0.0.1:{port}")
        process = await asyncio.create_subprocess_exec(
            program,
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address={url.removeprefix('http://')}",
            "--log.level=error",
        )
        try:
            queries = (
                query(CONNECTIONS, "lb_connections"),
                query(UTILISATION, "lb_busy"),
                query(REQUESTS, "lb_broken"),
                LoadQuery(metric=REQUESTS, query="scalar(sum(lb_connections) * 2)", label="eu-west"),
                query(REQUESTS, "sum by ("),
            )
            settings = replace(FAST, interval_s=0.05, sources=(PrometheusSource(url=url, queries=queries),))
            waiting = Waiting()
            keeper = LoadKeeper(deployment(settings), waiting)
            async with running(keeper):
                await ready(url)
                await waiting.until(lambda: (EAST_1, CONNECTIONS) in keeper.table())
                found = keeper.table()
                assert found[EAST_1, CONNECTIONS].raw == 17.0
                assert found["region/us-east", CONNECTIONS].raw == 17.0
                assert found[EAST_1, UTILISATION].raw == 0.75
                assert found["region/eu-west", REQUESTS].raw == 34.0
                assert (EAST_1, REQUESTS) not in found
                shown = state(keeper, url)
                assert shown.ignored > 0
                assert "sum by (: HTTP status 400: " in str(shown.problem)
        finally:
            process.terminate()
            await process.wait()

    async def whole(program: str) -> None:
        exporter = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with exporter:
            await scenario(program, f"http://127.0.0.1:{free_port()}", exporter)

    asyncio.run(whole(program))
