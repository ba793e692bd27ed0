"""From one reading to the next: how far a counter went, and how fast a value changes."""

from __future__ import annotations

from domain.metric import MetricKind


def counter_step(before: float, value: float, modulus: float | None) -> float:
    """How far a counter went between two readings.

    A fall by more than half the modulus is a rollover. A fall below half the value is a reset, after which
    the counter counts from zero. Any other fall is jitter and stays negative: the next step takes it back.
    """
    step = value - before
    if step >= 0:
        return step
    if modulus is not None and -step > modulus / 2:
        return step + modulus
    return value if value < before / 2 else step


def rate_per_min(
    kind: MetricKind,
    before: float | None,
    value: float | None,
    *,
    gap_s: float | None,
    max_gap_s: float | None,
    modulus: float | None,
) -> float | None:
    """Change per minute since the reading before; None for states, across gaps and for the first."""
    if kind is MetricKind.STATE or before is None or value is None or not gap_s:
        return None
    if max_gap_s is not None and gap_s > max_gap_s:
        return None
    step = counter_step(before, value, modulus) if kind is MetricKind.COUNTER else value - before
    return step / gap_s * 60.0
