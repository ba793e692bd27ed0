"""Around every request: its id, how long it took, and headers that hold for all answers."""

from __future__ import annotations

import re
import secrets
import time

from flask import Flask, Response, g, request

from observability import request_seconds

_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def register_request_hooks(app: Flask) -> None:
    """Give each request an id (the caller's where it is sane) and measure it."""
    app.before_request(_begin)
    app.after_request(_finish)


def _begin() -> None:
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if _SANE_ID.fullmatch(given) else secrets.token_hex(8)
    g.began_at = time.perf_counter()


def _finish(response: Response) -> Response:
    headers = response.headers
    headers["X-Request-ID"] = g.get("request_id", "")
    if request.path.startswith("/api/"):
        headers.setdefault("Cache-Control", "no-store")
    began_at = g.get("began_at")
    if began_at is not None:
        route = request.url_rule.rule if request.url_rule else "unknown"
        request_seconds.labels(route, f"{response.status_code // 100}xx").observe(
            time.perf_counter() - began_at
        )
    return response
