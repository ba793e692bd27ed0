"""The bounded buffer between the edges and the writer.

An edge that may wait at its source (a broker that keeps what is not acknowledged) asks `has_room` before it
reads more; the buffer never drops anything by itself.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ingest.submission import Offer, Outcome
from observability import buffer_bytes, buffer_messages


class Message:
    """One message from a broker, as it arrived. `epoch` counts connections; `mid` is unique within one."""

    __slots__ = ("epoch", "is_redelivery", "is_retained", "mid", "payload", "received_at_us", "topic")

    def __init__(
        self,
        *,
        epoch: int,
        mid: int,
        topic: str,
        payload: bytes,
        is_redelivery: bool,
        is_retained: bool,
        received_at_us: int,
    ) -> None:
        self.epoch = epoch
        self.mid = mid
        self.topic = topic
        self.payload = payload
        self.is_redelivery = is_redelivery
        self.is_retained = is_retained
        self.received_at_us = received_at_us

    @property
    def weight(self) -> int:
        """Bytes that it counts for in the buffer: payload, topic and the object itself."""
        return len(self.payload) + len(self.topic) + 200


@dataclass(slots=True)
class SessionLost:
    """The broker has forgotten the session of `client_id`: message ids start anew."""

    client_id: str
    weight: int = 0


@dataclass(slots=True)
class Submission:
    """Readings that an HTTP request waits for. The writer sets either `outcome` or `error`, then `done`."""

    tenant_id: int
    tenant_slug: str
    offers: list[Offer]
    received_at_us: int
    is_backfill: bool = False
    done: threading.Event = field(default_factory=threading.Event)
    outcome: Outcome | None = None
    error: Exception | None = None
    is_abandoned: bool = False

    @property
    def weight(self) -> int:
        """Bytes that it counts for in the buffer."""
        return 200 * len(self.offers)


Item = Message | Submission | SessionLost


class Buffer:
    """A first-in first-out queue bounded by count and bytes. Any thread puts, one thread takes."""

    def __init__(self, *, max_items: int, max_bytes: int) -> None:
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._items: deque[Item] = deque()
        self._bytes = 0
        self._lock = threading.Lock()
        self._filled = threading.Event()
        self._enough = threading.Event()
        self._enough_items = max_items
        self._enough_bytes = max_bytes
        self._taken_at = 0.0
        self._was_full = False
        self._on_room: Callable[[], None] = lambda: None
        buffer_messages.set_function(lambda: len(self._items))
        buffer_bytes.set_function(lambda: self._bytes)

    def on_room(self, callback: Callable[[], None]) -> None:
        """Have `callback` called (on the taking thread) when a full buffer is half empty again."""
        self._on_room = callback

    @property
    def is_full(self) -> bool:
        """Whether the bounds are reached. Stays true until the buffer is half empty again."""
        with self._lock:
            if len(self._items) >= self._max_items or self._bytes >= self._max_bytes:
                self._was_full = True
            return self._was_full

    def __len__(self) -> int:
        return len(self._items)

    def put(self, items: Sequence[Item]) -> None:
        """Append, in order; the caller has asked `is_full` before."""
        weight = sum([item.weight for item in items])
        with self._lock:
            self._items.extend(items)
            self._bytes += weight
        if not self._filled.is_set():
            self._filled.set()
        if len(self._items) >= self._enough_items or self._bytes >= self._enough_bytes:
            self._enough.set()

    def take(self, *, max_items: int, max_bytes: int, wait_s: float, linger_s: float) -> list[Item]:
        """Take up to `max_items`; empty after `wait_s` without any.

        Takings are `linger_s` apart, unless there is enough for a full batch before: what comes after a
        quiet time is taken at once, a steady stream in batches.
        """
        if not self._items:
            self._filled.clear()
            if not self._items and not self._filled.wait(wait_s):
                return []
        remaining_s = self._taken_at + linger_s - time.monotonic()
        if remaining_s > 0:
            # One wait, not many short ones: each would have to win the interpreter lock again.
            self._enough.clear()
            self._enough_items, self._enough_bytes = max_items, max_bytes
            if len(self._items) < max_items and self._bytes < max_bytes:
                self._enough.wait(remaining_s)
        self._taken_at = time.monotonic()
        taken: list[Item] = []
        weight = 0
        with self._lock:
            while self._items and len(taken) < max_items and weight < max_bytes:
                item = self._items.popleft()
                taken.append(item)
                weight += item.weight
            self._bytes -= weight
            is_half_empty = len(self._items) <= self._max_items // 2 and self._bytes <= self._max_bytes // 2
            has_room_again = self._was_full and is_half_empty
            if has_room_again:
                self._was_full = False
        if has_room_again:
            self._on_room()
        return taken
