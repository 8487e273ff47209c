"""A stand-in for an LB instance: a small real HTTP/1.1 server, for the demo and for tests.

    python -m gtm.app.standin 127.0.1.11:8080 --name web-1 --region us-east

`/healthz` answers 200 "ok", everything else says which instance answered. SIGTERM and SIGINT end it cleanly. Only the
standard library is imported, and little of it: a dozen of these start together.
"""

from __future__ import annotations

import asyncio
import signal
import sys

from gtm.app.loop import run

HEAD_MAX_BYTES = 16384
IDLE_S = 60.0
USAGE = "usage: python -m gtm.app.standin ADDR:PORT --name NAME --region REGION"


class Standin(asyncio.Protocol):
    """One client's connection: answers each request in turn, closes when asked, when idle, or on nonsense."""

    def __init__(self, banner: str, clients: set[Standin]) -> None:
        self._banner = banner
        self._clients = clients
        self._buffer = bytearray()
        self._skip = 0
        self._transport: asyncio.Transport | None = None
        self._idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._clients.add(self)
        self._rest()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's signature
        """End."""
        self._clients.discard(self)
        if self._idle is not None:
            self._idle.cancel()

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._rest()
        self._buffer += data
        while self._step():
            pass

    def close(self) -> None:
        """Close once what was written is sent."""
        if self._transport is not None:
            self._transport.close()

    def _rest(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(IDLE_S, self.close)

    def _step(self) -> bool:
        """Whether one more request was taken from what has arrived."""
        skipped = min(self._skip, len(self._buffer))  # the content of the request before
        del self._buffer[:skipped]
        self._skip -= skipped
        end = self._buffer.find(b"\r\n\r\n")
        if self._skip or end < 0:
            if len(self._buffer) > HEAD_MAX_BYTES:
                self._answer("431 Request Header Fields Too Large", "too long\n", head=False, close=True)
            return False
        lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        return self._request(lines[0].split(" "), _fields(lines[1:]))

    def _request(self, line: list[str], fields: dict[str, str]) -> bool:
        if len(line) != 3 or not line[2].startswith("HTTP/1.") or "transfer-encoding" in fields:
            self._answer("400 Bad Request", "bad request\n", head=False, close=True)
            return False
        length = fields.get("content-length", "0")
        if not (length.isascii() and length.isdigit() and len(length) < 10):
            self._answer("400 Bad Request", "bad request\n", head=False, close=True)
            return False
        self._skip = int(length)
        wish = fields.get("connection", "").lower()
        close = wish == "close" or (line[2] == "HTTP/1.0" and wish != "keep-alive")
        head = line[0] == "HEAD"
        if line[0] not in {"GET", "HEAD"}:
            self._answer("405 Method Not Allowed", "only GET and HEAD\n", head=head, close=close)
        elif line[1].split("?", 1)[0] == "/healthz":
            self._answer("200 OK", "ok", head=head, close=close)
        else:
            self._answer("200 OK", self._banner, head=head, close=close)
        return not close

    def _answer(self, status: str, body: str, *, head: bool, close: bool) -> None:
        if self._transport is None:
            return
        content = body.encode()
        self._transport.write(
            f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(content)}\r\n"
            f"Cache-Control: no-store\r\nConnection: {'close' if close else 'keep-alive'}\r\n\r\n".encode()
            + (b"" if head else content)
        )
        if close:
            self._buffer.clear()
            self._transport.close()


def _fields(lines: list[str]) -> dict[str, str]:
    parts = (line.partition(":") for line in lines)
    return {name.strip().lower(): value.strip() for name, _, value in parts}


async def serve(address: str, port: int, *, name: str, region: str) -> None:
    """Serve until SIGTERM or SIGINT; prints one line when it listens. Raises OSError if it cannot listen."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    clients: set[Standin] = set()
    banner = f"{name} in {region} answers\n"
    server = await loop.create_server(lambda: Standin(banner, clients), address, port, backlog=512)
    port = server.sockets[0].getsockname()[1]
    sys.stdout.write(f"{name} in {region} listens on {f'[{address}]' if ':' in address else address}:{port}\n")
    sys.stdout.flush()
    await stop.wait()
    server.close()
    for client in list(clients):
        client.close()


def main(arguments: list[str]) -> int:
    """The exit code: 0 after a clean stop, 1 if it cannot listen, 2 for wrong usage."""
    try:
        where, first, one, second, two = arguments
        options = {first: one, second: two}
        name, region = options["--name"], options["--region"]
        address, colon, port = where.rpartition(":")
        number = int(port)
        if not colon or not 0 <= number <= 65535:
            raise ValueError(where)
    except (ValueError, KeyError):
        sys.stderr.write(USAGE + "\n")
        return 2
    try:
        run(serve(address.strip("[]"), number, name=name, region=region))
    except OSError as error:
        sys.stderr.write(f"{name} in {region}: cannot listen on {where}: {error.strerror}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
