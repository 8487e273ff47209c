"""A process that was stopped in the middle of a probe does not hold that against the target: real SIGSTOP, SIGCONT."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.observe.peers import Authority, Peer, Serve, serving

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
STOPPED_S = 3.0  # beyond the timeout of 2 s


class Gate:
    """A server that answers at once while it is open, and tells when somebody waits at it while it is closed."""

    def __init__(self) -> None:
        self.open = True
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def pass_(self) -> None:
        if not self.open:
            self.reached.set()
            await self.opened.wait()

    def serve(self, *, silent: bool = False) -> Serve:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if silent:
                await self.pass_()
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await self.pass_()
                writer.write(OK)
                await writer.drain()

        return serve


@contextlib.asynccontextmanager
async def probing(peer: Peer, *, ca_file: str = "", reuse: bool = False) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.observe.standing", str(peer.address), str(peer.port), ca_file, str(int(reuse)),
        stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        await process.wait()


async def line(process: asyncio.subprocess.Process) -> dict[str, object]:
    assert process.stdout is not None
    async with asyncio.timeout(60):
        found: dict[str, object] = json.loads(await process.stdout.readline())
    return found


async def stop(process: asyncio.subprocess.Process) -> None:
    os.kill(process.pid, signal.SIGSTOP)
    await asyncio.sleep(STOPPED_S)  # the time for which it is stopped is what is tried here
    os.kill(process.pid, signal.SIGCONT)


@pytest.mark.parametrize("reuse", [False, True])
def test_stopped_while_waiting_for_an_answer(reuse: bool) -> None:
    async def go() -> list[dict[str, object]]:
        gate = Gate()
        async with serving(gate.serve(), head=False) as peer, probing(peer, reuse=reuse) as process:
            assert (await line(process))["ok"]
            gate.open = False
            async with asyncio.timeout(60):
                await gate.reached.wait()
            await stop(process)
            gate.open = True
            gate.opened.set()
            return [await line(process) for _ in range(2)]

    found = asyncio.run(go())
    assert [each["ok"] for each in found] == [True, True]
    assert "st" in str(found[-1]["ours"])


def test_stopped_in_the_tls_handshake(tmp_path: Path) -> None:
    async def go() -> dict[str, object]:
        gate = Gate()
        gate.open = False
        ca_file = Authority(tmp_path).ca_file
        async with serving(gate.serve(silent=True), head=False) as peer, probing(peer, ca_file=ca_file) as process:
            async with asyncio.timeout(60):
                await gate.reached.wait()
            await stop(process)
            return await line(process)

    found = asyncio.run(go())
    assert found["detail"] == "timeout after 2 s while in the TLS handshake"  # the one after: the server still hangs
    assert "stalled" in str(found["ours"])


def test_stopped_while_connecting() -> None:
    async def go() -> dict[str, object]:
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(socket.create_server(("127.0.77.3", 0), backlog=0))
            host, port = listener.getsockname()
            for _ in range(3):  # fill the accept queue: later ones are not answered
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex((host, port))
            peer = Peer(address=ip_address(host), port=port, requests=[])
            async with probing(peer) as process:
                assert (await line(process))["ours"] == ""
                async with asyncio.timeout(60):
                    while not connecting(process.pid, port):  # noqa: ASYNC110 -- the kernel tells nobody
                        await asyncio.sleep(0.01)
                await stop(process)
                return await line(process)

    found = asyncio.run(go())
    assert found["detail"] == "timeout after 2 s while connecting"
    assert "stalled" in str(found["ours"])


def connecting(pid: int, port: int) -> bool:
    """Whether the process has a socket in SYN_SENT to the port."""
    mine = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            mine.add(str(entry.readlink()))
    for row in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, _, remote, state, *rest = row.split()
        if state == "02" and int(remote.split(":")[1], 16) == port and f"socket:[{rest[5]}]" in mine:
            return True
    return False
