"""Waiting for what happens on another thread, with a deadline instead of a guess."""

from __future__ import annotations

import time
from collections.abc import Callable

POLL_S = 0.005


def until(condition: Callable[[], bool], *, what: str = "", timeout_s: float = 15.0) -> None:
    """Return as soon as `condition` holds; fail after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what or condition}"
        time.sleep(POLL_S)
