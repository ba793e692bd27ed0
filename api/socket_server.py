"""The Socket.IO server and its limits: origins, sizes, and how many transports may hold a thread.

In threading mode every open WebSocket and every waiting poll holds a worker thread, signed in or not. What is
refused here is refused before it costs one, so that HTTP always finds a thread.
"""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

import orjson
from engineio.async_drivers.threading import SimpleWebSocketWSGI
from flask import Flask
from flask_socketio import SocketIO

from observability import get_logger
from settings import WebSettings

log = get_logger("sockets")

_MAX_MESSAGE_BYTES = 65_536
_PATH = "/socket.io/"

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Wsgi = Callable[[Environ, StartResponse], Iterable[bytes]]


class _Json:
    """orjson in the shape that python-socketio asks for."""

    @staticmethod
    def dumps(value: object, **_options: object) -> str:
        return orjson.dumps(value, option=orjson.OPT_UTC_Z).decode()

    @staticmethod
    def loads(text: str | bytes, **_options: object) -> Any:
        return orjson.loads(text)


class SocketServer(SocketIO):  # type: ignore[misc]
    """Flask-SocketIO that bounds its transports and can hang up on one that does not listen."""

    def __init__(self, web: WebSettings) -> None:
        self._origins = frozenset(web.origins)
        # A few more transports than sockets get as far as a clear answer; polls come and go beside them.
        spare = max(1, min(8, web.request_threads // 4))
        self._max_transports = web.max_sockets + spare
        self._max_requests = web.max_sockets + 2 * spare
        self._requests = 0
        self._lock = threading.Lock()
        self._tcp: dict[str, socket.socket] = {}
        super().__init__(
            async_mode="threading",
            # One thread per event would let a single client start thousands a second.
            async_handlers=False,
            cors_allowed_origins=self._is_allowed_origin,
            cors_credentials=False,
            max_http_buffer_size=_MAX_MESSAGE_BYTES,
            ping_interval=20,
            ping_timeout=20,
            json=_Json,
            logger=_quiet("socketio"),
            engineio_logger=_quiet("engineio"),
        )
        self.on_error_default(_answer_failure)

    def init_app(self, app: Flask, **options: Any) -> None:
        """Put the server in front of the application."""
        super().init_app(app, **options)
        engine = self.server.eio
        # The library's own wrapper reads messages of any size into memory before it looks at their length.
        engine._async = {**engine._async, "websocket": self._websocket}  # noqa: SLF001
        app.wsgi_app = self._guarded(app.wsgi_app)  # type: ignore[assignment, method-assign]

    def transports(self) -> dict[str, Any]:
        """The open Engine.IO transports by id."""
        sockets = dict(self.server.eio.sockets) if self.server else {}
        return {name: transport for name, transport in sockets.items() if not transport.closed}

    def hang_up(self, transport_id: str) -> None:
        """Ask the client to go, after what is queued for it; never waits."""
        transport = self.transports().get(transport_id)
        if transport is not None:
            transport.close(wait=False)

    def abort(self, transport_id: str) -> None:
        """Cut the connection, whatever the client does; frees its threads."""
        self.hang_up(transport_id)
        connection = self._tcp.get(transport_id)
        if connection is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def abort_all(self) -> None:
        """Cut every connection that is still there."""
        for transport_id in list(self._tcp):
            self.abort(transport_id)

    def has_connections(self) -> bool:
        """Whether a WebSocket is still being served."""
        return bool(self._tcp)

    def _websocket(self, handler: Any, server: Any) -> _WebSocket:
        return _WebSocket(handler, server, tcp=self._tcp)

    def _is_allowed_origin(self, origin: str | None, environ: Environ) -> bool:
        host = environ.get("HTTP_HOST", "")
        schemes = {environ.get("wsgi.url_scheme"), environ.get("HTTP_X_FORWARDED_PROTO")}
        return origin in self._origins or origin in {f"{scheme}://{host}" for scheme in schemes if scheme}

    def _guarded(self, inner: Wsgi) -> Wsgi:
        def guarded(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
            if not environ.get("PATH_INFO", "").startswith(_PATH):
                return inner(environ, start_response)
            # Compression would cost every socket a quarter of a megabyte and every message its own pass.
            environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)
            if not self._take_request(environ):
                log.warning("socket_refused", reason="too many transports")
                return _busy(start_response)
            try:
                return inner(environ, start_response)
            finally:
                with self._lock:
                    self._requests -= 1

        return guarded

    def _take_request(self, environ: Environ) -> bool:
        is_new = "sid" not in parse_qs(environ.get("QUERY_STRING", ""))
        with self._lock:
            if self._requests >= self._max_requests:
                return False
            if is_new and len(self.transports()) >= self._max_transports:
                return False
            self._requests += 1
            return True


class _WebSocket(SimpleWebSocketWSGI):  # type: ignore[misc]
    """One WebSocket whose messages are bounded and whose connection is known while it is open."""

    def __init__(self, handler: Any, server: Any, *, tcp: dict[str, socket.socket]) -> None:
        super().__init__(self._serve, server, max_message_size=_MAX_MESSAGE_BYTES)
        self._handler = handler
        self._server = server
        self._open_tcp = tcp

    def _serve(self, websocket: object) -> Any:
        transport_id = self._handler.__self__.sid
        self._open_tcp[transport_id] = self.ws.sock
        try:
            return self._handler(websocket)
        finally:
            self._open_tcp.pop(transport_id, None)
            # The web servers end a WebSocket by an exception, which passes the engine's own tidying.
            self._server.sockets.pop(transport_id, None)


def _quiet(name: str) -> logging.Logger:
    """A library's logger without its errors: malformed packets of clients are among them."""
    logger = logging.getLogger(name)
    logger.setLevel(logging.CRITICAL)
    return logger


def _answer_failure(error: BaseException) -> dict[str, str]:
    log.error("socket_event_failed", exc_info=error)
    return {"error": "this did not work; the platform has noted it"}


def _busy(start_response: StartResponse) -> list[bytes]:
    body = json.dumps({"message": "there are too many live connections; try again later"}).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), ("Retry-After", "5")]
    start_response("503 Service Unavailable", headers)
    return [body]
