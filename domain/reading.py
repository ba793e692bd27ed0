"""A reading: one value of one metric at one moment, with its quality."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Quality(IntEnum):
    """How far a value can be trusted; the codes and their order are those of OPC (bad < uncertain < good)."""

    BAD = 0
    UNCERTAIN = 64
    GOOD = 192

    @property
    def word(self) -> str:
        """The word that stands for it in payloads and in the API."""
        return self.name.lower()


QUALITY_OF_WORD = {quality.word: quality for quality in Quality}


@dataclass(frozen=True, slots=True)
class LatestValue:
    """The newest reading of a metric by `observed_at`, times in microseconds since 1970 UTC."""

    device_id: str
    metric: str
    unit: str
    value: float
    quality: int
    observed_at_us: int
    received_at_us: int


@dataclass(frozen=True, slots=True)
class StoredReadings:
    """Readings of one device that a batch has committed, in the order in which they were stored.

    `readings` holds (metric, observed_at in microseconds since 1970 UTC, value, quality code).
    """

    tenant_id: int
    device_id: str
    readings: list[tuple[str, int, float, int]]
