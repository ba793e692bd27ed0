"""Every error as `application/problem+json` (RFC 9457), with the id of the request that met it."""

from __future__ import annotations

import re
import traceback
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import orjson
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from domain.errors import (
    Conflict,
    FieldError,
    Forbidden,
    InvalidInput,
    NotFound,
    PlatformError,
    RuleBroken,
    Unauthenticated,
    Unavailable,
)
from observability import get_logger
from storage.pool import DatabaseUnavailable, DataRejected

log = get_logger("api")

_STATUS_OF: tuple[tuple[type[PlatformError], HTTPStatus], ...] = (
    (InvalidInput, HTTPStatus.BAD_REQUEST),
    (Unauthenticated, HTTPStatus.UNAUTHORIZED),
    (Forbidden, HTTPStatus.FORBIDDEN),
    (NotFound, HTTPStatus.NOT_FOUND),
    (Conflict, HTTPStatus.CONFLICT),
    (RuleBroken, HTTPStatus.UNPROCESSABLE_ENTITY),
    (Unavailable, HTTPStatus.SERVICE_UNAVAILABLE),
)
_MAX_FIELD_ERRORS = 100
_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")


class ContentTooLarge(PlatformError):
    """The body is larger than the platform accepts."""


class UnsupportedContent(PlatformError):
    """The body is not in a form that the platform reads."""


def problem(
    status: HTTPStatus,
    *,
    title: str,
    kind: str,
    detail: str,
    errors: Sequence[FieldError] = (),
    **members: Any,
) -> Response:
    """A problem document as a response; `kind` is a short name that programs can tell problems apart by."""
    body: dict[str, Any] = {
        "type": f"urn:iiot:problem:{kind}",
        "title": title,
        "status": int(status),
        "detail": detail,
        "instance": request.path,
        "request_id": g.get("request_id", ""),
    }
    if errors:
        shown = errors[:_MAX_FIELD_ERRORS]
        body["errors"] = [{"pointer": error.pointer, "detail": error.detail} for error in shown]
    return Response(
        orjson.dumps(body | members, option=orjson.OPT_UTC_Z),
        status=int(status),
        content_type="application/problem+json",
    )


def register_problems(app: Flask) -> None:
    """Let every error of the application leave as a problem document."""
    app.register_error_handler(PlatformError, _of_platform_error)
    app.register_error_handler(HTTPException, _of_http_exception)
    app.register_error_handler(Exception, _of_unknown_error)


def _of_platform_error(error: PlatformError) -> Response:
    if isinstance(error, DataRejected):
        return _of_refused_value(error)
    status = _status_of(error)
    if status is None:
        return _of_unknown_error(error)
    response = problem(
        status,
        title=error.title,
        kind=_CAPITAL.sub("-", type(error).__name__).lower(),
        detail=_safe_detail(error),
        errors=error.errors,
    )
    if isinstance(error, Unavailable):
        response.headers["Retry-After"] = str(error.retry_after_s)
        log.warning("request_unavailable", request_id=g.get("request_id"), cause=str(error))
    if isinstance(error, Unauthenticated):
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _safe_detail(error: PlatformError) -> str:
    """The detail for the user; where the database stands is for the log only."""
    is_inner = isinstance(error, DatabaseUnavailable)
    return error.title if is_inner else error.detail or error.title


def _status_of(error: PlatformError) -> HTTPStatus | None:
    if isinstance(error, ContentTooLarge):
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    if isinstance(error, UnsupportedContent):
        return HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    return next((status for kind, status in _STATUS_OF if isinstance(error, kind)), None)


def _of_refused_value(error: DataRejected) -> Response:
    """A value that passed our checks but not PostgreSQL's: the user's mistake, said without its words."""
    log.warning(
        "value_refused_by_database",
        request_id=g.get("request_id"),
        sqlstate=error.sqlstate,
        constraint=error.constraint,
    )
    if error.sqlstate.startswith("23"):
        return problem(
            HTTPStatus.CONFLICT,
            title="The request conflicts with the present state.",
            kind="conflict",
            detail="another object uses this, or a limit of the data is broken",
        )
    return problem(
        HTTPStatus.BAD_REQUEST,
        title="The request is malformed.",
        kind="invalid-input",
        detail="a value is outside of what can be stored",
    )


def _of_http_exception(error: HTTPException) -> Response:
    if isinstance(error, RequestRedirect) or error.code is None:
        return Response(
            error.get_response().get_data(), status=error.code or 500, headers=error.get_headers()
        )
    status = HTTPStatus(error.code)
    response = problem(
        status,
        title=f"{status.phrase}.",
        kind=status.phrase.lower().replace(" ", "-"),
        detail=_DETAIL_OF.get(status, f"{status.description or status.phrase}."),
    )
    for name, value in error.get_headers():
        if name in {"Allow", "Retry-After", "WWW-Authenticate"}:
            response.headers[name] = value
    return response


_DETAIL_OF = {
    HTTPStatus.NOT_FOUND: "There is no such resource.",
    HTTPStatus.METHOD_NOT_ALLOWED: "The resource does not know this method.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is larger than the platform accepts.",
}


def _of_unknown_error(error: Exception) -> Response:
    """What nobody foresaw: the log gets everything, the user only the id to ask about."""
    log.error(
        "request_failed",
        request_id=g.get("request_id"),
        method=request.method,
        path=request.path,
        error="".join(traceback.format_exception(error)),
    )
    return problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        title="The platform failed.",
        kind="internal-error",
        detail="The failure was recorded under the request_id.",
    )
