"""What is remembered is believed for its time and not longer."""

from __future__ import annotations

from storage.remembered import Remembered


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_value_is_believed_from_when_it_was_asked_for() -> None:
    clock = Clock()
    remembered: Remembered[str, int] = Remembered(ttl_s=5, monotonic=clock)
    asked_at = remembered.now()
    clock.now_s += 3
    remembered.put("a", 1, asked_at=asked_at)
    clock.now_s += 1.9
    assert remembered.get("a") == 1
    clock.now_s += 0.1
    assert remembered.get("a") is None


def test_values_are_forgotten_on_request() -> None:
    remembered: Remembered[str, int] = Remembered()
    for name, value in (("a", 1), ("b", 2), ("c", 1)):
        remembered.put(name, value, asked_at=remembered.now())
    remembered.forget("b")
    remembered.forget("unknown")
    assert [remembered.get(name) for name in "abc"] == [1, None, 1]
    remembered.forget_where(lambda value: value == 1)
    assert [remembered.get(name) for name in "abc"] == [None, None, None]


def test_memory_stays_bounded() -> None:
    remembered: Remembered[int, int] = Remembered(size=10)
    for number in range(1000):
        remembered.put(number, number, asked_at=remembered.now())
        assert len(remembered._held) <= 10
    assert remembered.get(999) == 999
