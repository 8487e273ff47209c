"""A client that calls an ASGI application directly, as a server would: no socket, no library."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.types import ASGIApp, Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Client:
    app: ASGIApp

    def get(self, target: str, params: Iterable[tuple[str, str]] = ()) -> Reply:
        return self.request("GET", target, params)

    def request(self, method: str, target: str, params: Iterable[tuple[str, str]] = ()) -> Reply:
        path, _, query = target.partition("?")
        return asyncio.run(self._call(method, path, (query or urlencode(list(params))).encode("latin-1")))

    async def _call(self, method: str, path: str, query: bytes) -> Reply:
        sent: list[Message] = []
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query,
            "root_path": "",
            "headers": [(b"host", b"localhost")],
            "client": ("127.0.0.1", 40000),
            "server": ("127.0.0.1", 8053),
        }

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        try:
            await self.app(scope, receive, send)
        except Exception:
            if not sent:  # Starlette raises again what it has answered with a 500; anything else is a failure
                raise
        start, *bodies = sent
        return Reply(
            status=start["status"],
            headers={key.decode().lower(): value.decode() for key, value in start["headers"]},
            body=b"".join(part.get("body", b"") for part in bodies),
        )
