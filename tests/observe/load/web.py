"""A server for tests that answers HTTP requests as it is told: rightly, wrongly, late, or not at all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

NEVER = b""  # an answer that does not come


def reply(body: bytes, status: int = 200) -> bytes:
    """A whole HTTP answer."""
    return b"HTTP/1.1 %d x\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (status, len(body), body)


def vector(*series: tuple[dict[str, str], str]) -> bytes:
    """Prometheus's answer with these series."""
    result = [{"metric": labels, "value": [1435781451.781, value]} for labels, value in series]
    return reply(json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode())


@dataclass(slots=True)
class Web:
    """The server: `answer` makes octets of a query, and `asked` has the queries so far."""

    answer: Callable[[str], bytes]
    asked: list[str] = field(default_factory=list)
    port: int = 0
    more: asyncio.Event = field(default_factory=asyncio.Event)
    server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Listen no more."""
        if self.server is not None:
            self.server.close()

    async def until(self, count: int) -> None:
        """Wait until it has been asked `count` times in all."""
        while len(self.asked) < count:
            self.more.clear()
            await self.more.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            target = head.split(b" ", 2)[1].decode()
            self.asked.append(parse_qs(urlsplit(target).query)["query"][0])
            self.more.set()
            octets = self.answer(self.asked[-1])
            if octets is NEVER:
                await reader.read()  # until the other side gives up
            writer.write(octets)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def web(answer: Callable[[str], bytes], port: int = 0) -> AsyncIterator[Web]:
    """A server on a loopback port."""
    made = Web(answer=answer)
    made.server = await asyncio.start_server(made.serve, "127.0.0.1", port)
    made.port = made.server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        made.stop()
