"""What every answer tells browsers: security headers, and which foreign origins may read it (CORS)."""

from __future__ import annotations

from flask import Flask, Response, request

from settings import WebSettings

# For everything that is no page; pages bring their own.
_NOTHING_INSIDE = "default-src 'none'; frame-ancestors 'none'"
_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": _NOTHING_INSIDE,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_METHODS = "GET, POST, PUT, DELETE"
_REQUEST_HEADERS = "Authorization, Content-Type, X-API-Key, X-Request-ID"
_READABLE_HEADERS = (
    "ETag, Location, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After, X-Request-ID"
)
_PREFLIGHT_AGE_S = "600"


def register_browser_rules(app: Flask, web: WebSettings) -> None:
    """Put the headers on every answer of the application."""
    allowed = frozenset(web.origins)
    always = dict(_ALWAYS)
    if web.hsts_s:
        always["Strict-Transport-Security"] = f"max-age={web.hsts_s}; includeSubDomains"

    @app.after_request
    def add_headers(response: Response) -> Response:
        for name, value in always.items():
            response.headers.setdefault(name, value)
        if allowed:
            response.vary.add("Origin")
            origin = request.headers.get("Origin")
            if origin in allowed and request.path.startswith("/api/"):
                _share(response, origin)
        return response


def _share(response: Response, origin: str) -> None:
    """Let a page of the origin read the answer. Never with credentials: tokens travel in a header."""
    headers = response.headers
    headers["Access-Control-Allow-Origin"] = origin
    headers["Access-Control-Expose-Headers"] = _READABLE_HEADERS
    # The browser compares origins itself; this header would stop it before.
    headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
        headers["Access-Control-Allow-Methods"] = _METHODS
        headers["Access-Control-Allow-Headers"] = _REQUEST_HEADERS
        headers["Access-Control-Max-Age"] = _PREFLIGHT_AGE_S
