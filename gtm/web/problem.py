"""Errors as JSON problem details (RFC 9457): a client's mistake is a 4xx that says which part and what is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gtm.model.errors import AskedError, GtmError, Refused


def problem(
    status: HTTPStatus, detail: str, *, headers: Mapping[str, str] | None = None, **more: object
) -> JSONResponse:
    """A problem response; `more` become members beside `title`, `status` and `detail`."""
    return JSONResponse(
        {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail, **more},
        status_code=status.value,
        media_type="application/problem+json",
        headers=headers,
    )


def of_asked(_: Request, error: Exception) -> Response:
    """400 for a question that makes no sense, with the argument at fault and what may have been meant."""
    if not isinstance(error, AskedError):
        return of_gtm(_, error)
    return problem(HTTPStatus.BAD_REQUEST, error.message, argument=error.argument, known=list(error.known))


def of_refused(_: Request, error: Exception) -> Response:
    """403 for what the deployment does not want, with the rule that says so."""
    if not isinstance(error, Refused):
        return of_gtm(_, error)
    return problem(HTTPStatus.FORBIDDEN, error.reason, guard=error.guard)


def of_gtm(_: Request, error: Exception) -> Response:
    """503 where the node cannot say anything now, such as before its first table."""
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error), headers={"Retry-After": "5"})


def of_http(_: Request, error: Exception) -> Response:
    """Starlette's own 404 and 405 in the same form."""
    if not isinstance(error, HTTPException):
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error")
    status = HTTPStatus(error.status_code)
    return problem(status, error.detail or status.description, headers=error.headers)


def of_bug(_: Request, __: Exception) -> Response:
    """500 without any detail: the fault is ours, and the log has it."""
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error; the log of the API process has the details")


HANDLERS: Mapping[int | type[Exception], object] = {
    AskedError: of_asked,
    Refused: of_refused,
    GtmError: of_gtm,
    HTTPException: of_http,
    Exception: of_bug,
}
