"""Readings handed in over HTTP: what is offered, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Offer:
    """One reading as the client wrote it; `ts`, `value`, `quality` and `unit` are not yet judged."""

    device_id: str
    metric: str
    ts: object
    value: object
    quality: object
    unit: object


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why the offer at `index` (from 0) was not stored: a reason code and a sentence."""

    index: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a submission, after the commit."""

    accepted: int
    duplicates: int
    rejected: list[Rejection]
