"""POST /api/v1/push/health, /load and /rtt: results that others push, for those who know the token.

The body is JSON, up to BODY_MAX_BYTES, and all of it is taken or nothing: 202 with {"accepted": N}. Otherwise a problem
(RFC 9457): 404 where nothing can be pushed, 401 without the right token (RFC 6750), 413, 400 that says what is wrong
and allowed, 403 where the deployment does not want such, 503 where it cannot be kept now.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from hashlib import sha256
from http import HTTPStatus
from typing import Protocol

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gtm.model.errors import AskedError
from gtm.web.problem import problem

KINDS = ("health", "load", "rtt")
BODY_MAX_BYTES = 1024 * 1024
BODY_S = 30.0  # for the whole body to come
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class Inlet(Protocol):
    """Where pushed results go. Calls may block for some milliseconds and are made from a thread."""

    def token(self) -> bytes:
        """The word that whoever pushes must know, as it is now. Raises GtmError where it cannot be had."""

    def take(self, kind: str, body: bytes) -> int:
        """Take in a body of one of KINDS, all of it; how many results that were.

        Raises AskedError for one that makes no sense, Refused where the deployment does not want such results, and
        other GtmErrors where it cannot be kept now.
        """


def routes(inlet: Inlet | None) -> list[Route]:
    """The routes of pushing; without an inlet they say that nothing can be pushed."""
    return [Route(f"/api/v1/push/{kind}", _endpoint(kind, inlet), methods=["POST"]) for kind in KINDS]


def _endpoint(kind: str, inlet: Inlet | None) -> Callable[[Request], Awaitable[Response]]:
    async def push(request: Request) -> Response:
        if inlet is None:
            return problem(
                HTTPStatus.NOT_FOUND, "nothing can be pushed to this node: its gtm.yaml has no push: {token_file: PATH}"
            )
        if not authorized(request.headers.get("authorization"), await run_in_threadpool(inlet.token)):
            return problem(
                HTTPStatus.UNAUTHORIZED,
                "the token is missing or wrong (allowed: a header Authorization: Bearer TOKEN with this node's token)",
                headers={"WWW-Authenticate": 'Bearer realm="gtm push"'},
            )
        if request.query_params:
            raise AskedError("no such parameter (none is allowed here)", argument=next(iter(request.query_params))[:64])
        body = await _body(request)
        if body is None:
            return problem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is too large (allowed: up to {BODY_MAX_BYTES} bytes)"
            )
        accepted = await run_in_threadpool(inlet.take, kind, body)
        return JSONResponse({"accepted": accepted}, status_code=HTTPStatus.ACCEPTED, headers=_HEADERS)

    return push


def authorized(header: str | None, token: bytes) -> bool:
    """Whether an Authorization header has the token. How long that takes tells nothing of the token."""
    scheme, _, given = (header or "").partition(" ")
    right = hmac.compare_digest(sha256(given.strip().encode("latin-1", "replace")).digest(), sha256(token).digest())
    return scheme.lower() == "bearer" and right


async def _body(request: Request) -> bytes | None:
    """The body, None if it is too large. Raises AskedError if it does not come in time."""
    stated = request.headers.get("content-length", "0")
    if stated.isdecimal() and int(stated[:20]) > BODY_MAX_BYTES:
        return None
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for part in request.stream():
                body += part
                if len(body) > BODY_MAX_BYTES:
                    return None
    except TimeoutError:
        raise AskedError(f"did not come whole within {BODY_S:g} s", argument="body") from None
    except ClientDisconnect:
        raise AskedError("broke off", argument="body") from None
    return bytes(body)
