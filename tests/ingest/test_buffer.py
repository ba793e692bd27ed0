"""The buffer: bounded by count and bytes, full until it is half empty again, in order."""

from __future__ import annotations

import threading
import time

from ingest.buffer import Buffer, Item, Message, SessionLost, Submission
from ingest.submission import Offer


def _message(payload: bytes = b"{}") -> Message:
    return Message(
        epoch=1, mid=1, topic="t", payload=payload, is_redelivery=False, is_retained=False, received_at_us=0
    )


def _is_full(buffer: Buffer) -> bool:
    return buffer.is_full


def _take(buffer: Buffer, max_items: int = 1000, max_bytes: int = 10**9) -> list[Item]:
    return buffer.take(max_items=max_items, max_bytes=max_bytes, wait_s=0.0, linger_s=0.0)


def test_items_come_out_in_the_order_in_which_they_came_in() -> None:
    buffer = Buffer(max_items=100, max_bytes=10**6)
    items: list[Item] = [_message(), SessionLost("c"), Submission(1, "a", [], 0), _message()]
    buffer.put(items[:1])
    buffer.put(items[1:])
    assert len(buffer) == 4
    assert _take(buffer, 3) == items[:3]
    assert _take(buffer) == items[3:]
    assert _take(buffer) == []


def test_a_batch_ends_with_the_item_that_reaches_the_byte_limit() -> None:
    buffer = Buffer(max_items=100, max_bytes=10**6)
    buffer.put([_message(b"x" * 1000) for _ in range(10)])
    assert len(_take(buffer, max_bytes=2500)) == 3
    assert len(_take(buffer, max_bytes=1)) == 1


def test_it_is_full_by_count_until_half_is_taken() -> None:
    buffer = Buffer(max_items=10, max_bytes=10**6)
    rooms: list[int] = []
    buffer.on_room(lambda: rooms.append(len(buffer)))
    buffer.put([_message() for _ in range(9)])
    assert not _is_full(buffer)
    buffer.put([_message()])
    assert _is_full(buffer)
    _take(buffer, 4)
    assert _is_full(buffer)
    assert rooms == []
    _take(buffer, 1)
    assert not _is_full(buffer)
    assert rooms == [5]
    _take(buffer)
    assert rooms == [5]


def test_it_is_full_by_bytes_until_half_is_taken() -> None:
    buffer = Buffer(max_items=1000, max_bytes=10_000)
    rooms: list[int] = []
    buffer.on_room(lambda: rooms.append(len(buffer)))
    buffer.put([_message(b"x" * 2000) for _ in range(5)])
    assert _is_full(buffer)
    _take(buffer, 2)
    assert _is_full(buffer)
    _take(buffer, 1)
    assert not _is_full(buffer)
    assert rooms == [2]


def test_offers_of_a_request_count_by_their_number() -> None:
    offers = [Offer("P-101", "p", None, 1.0, None, None)] * 50
    assert Submission(1, "plant-a", offers, 0).weight >= 50 * 100


def test_the_smallest_buffer_has_room_again() -> None:
    buffer = Buffer(max_items=1, max_bytes=1)
    buffer.put([_message()])
    assert _is_full(buffer)
    _take(buffer)
    assert not _is_full(buffer)


def test_taking_waits_for_the_first_item() -> None:
    buffer = Buffer(max_items=10, max_bytes=10**6)
    taken: list[Item] = []

    def take() -> None:
        taken.extend(buffer.take(max_items=10, max_bytes=10**6, wait_s=10.0, linger_s=0.0))

    taker = threading.Thread(target=take)
    taker.start()
    buffer.put([SessionLost("c")])
    taker.join(timeout=5)
    assert taken == [SessionLost("c")]


def test_lingering_gathers_what_comes_and_ends_when_the_batch_is_full() -> None:
    buffer = Buffer(max_items=100, max_bytes=10**6)
    buffer.put([_message() for _ in range(5)])
    started = time.monotonic()
    assert len(buffer.take(max_items=5, max_bytes=10**6, wait_s=0.0, linger_s=10.0)) == 5
    assert len(buffer.take(max_items=5, max_bytes=10**6, wait_s=0.0, linger_s=10.0)) == 0
    buffer.put([_message()])
    assert len(buffer.take(max_items=5, max_bytes=10**6, wait_s=0.0, linger_s=0.05)) == 1
    assert time.monotonic() - started < 5
