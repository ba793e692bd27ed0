"""Look-ups that are believed for a few seconds instead of being asked again."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """Values by key, each for `ttl_s` seconds; when `size` are held, all are dropped. Thread-safe.

    Keys of rows that belong to a tenant hold the tenant_id.
    """

    def __init__(
        self, *, ttl_s: float = 5.0, size: int = 10_000, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._ttl_s = ttl_s
        self._size = size
        self._monotonic = monotonic
        self._held: dict[K, tuple[V, float]] = {}

    def get(self, key: K) -> V | None:
        """The value, unless it is unknown or too old."""
        held = self._held.get(key)
        return held[0] if held is not None and self._monotonic() < held[1] else None

    def put(self, key: K, value: V, *, asked_at: float) -> None:
        """Remember what was asked for at `asked_at` (monotonic); its time runs from there."""
        if len(self._held) >= self._size:
            self._held.clear()
        self._held[key] = (value, asked_at + self._ttl_s)

    def now(self) -> float:
        """The clock that `put` counts on."""
        return self._monotonic()

    def forget(self, key: K) -> None:
        """Drop one value."""
        self._held.pop(key, None)

    def forget_where(self, is_outdated: Callable[[V], bool]) -> None:
        """Drop the values for which this is true."""
        for key, (value, _) in list(self._held.items()):
            if is_outdated(value):
                self._held.pop(key, None)
