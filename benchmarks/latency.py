"""From publishing to the commit, at a steady rate: milliseconds, seen from outside the platform."""

import os
import time
from typing import Any

from benchmarks.figures import spread_ms
from benchmarks.payloads import device_id
from benchmarks.platform_run import Platform
from benchmarks.worker import Worker

PROBE = 0
_POLL_S = 0.002
_LAST_WITHIN_S = 30.0
_NEWEST = """
SELECT (extract(epoch FROM observed_at) * 1000000)::bigint FROM latest_values WHERE metric_id = %s
"""
_PROBE_METRIC = """
SELECT m.metric_id FROM metrics m JOIN devices d ON d.device_key = m.device_key
WHERE d.device_id = %s AND m.name = 'm0'
"""


def measure(platform: Platform, *, rate: float, seconds: float) -> dict[str, Any]:
    """Publish ten readings a message and watch the newest value of one device.

    It gets about every tenth message. The watch looks every 2 ms, so that the figures
    are up to that much too high.
    """
    platform.empty_tables()
    looks: list[tuple[float, int]] = []
    with (
        Worker(
            "benchmarks.flood",
            mode="pace",
            url=os.environ["MQTT_URL"],
            rate=rate,
            seconds=seconds,
            probe=PROBE,
        ) as pacer,
        platform.system.cursor() as cursor,
    ):
        cursor.execute(_PROBE_METRIC, (device_id(PROBE),))
        found = cursor.fetchone()
        if found is None:
            raise LookupError("the probe device is not registered yet")
        pacer.go()
        end = time.monotonic() + seconds + 0.5
        newest = 0
        while time.monotonic() < end:
            cursor.execute(_NEWEST, found)
            row = cursor.fetchone()
            if row and row[0] != newest:
                newest = row[0]
                looks.append((time.time(), newest))
            time.sleep(_POLL_S)
        result = pacer.result()
    stored = _settled(platform, result["messages"] * 10)
    return {
        "messages_per_s": round(result["messages"] / result["seconds"]),
        "readings_per_s": round(stored / result["seconds"]),
        "publish_to_commit": spread_ms(commit_delays(result["sent_us"], looks)),
        "missing": result["messages"] * 10 - stored,
    }


def commit_delays(sent_us: list[int], looks: list[tuple[float, int]]) -> list[float]:
    """Return for each message the seconds from its sending to the first look that found it stored."""
    delays = []
    place = 0
    for at_us in sent_us:
        while place < len(looks) and looks[place][1] < at_us:
            place += 1
        if place == len(looks):
            break
        delays.append(looks[place][0] - at_us / 1e6)
    return delays


def _settled(platform: Platform, wanted: int) -> int:
    deadline = time.monotonic() + _LAST_WITHIN_S
    while (stored := platform.stored()) < wanted and time.monotonic() < deadline:
        time.sleep(0.2)
    return stored
