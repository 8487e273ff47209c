"""A backend's servers, as a program: HTTP/1.1 with keep-alive on TCP port 80; UDP port 80 gives back what came.

`python -m tests.lab.origin NAME VIP...` prints a line once it listens. Every answer says NAME.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import suppress

PORT = 80
FREEBIND, FREEBIND6, BACKLOG = 15, 78, 1024
BLOCK = bytes(range(256)) * 256


class Web(asyncio.Protocol):
    """GET /N gives N bytes; POST takes its body and gives its length."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._heard = bytearray()
        self._writable = asyncio.Event()
        self._writable.set()
        self._asked: asyncio.Queue[int | bytes] = asyncio.Queue(100)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._task = asyncio.get_running_loop().create_task(self._answer())

    def connection_lost(self, _error: Exception | None) -> None:
        self._writable.set()
        self._task.cancel()

    def data_received(self, data: bytes) -> None:
        self._heard += data
        while b"\r\n\r\n" in self._heard:
            head, _, rest = bytes(self._heard).partition(b"\r\n\r\n")
            words = head.split()
            size = int(words[words.index(b"content-length:") + 1]) if words[0] == b"POST" else 0
            if len(rest) < size:
                return
            self._heard[:] = rest[size:]
            self._asked.put_nowait(str(size).encode() if size else int(words[1][1:]))

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def _answer(self) -> None:
        while True:
            asked = await self._asked.get()
            size = asked if isinstance(asked, int) else len(asked)
            head = f"HTTP/1.1 200 OK\r\nx-backend: {self._name}\r\ncontent-length: {size}\r\n\r\n".encode()
            if isinstance(asked, bytes):
                self._transport.write(head + asked)
                continue
            self._transport.write(head + BLOCK[: min(size, len(BLOCK))])
            for start in range(len(BLOCK), size, len(BLOCK)):
                await self._writable.wait()
                self._transport.write(BLOCK[: size - start])


def echo(sock: socket.socket, name: bytes) -> None:
    """Gives all datagrams back that wait, with the name behind them."""
    with suppress(BlockingIOError):
        while True:
            data, peer = sock.recvfrom(2048)
            sock.sendto(data + name, peer)


def bound(address: str, kind: socket.SocketKind) -> socket.socket:
    """A socket at a VIP, which may not be there yet."""
    six = ":" in address
    sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET, kind)
    sock.setsockopt(socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP, FREEBIND6 if six else FREEBIND, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, PORT))
    return sock


async def serve(name: str, addresses: list[str]) -> None:
    """Serves until it is killed."""
    loop = asyncio.get_running_loop()
    for address in addresses:
        await loop.create_server(lambda: Web(name), sock=bound(address, socket.SOCK_STREAM), backlog=BACKLOG)
        sock = bound(address, socket.SOCK_DGRAM)
        sock.setblocking(False)
        loop.add_reader(sock, echo, sock, name.encode())
    print("listening", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2:]))
