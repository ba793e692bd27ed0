"""gunicorn in this process: one worker with threads, which owns the runtime."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.workers.gthread import ThreadWorker

from runtime import Runtime
from settings import Settings


class _Worker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's threaded worker, which lets go of open sockets when it is told to stop."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        runtime: Runtime = self.app.runtime
        # A handler must return at once; and each open socket would otherwise hold its thread to the end.
        threading.Thread(target=runtime.realtime.disconnect_all, name="disconnect", daemon=True).start()


class Server(BaseApplication):  # type: ignore[misc]
    """gunicorn with one worker that owns the runtime."""

    def __init__(self, settings: Settings, create_app: Callable[[Settings], Flask]) -> None:
        self._settings = settings
        self._create_app = create_app
        self.runtime: Runtime | None = None
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn's options; called by its constructor."""
        web = self._settings.web
        options: dict[str, Any] = {
            "bind": f"{web.host}:{web.port}",
            "workers": 1,
            "worker_class": _Worker,
            "threads": web.threads,
            "worker_connections": web.threads + 100,
            "graceful_timeout": 4,
            "timeout": 60,
            "keepalive": 15,
            # The largest that gunicorn takes: room for the longest cursor in escaped form.
            "limit_request_line": 8190,
            "loglevel": "warning",
            "control_socket_disable": True,
            "worker_exit": self._stop,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """Build and start the platform; called in the worker."""
        app = self._create_app(self._settings)
        self.runtime = app.extensions["runtime"]
        self.runtime.start()
        return app

    def _stop(self, server: object, worker: object) -> None:
        if self.runtime is not None:
            self.runtime.stop()
