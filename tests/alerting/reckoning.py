"""The figures of alarm management, reckoned from a list of events in the plainest way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np

from domain.alert import AlertEvent, fold
from domain.transition import Severity

TEN_MINUTES = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Told:
    """An event, of which alert, and whether the alert was shelved when it came."""

    alert_id: str
    source: str
    event: AlertEvent
    was_shelved: bool


def told(journals: dict[tuple[str, str], list[AlertEvent]]) -> list[Told]:
    """All events of alerts by (alert_id, source)."""
    found = []
    for (alert_id, source), events in journals.items():
        for place, event in enumerate(events):
            was_shelved = fold(events[:place]).shelved_until is not None
            found.append(Told(alert_id, source, event, was_shelved))
    return sorted(found, key=lambda item: item.event.event_id or 0)


def figures(everything: Sequence[Told], start: datetime, stop: datetime) -> dict[str, Any]:
    """What the KPIs should say about `[start, stop)`, without what is only looked up."""
    announced = [
        item
        for item in everything
        if item.event.kind == "raised"
        and start <= item.event.observed_at < stop
        and not (item.was_shelved or item.event.suppressed_by or item.event.is_out_of_service)
    ]
    moments = sorted(item.event.observed_at for item in announced)
    span = (stop - start) / timedelta(seconds=1)
    by_source = Counter(item.source for item in announced)
    top = sorted(by_source.items(), key=lambda pair: (-pair[1], pair[0]))[:10]
    flood = _flooded(moments, stop)
    lives = _lives(everything, announced, stop)
    cleared = [life["cleared"] for life in lives if "cleared" in life]
    return {
        "raised": len(announced),
        "per_hour": len(announced) / (span / 3600),
        "per_day": len(announced) / (span / 86400),
        "by_hour": _by(moments, hour=True),
        "by_day": _by(moments, hour=False),
        "peak": max((_within(moments, moment) for moment in moments), default=0),
        "flood_s": sum(((end - begin) / timedelta(seconds=1) for begin, end in flood), 0.0),
        "flood_periods": len(flood),
        "top": [(source, count, count / len(announced)) for source, count in top],
        "top_share": sum(count for _, count in top) / len(announced) if announced else None,
        "chattering": _chattering(announced),
        "fleeting": sum(1 for seconds in cleared if seconds < 60),
        "by_severity": {str(s): sum(item.event.severity is s for item in announced) for s in Severity},
        "to_acknowledge": _quantiles([life["acknowledged"] for life in lives if "acknowledged" in life]),
        "to_clear": _quantiles(cleared),
        **_as_of(everything, stop),
    }


def _within(moments: Sequence[datetime], end: datetime) -> int:
    return sum(end - TEN_MINUTES < moment <= end for moment in moments)


def _flooded(moments: Sequence[datetime], stop: datetime) -> list[tuple[datetime, datetime]]:
    """Periods in which ten alerts or more lie in the ten minutes before, cut where one comes or falls out."""
    edges = sorted({*moments, *(moment + TEN_MINUTES for moment in moments), stop})
    periods: list[tuple[datetime, datetime]] = []
    for begin, end in pairwise(edges):
        if begin >= stop or _within(moments, begin) < 10:
            continue
        if periods and periods[-1][1] == begin:
            periods[-1] = (periods[-1][0], end)
        else:
            periods.append((begin, end))
    return periods


def _by(moments: Sequence[datetime], *, hour: bool) -> list[tuple[datetime, int]]:
    hours = [moment.replace(minute=0, second=0, microsecond=0) for moment in moments]
    counted = Counter(hours if hour else [begun.replace(hour=0) for begun in hours])
    return sorted(counted.items())


def _chattering(announced: Sequence[Told]) -> dict[str, int]:
    found = {}
    for alert_id in {item.alert_id for item in announced}:
        moments = sorted(item.event.observed_at for item in announced if item.alert_id == alert_id)
        bursts = sum(
            third - first < timedelta(minutes=1) for first, third in zip(moments, moments[2:], strict=False)
        )
        if bursts:
            found[alert_id] = bursts
    return found


def _lives(everything: Sequence[Told], announced: Sequence[Told], stop: datetime) -> list[dict[str, float]]:
    lives = []
    openings: dict[tuple[str, int], datetime] = {}
    for item in announced:
        key, moment = (item.alert_id, item.event.occurrence), item.event.observed_at
        openings[key] = min(moment, openings.get(key, moment))
    for key, opened in openings.items():
        own = [item.event for item in everything if (item.alert_id, item.event.occurrence) == key]
        life = {}
        for kind in ("acknowledged", "cleared"):
            moments = [event.observed_at for event in own if event.kind == kind and event.observed_at < stop]
            if moments:
                life[kind] = max(0.0, (min(moments) - opened) / timedelta(seconds=1))
        lives.append(life)
    return lives


def _quantiles(values: Sequence[float]) -> tuple[int, float | None, float | None]:
    if not values:
        return 0, None, None
    return len(values), float(np.median(values)), float(np.percentile(values, 95))


def _as_of(everything: Sequence[Told], stop: datetime) -> dict[str, Any]:
    standing, stale, shelved = set(), set(), set()
    for alert_id in {item.alert_id for item in everything}:
        facts = fold(i.event for i in everything if i.alert_id == alert_id and i.event.observed_at < stop)
        if facts.is_active:
            standing.add(alert_id)
            if facts.raised_at is not None and facts.raised_at < stop - timedelta(hours=24):
                stale.add(alert_id)
        if facts.shelved_until is not None and facts.shelved_until > stop:
            shelved.add(alert_id)
    return {"standing": len(standing), "stale": stale, "shelved": shelved}
