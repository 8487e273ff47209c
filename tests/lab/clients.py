"""A client's load on VIPs, and what became of each flow: keep-alive, large downloads, connections anew, UDP."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count, cycle, islice
from typing import Any

from tests.lab.fabric import until
from tests.lab.network import Host
from tests.lab.origin import PORT

ANSWER_S = 60.0  # a request that takes longer is broken: TCP repeats a lost packet many times before
THINK_S = 0.05  # between a client's requests: a load, not a benchmark
AGAIN_S, LATE_S = 1.0, 30.0  # the next datagram after an unanswered one; the last that may still come
LASTING = ("kept", "large", "upload", "udp")
LARGE_BYTES, UPLOAD_BYTES = 4_000_000, 300_000
WINDOW_BYTES = 1 << 14  # all downloads together fit into the 256 places of a veth's ring: no loss but a balancer's


@dataclass(slots=True, eq=False)
class Flow:
    """A connection, or a UDP socket: how many answers it had, from whom, and what ended it if not its client did.

    `missing`: datagrams that were not answered, or not yet. `leave`: its client ends it after the next answer.
    """

    kind: str
    answers: int = 0
    backends: Counter[str] = field(default_factory=Counter)
    missing: set[int] = field(default_factory=set)
    broken: str = ""
    open: bool = True
    leave: bool = False

    @property
    def backend(self) -> str:
        """Who answered last."""
        return next(reversed(self.backends), "")

    def answered(self, name: str) -> None:
        """One more answer."""
        self.answers += 1
        self.backends[name] = self.backends.pop(name, 0) + 1


class Load:
    """Clients of one host, in a thread that lives there. `flows` has all that ever were."""

    def __init__(self, host: Host, vips: Sequence[str], think_s: float) -> None:
        self.flows: list[Flow] = []
        self._host, self._vips, self._think_s = host, vips, think_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=host.inside, args=(lambda: asyncio.run(self._live()),))

    def start(self, *, kept: int = 0, large: int = 0, anew: int = 0, datagrams: int = 0, uploads: int = 0) -> None:
        """So many clients more of each kind, over the VIPs in turn."""
        assert self._loop is not None
        kinds: tuple[tuple[int, Callable[[str], Coroutine[Any, Any, None]]], ...] = (
            (kept, self._keep),
            (large, self._download),
            (anew, self._renew),
            (datagrams, self._echo),
            (uploads, self._upload),
        )
        for number, kind in kinds:
            for vip in islice(cycle(self._vips), number):
                self._loop.call_soon_threadsafe(self._add, kind(vip))

    def of(self, *kinds: str) -> list[Flow]:
        """The flows of some kinds that are open or broken: not those that their clients ended."""
        return [flow for flow in list(self.flows) if flow.kind in kinds and (flow.open or flow.broken)]

    def broken(self) -> list[Flow]:
        """The flows that broke."""
        return [flow for flow in list(self.flows) if flow.broken]

    def answers(self) -> int:
        """All answers that came."""
        return sum(flow.answers for flow in list(self.flows))

    def go_on(self, answers: int = 3, *, count: int | None = None) -> None:
        """Wait until each open flow had some answers more (a download: one), or ended; or until `count` flows had."""
        before = {flow: flow.answers + (1 if flow.kind == "large" else answers) for flow in self.of(*LASTING)}

        def done() -> bool:
            if count is not None and sum(flow.answers >= answers for flow in self.of(*LASTING)) < count:
                return False
            return all(not flow.open or flow.answers >= wanted for flow, wanted in before.items())

        until(done, "all flows go on", deadline_s=2 * ANSWER_S)

    def fresh(self, count: int) -> list[Flow]:
        """The next connections that are made anew and end, `count` of them; what began before does not count."""
        start = len(self.flows)

        def found() -> list[Flow]:
            return [flow for flow in self.flows[start:] if flow.kind == "anew" and not flow.open]

        until(lambda: len(found()) >= count, "new connections", deadline_s=2 * ANSWER_S)
        return found()

    def leave(self, backend: str) -> None:
        """Wait until the clients whose connections are with a backend ended them; they make new ones."""
        theirs = [flow for flow in self.of("kept", "large") if flow.backend == backend and flow.open]
        for flow in theirs:
            flow.leave = True
        until(lambda: not any(flow.open for flow in theirs), f"{backend} is left", deadline_s=2 * ANSWER_S)

    def unanswered(self) -> int:
        """Datagrams that were not answered so far."""
        return sum(len(flow.missing) for flow in self.of("udp"))

    def lost(self) -> int:
        """Datagrams that were never answered. Whatever is late is awaited, and no more are sent."""
        flows = self.of("udp")
        for flow in flows:
            flow.leave = True
        until(lambda: not any(flow.open for flow in flows), "the last datagrams", deadline_s=2 * ANSWER_S)
        return sum(len(flow.missing) for flow in flows)

    # In the host's thread.

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ready.set()
        await self._stop.wait()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _add(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connected(
        self, kind: str, vip: str, sizes: Sequence[int] = (0,), *, once: bool = False, body: bytes = b""
    ) -> bool:
        """A connection that asks until it breaks, or is to end; whether its client ended it."""
        flow = Flow(kind)
        self.flows.append(flow)
        writer = None
        try:
            async with asyncio.timeout(ANSWER_S):
                reader, writer = await asyncio.open_connection(sock=await _connection(vip))
            for size in cycle(sizes):
                async with asyncio.timeout(ANSWER_S):
                    flow.answered(await _ask(reader, writer, size, body))
                if once or flow.leave:
                    break
                await asyncio.sleep(self._think_s)
        except (OSError, EOFError, TimeoutError) as error:
            flow.broken = repr(error)
        finally:
            flow.open = False
            if writer is not None:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
        return not flow.broken

    async def _keep(self, vip: str) -> None:
        while await self._connected("kept", vip, (1, 2000)):
            pass

    async def _download(self, vip: str) -> None:
        while await self._connected("large", vip, (LARGE_BYTES,)):
            pass

    async def _upload(self, vip: str) -> None:
        while await self._connected("upload", vip, body=bytes(UPLOAD_BYTES)):
            pass

    async def _renew(self, vip: str) -> None:
        while True:
            await self._connected("anew", vip, (100,), once=True)
            await asyncio.sleep(self._think_s)

    async def _echo(self, vip: str) -> None:
        """One datagram after the other; when none comes back for a while, the next one is sent all the same."""
        loop = asyncio.get_running_loop()
        flow = Flow("udp")
        with socket.socket(socket.AF_INET6 if ":" in vip else socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect((vip, PORT))
            self.flows.append(flow)
            try:
                for number in count():
                    flow.missing.add(number)
                    await loop.sock_sendall(sock, number.to_bytes(8, "big"))
                    with suppress(TimeoutError):
                        async with asyncio.timeout(AGAIN_S):
                            while number in flow.missing:
                                self._heard(flow, await loop.sock_recv(sock, 64))
                    if flow.leave:
                        break
                    await asyncio.sleep(self._think_s / 5)
                with suppress(TimeoutError):
                    async with asyncio.timeout(LATE_S if flow.missing else 0):
                        while flow.missing:
                            self._heard(flow, await loop.sock_recv(sock, 64))
            except OSError as error:
                flow.broken = repr(error)
            finally:
                flow.open = False

    @staticmethod
    def _heard(flow: Flow, data: bytes) -> None:
        flow.missing.discard(int.from_bytes(data[:8], "big"))
        flow.answered(data[8:].decode())


async def _connection(vip: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in vip else socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW_BYTES)
    # A client that only waits for data finds out that its server is gone.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 1), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, int(ANSWER_S))):
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
    try:
        await asyncio.get_running_loop().sock_connect(sock, (vip, PORT))
    except BaseException:
        sock.close()
        raise
    return sock


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, size: int, body: bytes) -> str:
    """The backend's name, after all of its answer came: `size` bytes, or to a body its length."""
    if body:
        writer.write(b"POST / HTTP/1.1\r\nhost: vip\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    else:
        writer.write(b"GET /%d HTTP/1.1\r\nhost: vip\r\n\r\n" % size)
    words = (await reader.readuntil(b"\r\n\r\n")).split()
    left = int(words[words.index(b"content-length:") + 1])
    if body:
        assert int(await reader.readexactly(left)) == len(body)
        left = 0
    else:
        assert left == size
    while left:
        data = await reader.read(left)
        if not data:
            raise EOFError
        left -= len(data)
    return words[words.index(b"x-backend:") + 1].decode()


@contextmanager
def load(host: Host, vips: Sequence[str], *, think_s: float = THINK_S) -> Iterator[Load]:
    """A load without clients yet; all end with it."""
    made = Load(host, vips, think_s)
    made._thread.start()
    made._ready.wait(ANSWER_S)
    try:
        yield made
    finally:
        assert made._loop is not None
        made._loop.call_soon_threadsafe(made._stop.set)
        made._thread.join()
