"""The ASGI application: page, API, health and metrics over a StatusSource; every answer is fresh.

GET /                    the status page
GET /api/v1/status       the node's Status
GET /api/v1/explain      ?name= &from= [&type=A] [&down=REGION]...
GET /healthz             200 or 503, see gtm.web.healthz
GET /metrics             Prometheus text
POST /api/v1/push/...    results from outside, see gtm.web.push; all else is read only
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, cast

from starlette.applications import Starlette
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from gtm.model.errors import AskedError, GtmError
from gtm.web.document import as_object
from gtm.web.healthz import Healthz, healthz
from gtm.web.metrics import CONTENT_TYPE, exposition
from gtm.web.page import CSP, HTML
from gtm.web.problem import HANDLERS
from gtm.web.push import Inlet, routes
from gtm.web.source import Question, StatusSource

PARAMETER_LENGTH_MAX = 1024
DOWN_MAX = 256
_NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def build(source: StatusSource, inlet: Inlet | None = None) -> ASGIApp:
    """The application over a source, and over an inlet where results may be pushed.

    Its endpoints block in threads of Starlette's pool, never in the event loop.
    """

    def page(_: Request) -> Response:
        return HTMLResponse(
            HTML, headers={**_NO_STORE, "Content-Security-Policy": CSP, "Referrer-Policy": "no-referrer"}
        )

    def status(request: Request) -> Response:
        _only(request.query_params, ())
        return JSONResponse(as_object(source.status()), headers=_NO_STORE)

    def explain(request: Request) -> Response:
        return JSONResponse(source.explain(question_of(request.query_params)), headers=_NO_STORE)

    def health(_: Request) -> Response:
        try:
            verdict = healthz(source.status())
        except GtmError as error:
            verdict = Healthz(ok=False, reasons=(str(error),))
        code = HTTPStatus.OK if verdict.ok else HTTPStatus.SERVICE_UNAVAILABLE
        return JSONResponse(as_object(verdict), status_code=code, headers=_NO_STORE)

    def metrics(_: Request) -> Response:
        try:
            now = source.status()
        except GtmError:
            now = None
        return Response(exposition(now), media_type=CONTENT_TYPE, headers=_NO_STORE)

    return Starlette(
        routes=[
            Route("/", page, methods=["GET"]),
            Route("/api/v1/status", status, methods=["GET"]),
            Route("/api/v1/explain", explain, methods=["GET"]),
            Route("/healthz", health, methods=["GET"]),
            Route("/metrics", metrics, methods=["GET"]),
            *routes(inlet),
        ],
        exception_handlers=cast("Any", HANDLERS),
    )


def question_of(parameters: QueryParams) -> Question:
    """The question in a query string. Raises AskedError for unknown, repeated, missing or overlong parameters."""
    _only(parameters, ("name", "type", "from", "down"))
    down = tuple(region for item in parameters.getlist("down") for region in item.split(",") if region)
    if len(down) > DOWN_MAX:
        raise AskedError(f"more than {DOWN_MAX} regions", argument="down")
    return Question(
        name=_one(parameters, "name"),
        rtype=_one(parameters, "type", "A"),
        client=_one(parameters, "from"),
        down=down,
    )


def _only(parameters: QueryParams, allowed: tuple[str, ...]) -> None:
    for key, value in parameters.multi_items():
        if key not in allowed:
            may = f"allowed: {', '.join(allowed)}" if allowed else "none is allowed here"
            raise AskedError(f"no such parameter ({may})", argument=key[:64])
        if len(value) > PARAMETER_LENGTH_MAX:
            raise AskedError(f"longer than {PARAMETER_LENGTH_MAX} characters", argument=key)


def _one(parameters: QueryParams, key: str, default: str | None = None) -> str:
    values = parameters.getlist(key)
    if len(values) > 1:
        raise AskedError("given more than once", argument=key)
    value = values[0] if values else default
    if not value:
        raise AskedError("is missing", argument=key)
    return value
