"""Readings a second from MQTT to the commit, beside COPY of the same rows and the broker's own limit."""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.figures import middle
from benchmarks.payloads import METRICS, Load
from benchmarks.platform_run import COLUMNS, Platform
from benchmarks.worker import Worker

# Readings a message -> messages of one measurement.
FULL = {1: 100_000, 10: 60_000, 100: 20_000}
_ROWS = (
    "SELECT observed_at, value, received_at, ingest_seq, metric_id, tenant_id, quality"
    " FROM telemetry ORDER BY ingest_seq"
)
_FLOOD = "benchmarks.flood"
# The trial's ratios to COPY are the goal; with everything in one transaction these are the floor.
GOALS = {1: (0.07, 0.05), 10: (0.46, 0.35), 100: (0.63, 0.50)}


def measure(platform: Platform, readings_each: int, messages: int, repeats: int) -> dict[str, Any]:
    """Measure one size of message; rates are readings a second, the broker's are messages a second."""
    publish_and_wait(platform, warm_up())
    ends, copies, ratios, costs = [], [], [], []
    for _ in range(repeats):
        platform.empty_tables()
        load = Load(readings_each, messages, _base_ms())
        before_s = platform.processor_s()
        end_to_end_s = publish_and_wait(platform, load)
        costs.append((platform.processor_s() - before_s) / load.readings)
        if platform.stored() != load.readings:
            raise AssertionError(f"{platform.stored()} of {load.readings} readings are stored")
        copy_s = copy_again(platform)
        if platform.stored() != load.readings:
            raise AssertionError("COPY stored another number of rows")
        ends.append(load.readings / end_to_end_s)
        copies.append(load.readings / copy_s)
        ratios.append(copy_s / end_to_end_s)
    limit = broker_limit(Load(readings_each, messages, _base_ms(), topic="demo/{}"))
    goal, floor = GOALS[readings_each]
    return {
        "readings_a_message": readings_each,
        "readings": readings_each * messages,
        "end_to_end_per_s": round(middle(ends)),
        "copy_per_s": round(middle(copies)),
        "ratio": round(middle(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "ratio_goal": goal,
        "ratio_floor": floor,
        "processor_us_a_reading": round(middle(costs) * 1e6, 2),
        "messages_per_s": round(middle(ends) / readings_each),
        "broker_messages_per_s": round(limit),
        "share_of_broker": round(middle(ends) / readings_each / limit, 3),
    }


def warm_up() -> Load:
    """Return a small load that introduces all devices and metrics."""
    return Load(METRICS, 1000, _base_ms() - 3_600_000)


def publish_and_wait(platform: Platform, load: Load) -> float:
    """Publish a load as fast as it goes; return the seconds from the first message to the last commit."""
    given = {"readings_each": load.readings_each, "messages": load.messages, "base_ms": load.base_ms}
    with Worker(_FLOOD, mode="flood", url=os.environ["MQTT_URL"], **given) as publisher:
        publisher.go()
        committed = platform.wait_until_stored(load)
        return float(committed - publisher.result()["started"])


def copy_again(platform: Platform) -> float:
    """COPY the stored rows, in the order of their arrival, into the emptied table; return the seconds."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows"
        platform.psql(f"\\copy ({_ROWS}) TO '{file}' (FORMAT binary)")
        platform.empty_tables()
        started = time.monotonic()
        platform.psql(f"\\copy telemetry ({COLUMNS}) FROM '{file}' (FORMAT binary)")
        return time.monotonic() - started


def broker_limit(load: Load) -> float:
    """Return messages a second from a publisher through the broker to one idle QoS 1 subscriber."""
    url = os.environ["MQTT_URL"]
    given = {
        "readings_each": load.readings_each,
        "messages": load.messages,
        "base_ms": load.base_ms,
        "topic": load.topic,
    }
    with (
        Worker(_FLOOD, mode="count", url=url, topic="demo/#", total=load.messages) as subscriber,
        Worker(_FLOOD, mode="flood", url=url, **given) as publisher,
    ):
        subscriber.go()
        publisher.go()
        started = publisher.result()["started"]
        return float(load.messages / (subscriber.result()["ended"] - started))


def _base_ms() -> int:
    return int(time.time() * 1000) - 3_600_000
