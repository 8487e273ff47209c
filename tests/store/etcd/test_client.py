"""Endpoints that do what no etcd should, and what is said of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gtm.model.cluster import Cluster
from gtm.model.errors import StoreError
from gtm.model.override import Action, Override, Subject
from gtm.store.etcd.client import Client
from gtm.store.etcd.fault import Compacted, Unconfirmed
from gtm.store.etcd.orders import Orders, Standing
from gtm.wire import etcd, etcd_answer
from tests.etcd import PASSWORD, USER, etcd_node, make_papers

TOTAL_S = 1.5
ASKED = etcd.Range(key=b"/gtm/x")
WATCHED = etcd.Watch(key=b"/gtm/", range_end=b"/gtm0", start_revision=5)
GOOD = etcd_answer.encode_answer(etcd_answer.Found(revision=7))

Serve = Callable[[str, bytes, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def endpoint(serve: Serve) -> AsyncIterator[str]:
    """The URL of a server that hands each request's path and body to `serve`, then closes the connection."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
            await serve(head.split()[1], await reader.readexactly(length), writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def says(body: bytes, status: str = "200 OK", *, whole: bool = True) -> Serve:
    async def serve(path: str, asked: bytes, writer: asyncio.StreamWriter) -> None:
        length = f"content-length: {len(body)}\r\n" if whole else ""
        writer.write(f"HTTP/1.1 {status}\r\n{length}connection: close\r\n\r\n".encode() + body)

    return serve


async def hangs(path: str, asked: bytes, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3600)


async def cuts_off(path: str, asked: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{")


async def ask(folder: Path, *urls: str) -> etcd_answer.Found:
    client = Client(Cluster(endpoints=urls), folder, try_s=0.2)
    try:
        return await client.range(ASKED, total_s=TOTAL_S)
    finally:
        await client.close()


async def watch(folder: Path, url: str) -> list[etcd_answer.Batch]:
    client = Client(Cluster(endpoints=(url,)), folder, try_s=0.5)
    try:
        return [batch async for batch in client.watch(WATCHED, idle_s=0.5)]
    finally:
        await client.close()


@pytest.mark.parametrize(
    ("serve", "words"),
    [
        (says(b"<html>", "404 Not Found"), "status 404, and not in the words of etcd"),
        (says(b"", "302 Found"), "status 302, and not in the words of etcd"),
        (says(b'{"message": "etcdserver: no leader", "code": 14}', "503 Service Unavailable"), "no leader"),
        (hangs, r"no answer within 0\.2 s"),
        (cuts_off, "peer closed connection without sending complete message body"),
    ],
)
def test_an_endpoint_that_does_not_serve_is_left_for_the_next(tmp_path: Path, serve: Serve, words: str) -> None:
    async def main() -> None:
        async with endpoint(serve) as bad, endpoint(says(GOOD)) as good:
            assert (await ask(tmp_path, bad, good)).revision == 7
            with pytest.raises(StoreError, match=rf"etcd does not answer within 1.5 s: {bad}: {words}"):
                await ask(tmp_path, bad)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("serve", "words"),
    [
        (says(b"<html>"), "etcd: an answer is not JSON"),
        (says(b'{"kvs": 7}'), "etcd: an answer has something else where kvs is a list"),
        (says(b'{"message": "etcdserver: permission denied", "code": 7}', "403 Forbidden"), "may not do this"),
        (says(b'{"message": "etcdserver: user name is empty", "code": 3}', "400 Bad Request"), "etcd.user"),
        (says(b'{"message": "etcdserver: mvcc: database space exceeded", "code": 8}', "429 No"), "space exceeded"),
        (says(b"CommonName of client sending a request", "400 Bad Request"), "has a CommonName; use one without"),
    ],
)
def test_what_no_other_endpoint_would_mend_is_said_at_once(tmp_path: Path, serve: Serve, words: str) -> None:
    async def main() -> None:
        async with endpoint(serve) as bad:
            with pytest.raises(StoreError, match=words):
                await ask(tmp_path, bad)

    asyncio.run(main())


def line(batch: etcd_answer.Batch) -> bytes:
    return etcd_answer.encode_answer(batch) + b"\n"


@pytest.mark.parametrize(
    ("serve", "fault", "words"),
    [
        (says(b"{}\n<html>\n", whole=False), StoreError, "is not JSON"),
        (says(line(etcd_answer.Batch(revision=9, created=True)), whole=False), StoreError, "it ended the watch"),
        (hangs, StoreError, "it says nothing"),
        (says(b"no", "404 Not Found"), StoreError, "status 404"),
        (says(b'{"error": {"grpc_code": 14, "message": "etcdserver: no leader"}}\n'), StoreError, "no leader"),
        (
            says(line(etcd_answer.Batch(revision=9, canceled=True, reason="rpc error: code = X desc = no"))),
            StoreError,
            "127.0.0.1:[0-9]+: no$",
        ),
        (says(line(etcd_answer.Batch(revision=9, canceled=True, compact_revision=8))), Compacted, "compacted"),
        (says(line(etcd_answer.Batch(revision=3, created=True))), Compacted, "gone back"),
    ],
)
def test_watches_that_end(tmp_path: Path, serve: Serve, fault: type[StoreError], words: str) -> None:
    async def main() -> None:
        async with endpoint(serve) as bad:
            with pytest.raises(fault, match=words) as caught:
                await watch(tmp_path, bad)
            assert type(caught.value) is fault

    asyncio.run(main())


def test_a_line_that_comes_in_pieces(tmp_path: Path) -> None:
    pair = etcd_answer.KeyValue(key=b"/gtm/x", value=bytes(300_000), mod_revision=9)
    batches = [
        etcd_answer.Batch(revision=8, created=True),
        etcd_answer.Batch(revision=9, events=(etcd_answer.Event(pair=pair),)),
    ]

    async def serve(path: str, asked: bytes, writer: asyncio.StreamWriter) -> None:
        assert etcd.decode(path, asked) == WATCHED
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
        sent = b"".join(map(line, batches))
        for start in range(0, len(sent), 7001):
            writer.write(sent[start : start + 7001])
            await writer.drain()
        await asyncio.sleep(3600)

    async def main() -> None:
        async with endpoint(serve) as url:
            client = Client(Cluster(endpoints=(url,)), tmp_path)
            batch = client.watch(WATCHED, idle_s=30)
            assert [await anext(batch), await anext(batch)] == batches
            await batch.aclose()
            await client.close()

    asyncio.run(main())


def test_an_order_without_an_answer_may_have_been_made(tmp_path: Path) -> None:
    """Where the connection is refused it has not been; where an endpoint took it and said nothing, nobody knows."""
    now_s = time.time()
    order = Override(
        subject=Subject(kind="region", name="us-east"), action=Action.DRAIN, owner="a", reason="b", since_s=now_s
    )

    async def put(url: str) -> None:
        client = Client(Cluster(endpoints=(url,)), tmp_path, try_s=0.2)
        try:
            await Orders(client, total_s=TOTAL_S).put(order, Standing(overrides=(), changed=0))
        finally:
            await client.close()

    async def main() -> None:
        async with endpoint(hangs) as url:
            with pytest.raises(Unconfirmed, match="whether it was changed is not known: `gtm overrides` tells"):
                await put(url)
        with pytest.raises(StoreError, match="connection refused") as caught:
            await put(url)
        assert not isinstance(caught.value, Unconfirmed)

    asyncio.run(main())


def test_an_order_whose_answer_was_lost_is_found_to_be_made(tmp_path: Path) -> None:
    """The first try is carried out but its answer is lost; the second one finds the order changed: by ourselves."""
    now_s = time.time()
    order = Override(
        subject=Subject(kind="region", name="us-east"), action=Action.DRAIN, owner="a", reason="b", since_s=now_s
    )

    async def main() -> None:
        with etcd_node(tmp_path) as real:
            host, port = real.urls[0].removeprefix("http://").split(":")
            lost: list[bytes] = []

            async def relay(path: str, asked: bytes, writer: asyncio.StreamWriter) -> None:
                there, to = await asyncio.open_connection(host, int(port))
                head = f"POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(asked)}\r\n\r\n"
                to.write(head.encode() + asked)
                answer = await there.read()
                to.close()
                if path == "/v3/kv/txn" and b'"compare"' in asked and not lost:
                    lost.append(answer)
                    return
                writer.write(answer)

            async with endpoint(relay) as url:
                client = Client(Cluster(endpoints=(url,)), tmp_path, try_s=5)
                orders = Orders(client, total_s=30)
                assert await orders.put(order, await orders.standing())
                standing = await orders.standing()
                assert standing.overrides == (order,)
                assert len(await orders.audit(limit=10)) == 1
                assert not await orders.put(order, Standing(overrides=(), changed=0)), "it has changed since"
                await client.close()
            assert b'"succeeded":true' in lost[0]

    asyncio.run(main())


def test_certificates_passwords_and_files(tmp_path: Path) -> None:
    papers, others = make_papers(tmp_path / "papers"), make_papers(tmp_path / "others")

    async def fails(cluster: Cluster, words: str) -> None:
        with pytest.raises(StoreError, match=words):
            client = Client(cluster, tmp_path, try_s=5)
            try:
                await client.range(ASKED, total_s=TOTAL_S)
            finally:
                await client.close()

    def cluster(**more: str | None) -> Cluster:
        options: dict[str, str | None] = {
            "ca_file": str(papers.ca),
            "cert_file": str(papers.client_cert),
            "key_file": str(papers.client_key),
        }
        return Cluster(endpoints=urls, **(options | more))  # type: ignore[arg-type]

    async def main() -> None:
        await fails(cluster(ca_file=str(others.ca)), "its certificate is not trusted: ")
        # In TLS 1.3 the refusal comes after the handshake: what is seen first is the alert or the closed connection.
        refused = "TLS: .*certificate|broken pipe|connection reset|disconnected"
        await fails(cluster(cert_file=None, key_file=None), refused)
        await fails(cluster(key_file=str(others.client_key)), "no PEM files that can be used: KEY_VALUES_MISMATCH")
        await fails(cluster(ca_file="none.pem"), "no such file or directory")
        (tmp_path / "password").write_text("wrong\n")
        await fails(cluster(user=USER, password_file="password"), "invalid user ID or password")
        await fails(cluster(user=USER, password_file="none"), "etcd: none: no such file or directory")
        await fails(cluster(), "it asks who we are")
        (tmp_path / "password").write_text(f"{PASSWORD}\n")
        client = Client(cluster(user=USER, password_file="password"), tmp_path)
        assert (await client.range(ASKED, total_s=30)).pairs == ()
        await client.close()

    with etcd_node(tmp_path, papers=papers) as secure:
        urls = secure.urls
        secure.require_users()
        asyncio.run(main())
