"""HTTP/1.1 connections kept between probes, against real servers."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from gtm.model.check import Cadence, Check, HttpProbe, Target, Tls
from gtm.observe import files, http1, tls
from gtm.observe import probe as probe_module
from gtm.observe.attempt import close
from gtm.observe.outcome import Outcome, Reason
from gtm.observe.probe import prepare
from tests.observe.peers import Authority, Peer, Serve, says, serving

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
REUSE = HttpProbe(reuse=True)


@pytest.fixture(autouse=True)
def no_descriptor_is_left() -> Iterator[None]:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    yield
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


@pytest.fixture(autouse=True)
def a_busy_machine_is_no_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_module, "STALL_S", 60.0)


async def rounds(peer: Peer, what: HttpProbe, count: int = 3) -> list[Outcome]:
    check = Check(name="web", probe=replace(what, port=peer.port), cadence=Cadence(timeout_s=20.0))
    run = prepare(Target(check="web", address=peer.address), check)
    outcomes = [await run() for _ in range(count)]
    close(run)
    return outcomes


def answers(part: bytes, connections: list[int], most: int = 100) -> Serve:
    """Answers `most` requests of each connection; the last is followed by a close that the answer says nothing of."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(0)
        mine = len(connections) - 1
        while True:
            connections[mine] += 1
            writer.write(part)
            await writer.drain()
            if connections[mine] == most:
                return
            await reader.readuntil(b"\r\n\r\n")

    return serve


def served(part: bytes, what: HttpProbe = REUSE, most: int = 100) -> tuple[list[Outcome], list[int]]:
    connections: list[int] = []

    async def go() -> list[Outcome]:
        async with serving(answers(part, connections, most)) as peer:
            return await rounds(peer, what)

    return asyncio.run(go()), connections


@pytest.mark.parametrize(
    "part",
    [
        OK,
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nok",
    ],
)
def test_a_whole_answer_leaves_the_connection_for_the_next_probe(part: bytes) -> None:
    outcomes, connections = served(part)
    assert all(outcome.ok for outcome in outcomes)
    assert connections == [3]


@pytest.mark.parametrize(
    "part",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        OK + b"more",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok",
    ],
)
def test_any_other_answer_ends_it(part: bytes) -> None:
    outcomes, connections = served(part)
    assert all(outcome.ok for outcome in outcomes)
    assert connections == [1, 1, 1]


def test_without_reuse_each_probe_has_a_connection_of_its_own() -> None:
    assert served(OK, HttpProbe())[1] == [1, 1, 1]


def test_a_connection_that_the_server_closed_is_no_failure() -> None:
    outcomes, connections = served(OK, most=1)
    assert [outcome.reason for outcome in outcomes] == [Reason.OK] * 3
    assert connections == [1, 1, 1]


def test_one_that_is_closed_at_the_next_request_is_no_failure() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await says(OK)(reader, writer)
        await reader.readuntil(b"\r\n\r\n")

    async def go() -> list[Outcome]:
        async with serving(once) as peer:
            outcomes = await rounds(peer, REUSE)
            assert len(peer.requests) == 3
            return outcomes

    assert [outcome.reason for outcome in asyncio.run(go())] == [Reason.OK] * 3


