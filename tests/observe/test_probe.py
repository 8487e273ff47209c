"""Probes against real servers on loopback: what each kind of good and bad peer comes to, in words."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import socket
import time
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import TypeVar

import pytest

from gtm.model.check import Cadence, Check, HttpProbe, Target, TcpProbe, Tls
from gtm.observe import probe as probe_module
from gtm.observe.outcome import Outcome, Reason
from gtm.observe.probe import prepare
from gtm.observe.response import HEAD_MAX_BYTES
from tests.observe.peers import (
    DAY,
    NOW,
    Authority,
    Peer,
    Serve,
    repeats,
    resets,
    says,
    says_and_waits,
    serving,
    unused_port,
)

SHORT_S = 0.5  # for probes that must time out; all others have ten seconds and need milliseconds
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
T = TypeVar("T")


@pytest.fixture(autouse=True)
def no_descriptor_is_left() -> Iterator[None]:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    yield
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


@pytest.fixture(autouse=True)
def a_busy_machine_is_no_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_module, "STALL_S", 60.0)


def run(coroutine: Coroutine[object, object, T]) -> T:
    return asyncio.run(coroutine)


async def probe(peer: Peer, what: HttpProbe | TcpProbe = HttpProbe(), timeout_s: float = 10.0) -> Outcome:  # noqa: B008
    check = Check(name="web", probe=replace(what, port=peer.port), cadence=Cadence(timeout_s=timeout_s))
    return await prepare(Target(check="web", address=peer.address), check)()


def met(serve: Serve, what: HttpProbe = HttpProbe(), timeout_s: float = 10.0) -> tuple[Outcome, list[bytes]]:  # noqa: B008
    async def go() -> tuple[Outcome, list[bytes]]:
        async with serving(serve) as peer:
            return await probe(peer, what, timeout_s), peer.requests

    return run(go())


def shown(serve: Serve, what: HttpProbe = HttpProbe(), timeout_s: float = 10.0) -> tuple[Reason, str]:  # noqa: B008
    outcome, _ = met(serve, what, timeout_s)
    assert outcome.ok == (outcome.reason is Reason.OK)
    return outcome.reason, re.sub(r"in (\d+|under 1) ms$", "in N ms", outcome.detail)


def test_a_good_answer() -> None:
    assert shown(says(OK)) == (Reason.OK, "200 in N ms")
    assert shown(says(*(OK[i : i + 1] for i in range(len(OK))))) == (Reason.OK, "200 in N ms")


def test_the_verdict_needs_the_headers_only_unless_the_body_must_match() -> None:
    waiting = says_and_waits(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    assert shown(waiting) == (Reason.OK, "200 in N ms")
    assert shown(waiting, HttpProbe(body="x"), SHORT_S) == (
        Reason.TIMEOUT,
        "timeout after 0.5 s while reading the body",
    )


def test_what_is_asked() -> None:
    _, requests = met(
        says(OK), HttpProbe(path="/healthz?deep=1", host="www.example.com", headers=(("X-Probe", "gtm"),))
    )
    head, *fields = requests[0].decode().split("\r\n")
    assert head == "GET /healthz?deep=1 HTTP/1.1"
    assert {"Host: www.example.com", "X-Probe: gtm", "Connection: close", "User-Agent: gtm-probe"} <= set(fields)


def test_headers_of_the_check_replace_ours() -> None:
    _, requests = met(says(OK), HttpProbe(headers=(("user-agent", "curl"), ("HOST", "a.example"))))
    text = requests[0].decode().lower()
    assert text.count("user-agent:") == text.count("host:") == 1
    assert "user-agent: curl" in text
    assert "host: a.example" in text


def test_without_a_host_the_address_is_asked_for() -> None:
    async def go() -> bool:
        async with serving(says(OK), address="127.0.77.2") as peer:
            await probe(peer)
            return f"Host: 127.0.77.2:{peer.port}\r\n".encode() in peer.requests[0]

    assert run(go())


def test_head_and_post() -> None:
    outcome, requests = met(says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"), HttpProbe(method="HEAD", body="^$"))
    assert (outcome.ok, requests[0][:5]) == (True, b"HEAD ")
    _, requests = met(says(OK), HttpProbe(method="POST"))
    assert b"Content-Length: 0\r\n" in requests[0]


@pytest.mark.parametrize("status", [199, 300, 404, 500, 503])
def test_a_status_outside_the_ranges(status: int) -> None:
    serve = says(b"HTTP/1.1 %d Whatever\r\nContent-Length: 0\r\n\r\n" % status)
    if status == 199:  # an interim answer: what counts comes after it
        serve = says(b"HTTP/1.1 199 Interim\r\n\r\nHTTP/1.1 404 No\r\n\r\n")
        status = 404
    assert shown(serve) == (Reason.STATUS, f"status {status}")


def test_status_ranges_are_inclusive_and_redirects_are_not_followed() -> None:
    moved = says(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.77.9:1/\r\nContent-Length: 0\r\n\r\n")
    assert shown(moved) == (Reason.STATUS, "status 302")
    assert shown(moved, HttpProbe(statuses=((200, 204), (302, 302)))) == (Reason.OK, "302 in N ms")
    outcome, requests = met(moved)
    assert (outcome.reason, len(requests)) == (Reason.STATUS, 1)


def test_the_body_must_match() -> None:
    chunked = says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nall \r\n4\r\nwell\r\n0\r\n\r\n")
    assert shown(chunked, HttpProbe(body="^all w.ll$")) == (Reason.OK, "200 in N ms")
    assert shown(chunked, HttpProbe(body="broken")) == (Reason.BODY, "body did not match")
    assert shown(says("HTTP/1.1 200 OK\r\n\r\ngrün".encode()), HttpProbe(body="grün")) == (Reason.OK, "200 in N ms")


def test_an_endless_body_is_judged_by_its_beginning() -> None:
    flood = repeats(b"x" * 10_000, 0)
    endless = b"HTTP/1.1 200 OK\r\n\r\nready\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(endless)
        await flood(reader, writer)

    assert shown(serve, HttpProbe(body="^ready")) == (Reason.OK, "200 in N ms")


@pytest.mark.parametrize(
    ("serve", "phase"),
    [
        (says_and_waits(), "waiting for the status line"),
        (says_and_waits(b"HTTP/1.1 20"), "waiting for the status line"),
        (says_and_waits(b"HTTP/1.1 200 OK\r\nA: b\r\n"), "reading the headers"),
        (repeats(b"H", 0.05), "waiting for the status line"),
    ],
)
def test_a_peer_that_hangs_or_trickles_meets_the_deadline(serve: Serve, phase: str) -> None:
    assert shown(serve, timeout_s=SHORT_S) == (Reason.TIMEOUT, f"timeout after 0.5 s while {phase}")


def test_a_trickle_within_the_deadline_is_as_good_as_any() -> None:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for index in range(len(OK)):
            writer.write(OK[index : index + 1])
            await writer.drain()
            await asyncio.sleep(0)

    assert shown(serve) == (Reason.OK, "200 in N ms")


def test_refused() -> None:
    peer = Peer(address=IPv4Address("127.0.77.3"), port=unused_port("127.0.77.3"), requests=[])
    for what in (HttpProbe(), HttpProbe(tls=Tls()), TcpProbe(port=1)):
        outcome = run(probe(peer, what))
        assert (outcome.reason, outcome.detail) == (Reason.REFUSED, "connection refused")


def test_reset_and_early_closes() -> None:
    assert shown(resets) == (Reason.CLOSED, "connection reset while waiting for the status line")
    assert shown(says()) == (Reason.CLOSED, "connection closed while waiting for the status line")
    assert shown(says(b"HTTP/1.1 200 OK\r\nA")) == (Reason.CLOSED, "connection closed while reading the headers")


def test_hostile_answers_have_clear_words() -> None:
    assert shown(says(b"220 mail.example ESMTP\r\n")) == (Reason.PROTOCOL, "not HTTP/1: '220 mail.example ESMTP'")
    large = says(b"HTTP/1.1 200 OK\r\n" + (b"A: " + b"x" * 2000 + b"\r\n") * 20)
    assert shown(large) == (Reason.PROTOCOL, f"the headers are longer than {HEAD_MAX_BYTES} bytes")


def test_an_accept_queue_that_is_full_is_a_timeout_while_connecting() -> None:
    async def go() -> Outcome:
        with socket.socket() as listener:
            listener.bind(("127.0.77.4", 0))
            listener.listen(0)
            port = listener.getsockname()[1]
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(("127.0.77.4", port))
            try:
                return await probe(
                    Peer(address=IPv4Address("127.0.77.4"), port=port, requests=[]), TcpProbe(port=1), SHORT_S
                )
            finally:
                for filler in fillers:
                    filler.close()

    outcome = run(go())
    assert (outcome.reason, outcome.detail) == (Reason.TIMEOUT, "timeout after 0.5 s while connecting")


def test_tcp_connects_and_sends_nothing() -> None:
    async def go() -> tuple[Outcome, list[bytes]]:
        async with serving(says()) as peer:
            return await probe(peer, TcpProbe(port=1)), peer.requests

    outcome, requests = run(go())
    assert (outcome.ok, requests) == (True, [])
    assert re.fullmatch(r"connected in (\d+|under 1) ms", outcome.detail)


def test_ipv6() -> None:
    async def go() -> tuple[Outcome, Peer]:
        async with serving(says(OK), address="::1") as peer:
            return await probe(peer), peer

    outcome, peer = run(go())
    assert outcome.ok
    assert f"Host: [::1]:{peer.port}\r\n".encode() in peer.requests[0]


def test_no_descriptors_left_is_our_fault_not_theirs() -> None:
    async def go() -> Outcome:
        async with serving(says(OK)) as peer:
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
            try:
                return await probe(peer)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    outcome = run(go())
    assert (outcome.reason, outcome.detail) == (Reason.OURS, "Too many open files while connecting")


def test_a_stall_of_this_process_is_our_fault_not_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_module, "STALL_S", 0.25)

    async def go() -> Outcome:
        async with serving(says_and_waits()) as peer:
            asyncio.get_running_loop().call_later(0.05, time.sleep, 0.6)
            return await probe(peer, timeout_s=0.1)

    outcome = run(go())
    assert outcome.reason is Reason.OURS
    assert outcome.detail.startswith("this process stalled for ")


@pytest.mark.parametrize(
    "what",
    [
        HttpProbe(path="/a b"), HttpProbe(path=""), HttpProbe(method="GET /"), HttpProbe(headers=(("A", "b\r\nC: d"),)),
        HttpProbe(host="a\r\nb"), HttpProbe(host="räksmörgås€"), HttpProbe(body="("),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_our_fault(what: HttpProbe) -> None:
    outcome, requests = met(says(OK), what)
    assert (outcome.reason, requests) == (Reason.OURS, [])
    assert outcome.detail.startswith("check web: ")


def test_cancelled_while_waiting_leaves_nothing_open() -> None:
    async def go() -> None:
        asked = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
            asked.set()
            await reader.read()

        async with serving(serve) as peer:
            task = asyncio.create_task(probe(peer))
            await asked.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(go())


class TestTls:
    """HTTPS: the certificate is verified, and each fault has its own words."""

    @pytest.fixture
    def authority(self, tmp_path: Path) -> Authority:
        return Authority(tmp_path)

    @staticmethod
    def shown(context: object, what: HttpProbe, serve: Serve = says(OK)) -> tuple[Reason, str]:  # noqa: B008
        async def go() -> Outcome:
            async with serving(serve, tls=context) as peer:  # type: ignore[arg-type]
                return await probe(peer, what)

        outcome = run(go())
        return outcome.reason, re.sub(r"in (\d+|under 1) ms$", "in N ms", outcome.detail)

    def test_good_by_ca_file(self, authority: Authority) -> None:
        what = HttpProbe(host="www.example.com:8443", body="^ok$", tls=Tls(ca_file=authority.ca_file))
        assert self.shown(authority.server("www.example.com"), what) == (Reason.OK, "200 in N ms")

    def test_server_name_beats_host(self, authority: Authority) -> None:
        what = HttpProbe(host="a.example", tls=Tls(server_name="b.example", ca_file=authority.ca_file))
        assert self.shown(authority.server("b.example"), what) == (Reason.OK, "200 in N ms")

    def test_sni_is_sent(self, authority: Authority) -> None:
        names: list[str | None] = []
        context = authority.server("b.example")
        context.sni_callback = lambda _socket, name, _context: names.append(name)
        self.shown(context, HttpProbe(tls=Tls(server_name="b.example", ca_file=authority.ca_file)))
        assert names == ["b.example"]

    def test_without_a_name_the_address_must_be_in_the_certificate(self, authority: Authority) -> None:
        what = HttpProbe(tls=Tls(ca_file=authority.ca_file))
        assert self.shown(authority.server("127.0.77.1"), what) == (Reason.OK, "200 in N ms")
        wrong = self.shown(authority.server("127.0.77.99"), what)
        assert wrong == (Reason.TLS, "certificate is not for 127.0.77.1")

    def test_a_large_body_in_many_records(self, authority: Authority) -> None:
        what = HttpProbe(host="w.example", body="x{60000}end", tls=Tls(ca_file=authority.ca_file))
        serve = says(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 60_000, b"end")
        assert self.shown(authority.server("w.example"), what, serve) == (Reason.OK, "200 in N ms")

    def test_expired_says_when(self, authority: Authority) -> None:
        context = authority.server("w.example", begin=NOW - 3 * DAY, end=NOW - 2 * DAY)
        what = HttpProbe(host="w.example", tls=Tls(ca_file=authority.ca_file))
        day = (NOW - 2 * DAY).strftime("%Y-%m-%d")
        assert self.shown(context, what) == (Reason.TLS, f"certificate expired on {day}")

    def test_not_yet_valid_says_from_when(self, authority: Authority) -> None:
        context = authority.server("w.example", begin=NOW + 2 * DAY, end=NOW + 3 * DAY)
        what = HttpProbe(host="w.example", tls=Tls(ca_file=authority.ca_file))
        day = (NOW + 2 * DAY).strftime("%Y-%m-%d")
        assert self.shown(context, what) == (Reason.TLS, f"certificate is not valid before {day}")

    def test_expired_and_not_ours_is_still_refused(self, authority: Authority, tmp_path: Path) -> None:
        (tmp_path / "other").mkdir()
        context = Authority(tmp_path / "other").server("w.example", begin=NOW - 3 * DAY, end=NOW - 2 * DAY)
        reason, _ = self.shown(context, HttpProbe(host="w.example", tls=Tls(ca_file=authority.ca_file)))
        assert reason is Reason.TLS

    def test_self_signed(self, authority: Authority) -> None:
        what = HttpProbe(host="w.example", tls=Tls(ca_file=authority.ca_file))
        context = authority.server("w.example", self_signed=True)
        assert self.shown(context, what) == (Reason.TLS, "certificate is self-signed")

    def test_wrong_name(self, authority: Authority) -> None:
        what = HttpProbe(host="w.example", tls=Tls(ca_file=authority.ca_file))
        context = authority.server("other.example")
        assert self.shown(context, what) == (Reason.TLS, "certificate is not for w.example")

    def test_unknown_authority(self, authority: Authority) -> None:
        what = HttpProbe(host="w.example", tls=Tls())
        words = "certificate comes from an unknown CA, or an intermediate is missing"
        assert self.shown(authority.server("w.example"), what) == (Reason.TLS, words)

    def test_plain_http_where_tls_was_expected(self, authority: Authority) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await reader.read()

        async def go() -> Outcome:
            async with serving(serve, head=False) as peer:
                return await probe(peer, HttpProbe(tls=Tls(ca_file=authority.ca_file)))

        outcome = run(go())
        assert (outcome.reason, outcome.detail) == (Reason.TLS, "no TLS on this port")

    @pytest.mark.parametrize(
        ("serve", "timeout_s", "detail"),
        [
            (says_and_waits(), SHORT_S, "timeout after 0.5 s while in the TLS handshake"),
            (says(), 10.0, "connection closed in the TLS handshake"),
            (resets, 10.0, "connection reset while in the TLS handshake"),
        ],
    )
    def test_a_handshake_that_never_ends_or_ends_early(
        self, authority: Authority, serve: Serve, timeout_s: float, detail: str
    ) -> None:
        async def after_hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(5000)
            await serve(reader, writer)

        async def go() -> str:
            async with serving(after_hello, head=False) as peer:
                return (await probe(peer, HttpProbe(tls=Tls(ca_file=authority.ca_file)), timeout_s)).detail

        assert run(go()) == detail

    @pytest.mark.parametrize("content", [None, "no certificate"])
    def test_a_ca_file_that_cannot_be_used_is_our_fault(
        self, authority: Authority, tmp_path: Path, content: str | None
    ) -> None:
        path = tmp_path / "broken.pem"
        if content is not None:
            path.write_text(content)
        what = HttpProbe(host="w.example", tls=Tls(ca_file=str(path)))
        reason, detail = self.shown(authority.server("w.example"), what)
        assert reason is Reason.OURS
        assert str(path) in detail

    def test_a_replaced_ca_file_is_read_again(self, authority: Authority, tmp_path: Path) -> None:
        (tmp_path / "other").mkdir()
        other = Authority(tmp_path / "other")
        path = tmp_path / "trusted.pem"
        what = HttpProbe(host="w.example", tls=Tls(ca_file=str(path)))
        path.write_bytes(Path(other.ca_file).read_bytes())
        assert self.shown(authority.server("w.example"), what)[0] is Reason.TLS
        fresh = tmp_path / "fresh.pem"
        fresh.write_bytes(Path(authority.ca_file).read_bytes())
        fresh.replace(path)
        assert self.shown(authority.server("w.example"), what)[0] is Reason.OK

    def test_a_name_that_no_certificate_can_have_is_our_fault(self, authority: Authority) -> None:
        probe_with = replace(HttpProbe(), tls=Tls(server_name=".example", ca_file=authority.ca_file))
        assert self.shown(authority.server("w.example"), probe_with)[0] is Reason.OURS
