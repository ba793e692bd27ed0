"""A replayed recording is in PostgreSQL row for row: the same count, the same checksum."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime import Runtime
from storage.ingest import MetricRow, device_with_metrics
from storage.pool import SystemDatabase
from tests.conftest import SettingsFactory
from tests.people import Plants
from tests.tools.test_replay import water_loop
from tools.plant.broker import broker_of
from tools.recording import Row, open_recording
from tools.replay import SKAB, SKAB_LABELS, Checksum, Replayed, main, replay

pytestmark = pytest.mark.services

DEADLINE_S = 30.0


@pytest.fixture(scope="module")
def platform(
    make_settings: SettingsFactory, plants: Plants, mqtt_url: str, redis_url: str
) -> Iterator[Runtime]:
    """The whole platform on this module's database, with a broker session of its own."""
    runtime = Runtime(make_settings(IIOT_MQTT_CLIENT_ID=f"replay-test-{secrets.token_hex(4)}"))
    runtime.start()
    deadline = time.monotonic() + DEADLINE_S
    while not runtime.broker.state.is_connected:
        assert time.monotonic() < deadline, "the platform has not connected to the broker"
        time.sleep(0.02)
    yield runtime
    assert runtime.stop()


def readings_of(database: SystemDatabase, device_id: str, tenant_id: int) -> Checksum:
    checksum = Checksum()
    with database.transaction() as cursor:
        cursor.execute(
            "SELECT m.name, (extract(epoch FROM t.observed_at) * 1000)::bigint, t.value"
            " FROM telemetry t JOIN metrics m USING (tenant_id, metric_id)"
            " JOIN devices d USING (tenant_id, device_key) WHERE d.device_id = %s AND d.tenant_id = %s",
            (device_id, tenant_id),
        )
        for metric, ts_ms, value in cursor:
            checksum.add(Row(ts_ms, {metric: value}))
    return checksum


def wait_for(database: SystemDatabase, device_id: str, tenant_id: int, published: Replayed) -> Checksum:
    deadline = time.monotonic() + DEADLINE_S
    while True:
        found = readings_of(database, device_id, tenant_id)
        if len(found) >= published.readings or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def test_a_water_loop_file_is_stored_row_for_row(
    platform: Runtime,
    plants: Plants,
    system_database: SystemDatabase,
    mqtt_url: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = water_loop(tmp_path)
    rows = len(path.read_text(encoding="utf-8").splitlines()) - 1
    arguments = [str(path), "--preset", "skab", "--tenant", "plant-a", "--speed", "0"]
    assert main(arguments, {"MQTT_URL": mqtt_url}) == 0
    printed = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert int(printed["rows"]) == rows
    assert int(printed["readings"]) == 8 * rows

    published = Replayed(rows=rows, readings=8 * rows, checksum=printed["sha256"])
    found = wait_for(system_database, "skab-1", plants.plant_a, published)
    assert len(found) == published.readings
    assert found.hexdigest() == published.checksum

    units = {metric.name: metric.unit for metric in _metrics(system_database, plants.plant_a, "skab-1")}
    assert units == {channel.metric: channel.unit for channel in SKAB}


def test_a_replay_in_quick_motion_keeps_its_pace_and_lies_in_the_past(
    platform: Runtime, plants: Plants, system_database: SystemDatabase, mqtt_url: str, tmp_path: Path
) -> None:
    lines = water_loop(tmp_path).read_text(encoding="utf-8").splitlines()[:61]
    path = tmp_path / "minute.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    recording = open_recording(path, left_out=SKAB_LABELS)
    began_s = time.time()
    published = replay(
        recording,
        broker_of({"MQTT_URL": mqtt_url}),
        topic="iiot/v1/plant-a/minute-1/telemetry",
        speed=60.0,
        is_quiet=True,
    )
    assert 0.9 < time.time() - began_s < 10.0
    assert published.last_ms <= time.time() * 1000
    assert 55_000 < published.last_ms - published.first_ms < 70_000
    found = wait_for(system_database, "minute-1", plants.plant_a, published)
    assert found.hexdigest() == published.checksum


def test_recorded_times_that_are_kept_are_too_old_and_none_is_stored(
    platform: Runtime, plants: Plants, system_database: SystemDatabase, mqtt_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "old.csv"
    path.write_text("time,x\n2020-01-01T00:00:00Z,1\n2020-01-01T00:00:01Z,2\n", encoding="utf-8")
    published = replay(
        open_recording(path),
        broker_of({"MQTT_URL": mqtt_url}),
        topic="iiot/v1/plant-a/old-1/telemetry",
        speed=0.0,
        keep_time=True,
        is_quiet=True,
    )
    assert (published.first_ms, published.last_ms) == (1_577_836_800_000, 1_577_836_801_000)
    deadline = time.monotonic() + DEADLINE_S
    while _dead_letters(system_database, "old-1") < 2:
        assert time.monotonic() < deadline, "the old readings are not in the dead letters"
        time.sleep(0.1)
    assert len(readings_of(system_database, "old-1", plants.plant_a)) == 0


def _metrics(database: SystemDatabase, tenant_id: int, device_id: str) -> list[MetricRow]:
    with database.transaction() as cursor:
        device = device_with_metrics(cursor, tenant_id, device_id)
    assert device is not None
    return device.metrics


def _dead_letters(database: SystemDatabase, device_id: str) -> int:
    with database.transaction() as cursor:
        cursor.execute("SELECT count(*) FROM dead_letters WHERE device_id = %s", (device_id,))
        row = cursor.fetchone()
    return int(row[0]) if row else 0