def test_tls_connections_are_kept_until_the_ca_file_is_another(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    connections: list[int] = []

    async def go() -> None:
        context = authority.server("127.0.77.1")
        async with serving(answers(OK, connections), tls=context) as peer:
            what = replace(REUSE, port=peer.port, tls=Tls(ca_file=authority.ca_file))
            run = prepare(Target(check="web", address=peer.address), Check(name="web", probe=what))
            assert [(await run()).reason for _ in range(2)] == [Reason.OK] * 2
            os.replace(other.ca_file, authority.ca_file)  # noqa: PTH105
            assert (await run()).reason is Reason.TLS

    asyncio.run(go())
    assert connections == [2]


def test_a_target_that_calls_itself_degraded() -> None:
    (outcome, *_), _ = served(OK, HttpProbe(degraded_body="ok"))
    assert outcome.ok
    assert outcome.poor == "the body says degraded"
    (outcome, *_), _ = served(OK, HttpProbe(degraded_statuses=((200, 200),)))
    assert outcome.poor == "status 200"


def test_a_kept_connection_that_says_nothing_any_more_is_no_failure() -> None:
    requests: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(1)
        writer.write(OK)
        await writer.drain()
        await reader.readuntil(b"\r\n\r\n")
        requests.append(2)
        await asyncio.Event().wait()  # as if the connection were forgotten on the way

    async def go() -> list[Outcome]:
        async with serving(serve) as peer:
            check = Check(name="web", probe=replace(REUSE, port=peer.port), cadence=Cadence(timeout_s=3.0))
            run = prepare(Target(check="web", address=peer.address), check)
            outcomes = [await run() for _ in range(3)]
            close(run)
            return outcomes

    assert all(outcome.ok for outcome in asyncio.run(go()))
    assert requests == [1, 2, 1, 2, 1]


def test_a_target_that_hangs_on_a_new_connection_too_has_failed() -> None:
    served: list[int] = []

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(0)
        if len(served) == 1:
            writer.write(OK)
            await writer.drain()
        await asyncio.Event().wait()

    async def go() -> list[Outcome]:
        async with serving(serve) as peer:
            check = Check(name="web", probe=replace(REUSE, port=peer.port), cadence=Cadence(timeout_s=3.0))
            run = prepare(Target(check="web", address=peer.address), check)
            outcomes = [await run() for _ in range(2)]
            close(run)
            return outcomes

    good, bad = asyncio.run(go())
    assert good.ok
    assert (bad.reason, bad.detail) == (Reason.TIMEOUT, "timeout after 3 s while waiting for the status line")
    assert len(served) == 2


def test_a_kept_connection_is_renewed_when_it_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "KEPT_MAX_S", 0.0)
    connections: list[int] = []

    async def go() -> None:
        async with serving(answers(OK, connections)) as peer:
            assert all(outcome.ok for outcome in await rounds(peer, REUSE))

    asyncio.run(go())
    assert connections == [1, 1, 1]


def test_no_more_connections_are_kept_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    connections: list[int] = []

    async def go() -> None:
        async with serving(answers(OK, connections)) as peer:
            check = Check(name="web", probe=replace(REUSE, port=peer.port), cadence=Cadence(timeout_s=20.0))
            runs = [prepare(Target(check="web", address=peer.address), check) for _ in range(5)]
            before = len(files.KEPT)
            monkeypatch.setattr(files, "kept_max", lambda: before + 2)
            for _ in range(2):
                for run in runs:
                    assert (await run()).ok
                assert len(files.KEPT) == before + 2
            for run in runs:
                close(run)
            assert len(files.KEPT) == before

    asyncio.run(go())
    assert sorted(connections) == [1] * 6 + [2] * 2


def test_the_end_of_a_certificate_ends_its_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    connections: list[int] = []

    async def go() -> None:
        context = authority.server("127.0.77.1")
        async with serving(answers(OK, connections), tls=context) as peer:
            what = replace(REUSE, port=peer.port, tls=Tls(ca_file=authority.ca_file, expires_s=3600.0))
            check = Check(name="web", probe=what, cadence=Cadence(timeout_s=20.0))
            run = prepare(Target(check="web", address=peer.address), check)
            assert [(await run()).poor for _ in range(2)] == [None, None]
            now_s = time.time()
            monkeypatch.setattr(tls, "time", replaced(now_s + 86400 - 1800))
            assert "certificate ends on" in str((await run()).poor)
            monkeypatch.setattr(tls, "time", replaced(now_s + 2 * 86400))
            await run()
            close(run)

    asyncio.run(go())
    assert connections == [3, 1]


def replaced(now_s: float) -> SimpleNamespace:
    return SimpleNamespace(time=lambda: now_s, gmtime=time.gmtime, strftime=time.strftime)
