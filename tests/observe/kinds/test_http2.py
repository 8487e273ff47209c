"""HTTP/2 and gRPC against real servers: one of h2 in the test, one of grpcio."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from concurrent import futures
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import h2.config
import h2.connection
import h2.errors
import h2.events
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc  # type: ignore[import-untyped]

from gtm.model.check import Cadence, Check, GrpcProbe, HttpProbe, HttpVersion, Target, Tls
from gtm.observe.kinds.grpc import decode_response, encode_request
from gtm.observe.outcome import Outcome, ProbeFault, Reason
from gtm.observe.probe import prepare
from tests.observe.kinds.asked import HERE, SHORT_S, asked, run, shown
from tests.observe.peers import Authority, Serve, says, says_and_waits, serving

NAME = "www.example.com"
H2 = HttpProbe(version=HttpVersion.HTTP_2)
Respond = Callable[[h2.connection.H2Connection, int, list[tuple[bytes, bytes]]], None]


def speaks(respond: Respond, requests: list[dict[str, str]]) -> Serve:
    """An HTTP/2 server that answers each request as `respond` does."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
        connection.initiate_connection()
        while True:
            writer.write(connection.data_to_send())
            await writer.drain()
            data = await reader.read(65536)
            if not data:
                return
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    assert event.stream_id is not None
                    requests.append({name.decode(): value.decode() for name, value in event.headers or ()})
                    respond(connection, event.stream_id, list(event.headers or ()))

    return serve


def answers(status: bytes, body: bytes = b"", *further: tuple[bytes, bytes]) -> Respond:
    def respond(connection: h2.connection.H2Connection, stream: int, _: object) -> None:
        connection.send_headers(stream, [(b":status", status), *further], end_stream=not body)
        if body:
            connection.send_data(stream, body, end_stream=True)

    return respond


def met(respond: Respond, probe: HttpProbe = H2, timeout_s: float = 30.0) -> tuple[Outcome, list[dict[str, str]]]:
    requests: list[dict[str, str]] = []

    async def go() -> Outcome:
        async with serving(speaks(respond, requests), address=HERE, head=False) as peer:
            return await asked(replace(probe, port=peer.port), timeout_s=timeout_s)

    return run(go()), requests


def test_a_good_answer_and_what_was_asked() -> None:
    probe = replace(H2, path="/healthz?deep=1", host=NAME, headers=(("X-Probe", "gtm"),))
    outcome, requests = met(answers(b"200", b"all well"), replace(probe, body="^all w.ll$"))
    assert shown(outcome) == (Reason.OK, "200 in N ms")
    assert outcome.phases.first_byte_s is not None
    (asked_for,) = requests
    assert asked_for == {
        ":method": "GET", ":scheme": "http", ":authority": NAME, ":path": "/healthz?deep=1",
        "user-agent": "gtm-probe", "accept": "*/*", "accept-encoding": "identity", "x-probe": "gtm",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("respond", "probe", "reason", "detail", "poor"),
    [
        (answers(b"503"), H2, Reason.STATUS, "status 503", None),
        (answers(b"200", b"no"), replace(H2, body="yes"), Reason.BODY, "body did not match", None),
        (answers(b"200"), replace(H2, body="yes"), Reason.BODY, "body did not match", None),
        (answers(b"429"), replace(H2, degraded_statuses=((429, 429),)), Reason.OK, "429 in N ms", "status 429"),
        (
            answers(b"200", b"degraded: disk"),
            replace(H2, degraded_body="^degraded", body="^ok"),
            Reason.OK,
            "200 in N ms",
            "the body says degraded",
        ),
        (answers(b"204"), replace(H2, method="HEAD"), Reason.OK, "204 in N ms", None),
    ],
)
def test_it_is_judged_as_http_1_is(
    respond: Respond, probe: HttpProbe, reason: Reason, detail: str, poor: str | None
) -> None:
    outcome, _ = met(respond, probe)
    assert (*shown(outcome), outcome.poor) == (reason, detail, poor)


def test_interim_answers_and_long_bodies() -> None:
    def respond(connection: h2.connection.H2Connection, stream: int, _: object) -> None:
        connection.send_headers(stream, [(b":status", b"103")])
        connection.send_headers(stream, [(b":status", b"200")])
        for _ in range(3):
            connection.send_data(stream, b"x" * 16384)

    outcome, _ = met(respond, replace(H2, body="y"), SHORT_S)
    assert outcome.detail == "timeout after 0.5 s while reading the body"
    assert met(respond)[0].ok


def resets(connection: h2.connection.H2Connection, stream: int, _: object) -> None:
    connection.reset_stream(stream, h2.errors.ErrorCodes.REFUSED_STREAM)


