"""Probes whose packets carry a mark, for this machine to send them on a way of their own."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from ipaddress import ip_address

import pytest

from gtm.model.check import Cadence, Check, Probe, Target, TcpProbe, UdpProbe
from gtm.observe.attempt import Attempt
from gtm.observe.connection import Connection
from gtm.observe.kinds.datagram import Datagrams
from gtm.observe.outcome import Reason
from gtm.observe.probe import prepare

MARK = 0x67740001
LOOPBACK = ip_address("127.0.0.1")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: SO_MARK")


@needs_root
def test_what_an_attempt_opens_carries_its_mark() -> None:
    async def marks(mark: int) -> list[int]:
        attempt = Attempt(asyncio.get_running_loop().time() + 30, mark=mark)
        try:
            opened = (Connection(attempt, LOOPBACK)._sock, Datagrams.udp(attempt, LOOPBACK)._sock)
            return [sock.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) for sock in opened]
        finally:
            attempt.close()

    assert asyncio.run(marks(MARK)) == [MARK, MARK]
    assert asyncio.run(marks(0)) == [0, 0]


@needs_root
def test_a_marked_probe_is_a_probe() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        check = Check(name="web", probe=TcpProbe(port=server.getsockname()[1]), cadence=Cadence(timeout_s=30))

        async def once() -> Reason:
            return (await prepare(Target(check="web", address=LOOPBACK), check, mark=MARK)()).reason

        assert asyncio.run(once()) is Reason.OK


@pytest.mark.parametrize("probe", [TcpProbe(port=9), UdpProbe(port=9, send=b"x")])
def test_a_mark_that_may_not_be_set_is_a_fault_on_this_side(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []

    class Refusing(socket.socket):
        def setsockopt(self, *args: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        def close(self) -> None:
            closed.append(threading.get_ident())
            super().close()

    monkeypatch.setattr("gtm.observe.connection.socket.socket", Refusing)
    check = Check(name="web", probe=probe, cadence=Cadence(timeout_s=30))

    async def once() -> tuple[Reason, str]:
        outcome = await prepare(Target(check="web", address=LOOPBACK), check, mark=MARK)()
        return outcome.reason, outcome.detail

    loop = asyncio.new_event_loop()
    try:
        reason, detail = loop.run_until_complete(once())
    finally:
        monkeypatch.undo()
        loop.close()
    assert reason is Reason.OURS
    assert "not permitted" in detail
    assert closed
