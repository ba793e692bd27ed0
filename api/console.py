"""The console: static files under strict rules, compressed once."""

from __future__ import annotations

import gzip
import hashlib
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from flask import Blueprint, Response, abort, request

from rbac import public

blueprint = Blueprint("console", __name__)

ROOT = Path(__file__).resolve().parent.parent / "console"

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self' ws: wss:; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)


class _File(NamedTuple):
    plain: bytes
    compressed: bytes
    etag: str


@blueprint.get("/")
@public
def index() -> Response:
    """The console's page."""
    return console_file("index.html")


@blueprint.get("/console/<path:name>")
@public
def static_file(name: str) -> Response:
    """A file of the console; only what a browser needs is served."""
    return console_file(name)


def console_file(name: str) -> Response:
    """A file below `console/` as an answer; 404 for what a browser does not need."""
    path = _servable(name)
    if path is None:
        abort(404)
    content_type = _TYPES[path.suffix]
    file = _read(path, path.stat().st_mtime_ns)
    accepts_gzip = "gzip" in request.headers.get("Accept-Encoding", "")
    response = Response(file.compressed if accepts_gzip else file.plain, content_type=content_type)
    if accepts_gzip:
        response.headers["Content-Encoding"] = "gzip"
    response.headers["Vary"] = "Accept-Encoding"
    response.headers["Cache-Control"] = "no-cache"
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.set_etag(f"{file.etag}{'-gzip' if accepts_gzip else ''}")
    response.make_conditional(request)
    return response


def _servable(name: str) -> Path | None:
    try:
        path = (ROOT / name).resolve()
        is_ours = path.suffix in _TYPES and path.is_relative_to(ROOT) and path.is_file()
    except (OSError, ValueError):  # a name with NUL, or longer than file systems take
        return None
    return path if is_ours else None


@lru_cache(maxsize=256)
def _read(path: Path, _modified_ns: int) -> _File:
    """A file in both forms; a changed file, with another time of change, is read anew."""
    plain = path.read_bytes()
    return _File(plain, gzip.compress(plain, 9, mtime=0), hashlib.sha256(plain).hexdigest()[:20])