def goes_away(connection: h2.connection.H2Connection, stream: int, _: object) -> None:
    connection.close_connection(h2.errors.ErrorCodes.ENHANCE_YOUR_CALM, last_stream_id=stream)


def drains_without_us(connection: h2.connection.H2Connection, stream: int, _: object) -> None:
    connection.close_connection(last_stream_id=0)


@pytest.mark.parametrize(
    ("respond", "detail"),
    [
        (resets, "the server reset the stream: REFUSED_STREAM"),
        (goes_away, "the server ended the connection: GOAWAY ENHANCE_YOUR_CALM"),
        (drains_without_us, "the server ended the connection: GOAWAY NO_ERROR"),
    ],
)
def test_streams_and_connections_that_the_server_ends(respond: Respond, detail: str) -> None:
    assert shown(met(respond)[0]) == (Reason.CLOSED, detail)


def test_a_server_that_drains_still_answers() -> None:
    """GOAWAY with a last stream that is ours or later, and then the answer (RFC 9113 section 6.8)."""
    away = bytes.fromhex("000008 07 00 00000000 7fffffff 00000000")
    headers = bytes.fromhex("000001 01 05 00000001 88")  # :status 200 is 8 of HPACK's static table

    async def go() -> Outcome:
        async with serving(says_and_waits(bytes.fromhex("000000 04 00 00000000"), away + headers), head=False) as peer:
            return await asked(replace(H2, port=peer.port), str(peer.address))

    assert shown(run(go())) == (Reason.OK, "200 in N ms")


