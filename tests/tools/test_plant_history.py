"""Seven days of history in the database: exact, once, and resumed after an interruption."""

from __future__ import annotations

import threading

import pytest

from fleet.registry import DeviceSpec, Registry
from storage.binary_rows import ReadingColumns
from storage.ingest import day_of, device_with_metrics, store_readings
from storage.pool import AppDatabase, SystemDatabase
from storage.telemetry import ensure_partitions
from tests.people import Plants
from tools.plant.history import HISTORY_S, READINGS_PER_METRIC, HistoryLoader, past_episodes
from tools.plant.model.catalogue import DEVICES
from tools.plant.model.cycles import PLANT_EPOCH_S
from tools.plant.model.plant import Plant
from tools.plant.registration import register

pytestmark = [pytest.mark.services, pytest.mark.slow]

STARTED_S = PLANT_EPOCH_S + 900 * 86_400 + 34_567
START_MINUTE_S = STARTED_S // 60 * 60
ALL = 152 * READINGS_PER_METRIC


@pytest.fixture(scope="module")
def registry(app_database: AppDatabase) -> Registry:
    return Registry(app_database, metrics_per_device=1000)


def stored(database: SystemDatabase, tenant_id: int) -> tuple[int, int, int, int]:
    """Rows, metrics, and the first and last time in Unix seconds."""
    with database.transaction() as cursor:
        cursor.execute(
            "SELECT count(*), count(DISTINCT metric_id), extract(epoch FROM min(observed_at))::bigint,"
            " extract(epoch FROM max(observed_at))::bigint FROM telemetry WHERE tenant_id = %s",
            (tenant_id,),
        )
        row = cursor.fetchone()
    assert row is not None
    return row


def test_devices_are_registered_once_with_parents_units_and_kinds(
    registry: Registry, plants: Plants, app_database: AppDatabase
) -> None:
    assert register(registry, plants.plant_a) == []
    assert register(registry, plants.plant_a) == []
    for device in DEVICES:
        found = registry.find(plants.plant_a, device.device_id)
        assert (found.name, found.type, found.location) == (device.name, device.device_type, device.location)
        assert found.parent_device_id == device.parent_device_id
        for metric in device.metrics:
            assert f'"unit" : "{metric.unit}", "kind" : "{metric.kind}"' in found.metrics_json


def test_a_device_that_only_spoke_is_described_and_one_that_people_changed_is_not(
    registry: Registry, plants: Plants
) -> None:
    registry.create(plants.plant_b, "G-1", DeviceSpec(name="G-1"))
    registry.create(plants.plant_b, "G-2", DeviceSpec(name="Our own gateway", type="router"))
    assert register(registry, plants.plant_b) == []
    assert registry.find(plants.plant_b, "G-1").type == "gateway"
    assert registry.find(plants.plant_b, "G-2").name == "Our own gateway"


def test_history_is_exact_resumed_and_loaded_once(
    registry: Registry, plants: Plants, system_database: SystemDatabase
) -> None:
    tenant_id = plants.plant_a
    register(registry, tenant_id)
    plant = Plant(episodes=past_episodes(START_MINUTE_S))
    loader = HistoryLoader(system_database, tenant_id, started_s=STARTED_S)
    assert loader.plan() == ALL

    stop = threading.Event()
    first = loader.load(plant, stop, on_progress=lambda _: stop.set())
    assert stored(system_database, tenant_id)[0] == first
    assert first in {len(device.metrics) * READINGS_PER_METRIC for device in DEVICES}

    _store_live_reading(system_database, tenant_id)
    later = HistoryLoader(system_database, tenant_id, started_s=STARTED_S + 7200)
    missing = later.plan()
    assert missing == ALL - first
    seen: list[int] = []
    assert later.load(plant, threading.Event(), on_progress=seen.append) == missing == sum(seen)
    assert later.plan() == 0

    rows, metrics, first_s, last_s = stored(system_database, tenant_id)
    assert rows == 1_532_160 + 1
    assert metrics == 152
    assert first_s == START_MINUTE_S - HISTORY_S
    assert last_s < STARTED_S + 7200
    _assert_nothing_strayed(system_database)


def _store_live_reading(database: SystemDatabase, tenant_id: int) -> None:
    """One live reading of a device without history: what is before it is loaded, and nothing twice."""
    with database.transaction() as cursor:
        cursor.execute(
            "SELECT d.device_id FROM devices d JOIN metrics m USING (tenant_id, device_key)"
            " WHERE d.tenant_id = %s AND NOT EXISTS"
            " (SELECT 1 FROM telemetry t WHERE t.metric_id = m.metric_id) LIMIT 1",
            (tenant_id,),
        )
        row = cursor.fetchone()
        assert row is not None
        device = device_with_metrics(cursor, tenant_id, row[0])
        assert device is not None
        at_us = STARTED_S * 1_000_000
        ensure_partitions(cursor, day_of(at_us), day_of(at_us))
        columns = ReadingColumns([at_us], [1.0], [at_us], [device.metrics[0].metric_id], [tenant_id], [192])
        assert store_readings(cursor, columns, may_repeat=False) == []


def _assert_nothing_strayed(database: SystemDatabase) -> None:
    with database.transaction() as cursor:
        cursor.execute(
            "SELECT count(*) FROM telemetry WHERE tableoid = 'telemetry_default'::regclass"
            " OR quality <> 192 OR received_at < observed_at"
        )
        assert cursor.fetchone() == (0,)
