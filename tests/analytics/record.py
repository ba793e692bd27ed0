"""Readings of a metric, as tests make them: declared, sent over HTTP or put straight into the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from storage.pool import SystemDatabase
from tests.people import Client

START = datetime(2026, 3, 1, tzinfo=UTC)
_QUALITY = {"bad": 0, "uncertain": 64, "good": 192}

_INSERT = """
INSERT INTO telemetry (observed_at, value, received_at, ingest_seq, metric_id, tenant_id, quality)
SELECT given.observed_at, given.value, now(), 1, m.metric_id, m.tenant_id, given.quality
FROM unnest(%(times)s::timestamptz[], %(values)s::double precision[], %(qualities)s::smallint[])
     AS given (observed_at, value, quality)
JOIN devices d ON d.tenant_id = %(tenant_id)s AND d.device_id = %(device_id)s
JOIN metrics m ON m.device_key = d.device_key AND m.name = %(metric)s
"""


def rfc3339(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def declare(client: Client, device_id: str, *metrics: str, **fields: Any) -> str:
    """A device with these metrics, all of the same kind and limits."""
    body = {
        "device_id": device_id,
        "name": device_id,
        "metrics": [{"name": name, "unit": "bar"} | fields for name in metrics or ("flow",)],
    }
    answer = client.post("devices", json=body)
    assert answer.status_code == 201, answer.get_data(as_text=True)
    return device_id


def send(
    client: Client,
    device_id: str,
    values: Sequence[float],
    *,
    metric: str = "flow",
    seconds: Sequence[float] | None = None,
    start: datetime = START,
    step_s: float = 60.0,
    qualities: Sequence[str] | None = None,
) -> list[datetime]:
    """Send readings over HTTP as history; return their times."""
    offsets = seconds if seconds is not None else [number * step_s for number in range(len(values))]
    times = [start + timedelta(seconds=offset) for offset in offsets]
    readings = [
        {
            "device_id": device_id,
            "metric": metric,
            "ts": rfc3339(moment),
            "value": value,
            "quality": qualities[place] if qualities else "good",
        }
        for place, (moment, value) in enumerate(zip(times, values, strict=True))
    ]
    for place in range(0, len(readings), 4000):
        answer = client.post("telemetry?backfill=true", json={"readings": readings[place : place + 4000]})
        assert answer.status_code == 201, answer.get_data(as_text=True)
        assert answer.get_json()["rejected"] == []
    return times


@dataclass(frozen=True, slots=True)
class Table:
    """The table itself, for series too long or too strange to send."""

    database: SystemDatabase
    tenant_id: int

    def fill(
        self,
        device_id: str,
        times: Sequence[datetime],
        values: Sequence[float],
        *,
        metric: str = "flow",
        qualities: Sequence[str] | None = None,
    ) -> None:
        """Put readings into the table."""
        words = qualities or ["good"] * len(times)
        with self.database.transaction() as cursor:
            if times:
                first, last = min(times).date(), max(times).date()
                cursor.execute("SELECT ensure_telemetry_partitions(%s, %s)", (first, last))
            cursor.execute(
                _INSERT,
                {
                    "times": list(times),
                    "values": list(values),
                    "qualities": [_QUALITY[word] for word in words],
                    "tenant_id": self.tenant_id,
                    "device_id": device_id,
                    "metric": metric,
                },
            )