@pytest.mark.parametrize(
    ("said", "reason", "detail"),
    [
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            Reason.PROTOCOL,
            "not HTTP/2: 'HTTP/1.1 400 Bad Request'",
        ),
        (b"220 mail.example.com ESMTP\r\n", Reason.PROTOCOL, "not HTTP/2: '220 mail.example.com ESMTP..'"),
        (b"", Reason.CLOSED, "connection closed while waiting for the headers"),
        (bytes.fromhex("000001 07 00 00000000 00"), Reason.PROTOCOL, "not HTTP/2: a GOAWAY that is too short"),
    ],
)
def test_servers_of_something_else(said: bytes, reason: Reason, detail: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        await says(said)(reader, writer)

    async def go() -> Outcome:
        async with serving(serve, address=HERE, head=False) as peer:
            return await asked(replace(H2, port=peer.port))

    assert shown(run(go())) == (reason, detail)


def test_over_tls_by_alpn(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = authority.server(NAME)
    context.set_alpn_protocols(["h2", "http/1.1"])

    async def go() -> list[Outcome]:
        async with serving(speaks(answers(b"200"), []), address=HERE, tls=context, head=False) as peer:
            tls = Tls(server_name=NAME, ca_file=authority.ca_file, expires_s=30 * 86400)
            probe = replace(H2, port=peer.port, tls=tls, reuse=True)
            check = Check(name="it", probe=probe, cadence=Cadence(timeout_s=30.0))
            ask = prepare(Target(check="it", address=peer.address), check)
            return [await ask(), await ask()]

    first, second = run(go())
    for outcome in (first, second):
        assert shown(outcome) == (Reason.OK, "200 in N ms")
        assert (outcome.poor or "").startswith("certificate ends on ")
    assert first.phases.tls_s is not None
    assert second.phases.tls_s is None


async def many(respond: Respond, count: int, probe: HttpProbe = H2) -> tuple[list[tuple[Reason, str]], int]:
    """What so many runs of one prepared probe came to, and how many connections they took."""
    connections = 0
    inner = speaks(respond, [])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await inner(reader, writer)

    async with serving(serve, address=HERE, head=False) as peer:
        check = Check(name="it", probe=replace(probe, port=peer.port), cadence=Cadence(timeout_s=30.0))
        ask = prepare(Target(check="it", address=peer.address), check)
        return [shown(await ask()) for _ in range(count)], connections


def test_a_connection_is_kept_if_the_check_says_so() -> None:
    said, connections = run(many(answers(b"200", b"x" * 5000), 30, replace(H2, reuse=True, body="^x+$")))
    assert (set(said), connections) == ({(Reason.OK, "200 in N ms")}, 1)
    assert run(many(answers(b"200"), 3)) == ([(Reason.OK, "200 in N ms")] * 3, 3)

    def at_length(connection: h2.connection.H2Connection, stream: int, _: object) -> None:
        connection.send_headers(stream, [(b":status", b"200")])
        for number in range(3):
            connection.send_data(stream, b"x" * 10000, end_stream=number == 2)

    assert run(many(at_length, 9, replace(H2, reuse=True)))[1] == 1  # windows are opened again


def test_a_kept_connection_that_the_server_ends_is_replaced() -> None:
    """Each connection answers two requests; the third is met by GOAWAY, and goes to a new one."""

    def respond(connection: h2.connection.H2Connection, stream: int, headers: list[tuple[bytes, bytes]]) -> None:
        if stream > 3:
            connection.close_connection(last_stream_id=3)
        else:
            answers(b"200")(connection, stream, headers)

    assert run(many(respond, 6, replace(H2, reuse=True))) == ([(Reason.OK, "200 in N ms")] * 6, 3)


def test_a_kept_connection_does_not_hide_a_failure() -> None:
    answered: list[int] = []

    def respond(connection: h2.connection.H2Connection, stream: int, headers: list[tuple[bytes, bytes]]) -> None:
        answered.append(stream)
        answers(b"200" if len(answered) < 3 else b"503")(connection, stream, headers)

    said, connections = run(many(respond, 4, replace(H2, reuse=True)))
    assert said == [(Reason.OK, "200 in N ms")] * 2 + [(Reason.STATUS, "status 503")] * 2
    assert connections == 2  # a connection that brought a bad answer is not kept


# gRPC.


@contextlib.asynccontextmanager
async def grpc_serving(servicer: Any) -> AsyncIterator[int]:
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    if servicer is not None:
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port(f"{HERE}:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


def grpc_asked(servicer: Any, *services: str) -> list[tuple[Reason, str]]:
    async def go() -> list[tuple[Reason, str]]:
        async with grpc_serving(servicer) as port:
            return [shown(await asked(GrpcProbe(port=port, service=service))) for service in services]

    return run(go())


@pytest.fixture
def nothing_is_left() -> None:
    """Threads and descriptors of grpcio outlive its servers, so they cannot be counted here."""


def test_the_health_that_a_grpc_server_says() -> None:
    servicer = health.HealthServicer()
    status = health_pb2.HealthCheckResponse
    servicer.set("", status.SERVING)
    servicer.set("a.B", status.NOT_SERVING)
    servicer.set("c.D", status.SERVICE_UNKNOWN)
    assert grpc_asked(servicer, "", "a.B", "c.D", "none") == [
        (Reason.OK, "SERVING in N ms"),
        (Reason.STATUS, "NOT_SERVING"),
        (Reason.STATUS, "SERVICE_UNKNOWN"),
        (Reason.STATUS, "gRPC NOT_FOUND"),
    ]
    assert grpc_asked(None, "") == [(Reason.STATUS, "gRPC UNIMPLEMENTED: Method not found!")]


@pytest.mark.parametrize("service", ["", "a", "my.package.Service", "ü" * 100])
def test_requests_are_those_of_the_protocol(service: str) -> None:
    message = encode_request(service)
    assert message[:5] == b"\0" + len(message[5:]).to_bytes(4, "big")
    assert health_pb2.HealthCheckRequest.FromString(message[5:]) == health_pb2.HealthCheckRequest(service=service)


@pytest.mark.parametrize("status", [0, 1, 2, 3])
def test_responses_are_those_of_the_protocol(status: int) -> None:
    message = health_pb2.HealthCheckResponse(status=status).SerializeToString()
    for further in (b"", b"\x12\x03abc", b"\x1d1234", b"\x2112345678", b"\x18\x07"):  # fields of a later version
        framed = message + further
        assert decode_response(b"\0" + len(framed).to_bytes(4, "big") + framed) == status


@pytest.mark.parametrize(
    "body",
    ["", "00", "0000000001", "010000000208ff", "00000000020880", "000000000113", "00000000021205", "000000000108"],
)
def test_responses_that_are_none(body: str) -> None:
    with pytest.raises(ProbeFault) as raised:
        decode_response(bytes.fromhex(body))
    assert raised.value.reason is Reason.PROTOCOL


def test_http_errors_are_no_grpc() -> None:
    async def go(respond: Respond) -> tuple[Reason, str]:
        async with serving(speaks(respond, []), address=HERE, head=False) as peer:
            return shown(await asked(GrpcProbe(port=peer.port)))

    assert run(go(answers(b"503", b"x"))) == (Reason.STATUS, "status 503")
    assert run(go(answers(b"200", b"<html>"))) == (Reason.PROTOCOL, "the answer is not gRPC's")
    kind = (b"content-type", b"application/grpc")
    assert run(go(answers(b"200", b"x", kind))) == (Reason.PROTOCOL, "the answer has no gRPC status")
    said = (kind, (b"grpc-status", b"14"), (b"grpc-message", b"try%20later%0A"))
    assert run(go(answers(b"200", b"", *said))) == (Reason.STATUS, "gRPC UNAVAILABLE: try later.")
