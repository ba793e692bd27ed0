"""What is accepted as a reading."""

from __future__ import annotations

from dataclasses import dataclass

from ingest.decode import looks_like_seconds
from ingest.refusal import Refused


@dataclass(frozen=True, slots=True)
class IngestLimits:
    """The limits of the settings, as the batch needs them."""

    auto_register: bool
    future_limit_s: float
    lateness_s: float
    message_bytes: int
    message_readings: int
    metrics_per_device: int

    def time_refusal(
        self, observed_at_us: int, received_at_us: int, *, is_backfill: bool = False
    ) -> Refused | None:
        """Why a time is too far ahead or too old, or None.

        A backfill may be as old as it likes, not ahead of the clock.
        """
        if observed_at_us > received_at_us + self.future_limit_s * 1e6:
            ahead = f"ts is more than {self.future_limit_s:g} s ahead of the platform's clock"
            return Refused("too_far_in_future", ahead)
        if not is_backfill and observed_at_us < received_at_us - self.lateness_s * 1e6:
            hint = (
                "; it looks like seconds, ts is in milliseconds" if looks_like_seconds(observed_at_us) else ""
            )
            return Refused("too_old", f"ts is older than the lateness window of {self.lateness_s:g} s{hint}")
        return None
