"""What is accepted as a reading."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IngestLimits:
    """The limits of the settings, as the batch needs them."""

    auto_register: bool
    future_limit_s: float
    lateness_s: float
    message_bytes: int
    message_readings: int
    metrics_per_device: int

    def time_problem(
        self, observed_at_us: int, received_at_us: int, *, is_backfill: bool = False
    ) -> str | None:
        """The reason code for a time that is too far ahead or too old, or None.

        A backfill may be as old as it likes, not ahead of the clock.
        """
        if observed_at_us > received_at_us + self.future_limit_s * 1e6:
            return "too_far_in_future"
        if not is_backfill and observed_at_us < received_at_us - self.lateness_s * 1e6:
            return "too_old"
        return None
