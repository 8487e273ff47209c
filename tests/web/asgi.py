"""A client that calls an ASGI application directly, as a server would: no socket, no library."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
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

    def post(self, target: str, body: bytes | Iterable[bytes], headers: Mapping[str, str] | None = None) -> Reply:
        """POST a body, whole or in parts; without a Content-Length unless `headers` has one."""
        path, _, query = target.partition("?")
        parts = (body,) if isinstance(body, bytes) else tuple(body)
        return asyncio.run(self._call("POST", path, query.encode(), parts, headers or {}))

    def request(self, method: str, target: str, params: Iterable[tuple[str, str]] = ()) -> Reply:
        path, _, query = target.partition("?")
        return asyncio.run(self._call(method, path, (query or urlencode(list(params))).encode("latin-1")))

    async def _call(
        self,
        method: str,
        path: str,
        query: bytes,
        parts: tuple[bytes, ...] = (b"",),
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
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
            "headers": [
                (b"host", b"localhost"),
                *((key.lower().encode(), value.encode("latin-1")) for key, value in (headers or {}).items()),
            ],
            "client": ("127.0.0.1", 40000),
            "server": ("127.0.0.1", 8053),
        }

        coming = list(parts)

        async def receive() -> Message:
            if not coming:
                return {"type": "http.disconnect"}
            part = coming.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(coming)}

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
