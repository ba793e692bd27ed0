"""A thread that takes turns: when it is woken, or when the time comes that the turn before asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from observability import Heartbeats, get_logger

log = get_logger("fleet")

_BEAT_S = 5.0
_AFTER_FAILURE_S = 5.0


class TurnsThread:
    """Outlives whatever a turn raises; beats while it waits. `turn` returns the seconds until the next."""

    def __init__(
        self, name: str, turn: Callable[[], float], *, heartbeats: Heartbeats, turn_limit_s: float
    ) -> None:
        self._name = name
        self._turn = turn
        self._heartbeats = heartbeats
        self._turn_limit_s = turn_limit_s
        self._wanted = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Take the first turn now."""
        self._thread = threading.Thread(target=self._run, name=self._name.replace(" ", "-"), daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """End the thread after its turn; return whether it has ended."""
        self._stopping.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
            return not self._thread.is_alive()
        return True

    def wake(self) -> None:
        """Take a turn soon. Returns at once."""
        self._wanted.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._beat()
            self._wanted.clear()
            try:
                due_s = self._turn()
            except Exception:  # The thread must outlive whatever one turn brings up.
                log.exception("turn_failed", thread=self._name)
                due_s = _AFTER_FAILURE_S
            self._wait(due_s)
        self._heartbeats.forget(self._name)

    def _wait(self, due_s: float) -> None:
        due_at = time.monotonic() + due_s
        while (left_s := due_at - time.monotonic()) > 0 and not self._wanted.wait(min(left_s, _BEAT_S)):
            self._beat()

    def _beat(self) -> None:
        self._heartbeats.beat(self._name, limit_s=self._turn_limit_s)
