"""What the benchmarks compute: their loads, percentiles and delays."""

from __future__ import annotations

import json
import math

import pytest

from benchmarks.figures import percentile, spread_ms
from benchmarks.latency import commit_delays
from benchmarks.payloads import DEVICES, Load
from benchmarks.sockets import event_delays
from ingest.decode import decode_telemetry


@pytest.mark.parametrize("readings_each", [1, 10, 100])
def test_a_load_holds_the_readings_it_says_each_with_a_time_of_its_own(readings_each: int) -> None:
    load = Load(readings_each, messages=3 * DEVICES, base_ms=1_700_000_000_000)
    keys = set()
    for index in range(load.messages):
        records = decode_telemetry(load.payload(index).encode())
        assert sum(len(record.values) for record in records) == readings_each
        keys |= {
            (index % DEVICES, record.observed_at_us, name) for record in records for name in record.values
        }
    assert len(keys) == load.readings


@pytest.mark.parametrize("readings_each", [1, 10, 100])
def test_the_last_message_of_a_load_has_the_last_time(readings_each: int) -> None:
    load = Load(readings_each, messages=2 * DEVICES + 5, base_ms=1_700_000_000_000)
    records = decode_telemetry(load.payload(load.messages - 1).encode())
    assert max(record.observed_at_us or 0 for record in records) == load.last_ms() * 1000
    assert load.last_device() == "bench-004"


def test_a_percentile_is_one_of_the_values() -> None:
    values = list(range(1, 101))
    assert percentile(values, 0.5) == 51
    assert percentile(values, 0.99) == 100
    assert math.isnan(percentile([], 0.5))
    assert spread_ms([0.010, 0.020, 0.030]) == {"p50_ms": 20.0, "p99_ms": 30.0, "count": 3}


def test_a_commit_is_seen_at_the_first_look_that_finds_it() -> None:
    sent_us = [1_000_000, 1_500_000, 2_000_000, 9_000_000]
    looks = [(1.2, 1_000_000), (2.5, 2_000_000)]
    assert commit_delays(sent_us, looks) == pytest.approx([0.2, 1.0, 0.5])


def test_an_events_delay_counts_a_message_once() -> None:
    readings = [{"metric": name, "ts": "1970-01-01T00:00:01.500Z"} for name in ("m0", "m1")]
    event = json.dumps(["telemetry_update", {"readings": readings}])
    assert event_delays(event, 2.0) == pytest.approx([0.5])
    assert event_delays(json.dumps(["device_update", {}]), 2.0) == []
