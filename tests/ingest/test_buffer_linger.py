"""The buffer while a batch gathers: when it is taken, and when it waits for more."""

from __future__ import annotations

import threading
import time

from ingest.buffer import Buffer, Item, Message

LONG_S = 30.0


def message(mid: int) -> Item:
    return Message(
        epoch=1,
        mid=mid,
        topic="t",
        payload=b"{}",
        is_redelivery=False,
        is_retained=False,
        received_at_us=0,
    )


def buffer() -> Buffer:
    return Buffer(max_items=10, max_bytes=1_000_000)


def take(source: Buffer, *, linger_s: float, max_items: int = 4) -> list[int]:
    taken = source.take(max_items=max_items, max_bytes=1_000_000, wait_s=0.0, linger_s=linger_s)
    return [item.mid for item in taken if isinstance(item, Message)]


def test_what_comes_after_a_quiet_time_is_taken_at_once() -> None:
    source = buffer()
    source.put([message(1)])
    began = time.monotonic()
    assert take(source, linger_s=0.05) == [1]
    assert time.monotonic() - began < 0.05


def test_takings_of_a_steady_stream_are_the_linger_apart() -> None:
    source = buffer()
    source.put([message(1)])
    take(source, linger_s=0.0)
    began = time.monotonic()
    source.put([message(2)])
    assert take(source, linger_s=0.2) == [2]
    assert time.monotonic() - began > 0.1


def test_a_full_batch_does_not_linger() -> None:
    source = buffer()
    source.put([message(1)])
    take(source, linger_s=0.0)
    source.put([message(2)])
    filler = threading.Timer(0.05, lambda: source.put([message(3), message(4), message(5)]))
    filler.start()
    began = time.monotonic()
    assert take(source, linger_s=LONG_S) == [2, 3, 4, 5]
    assert time.monotonic() - began < LONG_S / 2
    filler.join()
