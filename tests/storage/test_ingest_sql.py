"""The steps of the writer's transaction, one by one."""

from __future__ import annotations

import secrets
from datetime import date

import pytest

from domain.metric import MetricKind
from storage import ingest
from storage.binary_rows import POSTGRES_EPOCH_US, ReadingColumns
from storage.ingest import DeadLetter, Unstored
from storage.pool import Cursor, DataRejected, SystemDatabase
from tests.people import Plants

pytestmark = pytest.mark.services

NOON_US = 1_767_268_800_000_000  # 2026-01-01T12:00:00Z


def _columns(*readings: tuple[int, int, float]) -> ReadingColumns:
    """Readings given as (metric_id, observed_at in microseconds, value)."""
    columns = ReadingColumns([], [], [], [], [], [])
    for metric_id, observed_at_us, value in readings:
        columns.metric_ids.append(metric_id)
        columns.observed_at_us.append(observed_at_us)
        columns.values.append(value)
        columns.received_at_us.append(NOON_US)
        columns.tenant_ids.append(1)
        columns.qualities.append(192)
    return columns


def _stored(cursor: Cursor, metric_id: int) -> list[tuple[int, float]]:
    cursor.execute(
        "SELECT (extract(epoch FROM observed_at) * 1000000)::bigint, value FROM telemetry"
        " WHERE metric_id = %s ORDER BY observed_at",
        (metric_id,),
    )
    return [(observed_at_us, value) for observed_at_us, value in cursor.fetchall()]


# Readings ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("may_repeat", [False, True])
def test_extreme_times_and_values_survive_to_the_last_bit(
    system_database: SystemDatabase, may_repeat: bool
) -> None:
    metric_id = 100 + may_repeat
    readings = [
        (-62_135_596_800_000_000, 5e-324),  # the year 1
        (-1, -1.7976931348623157e308),
        (0, 0.1),
        (POSTGRES_EPOCH_US, 1 / 3),
        (NOON_US + 1, 9007199254740993.0),
        (253_402_300_799_999_999, -0.0),
    ]
    with system_database.transaction() as cursor:
        columns = _columns(*((metric_id, *reading) for reading in readings))
        assert ingest.store_readings(cursor, columns, may_repeat=may_repeat) == []
        assert _stored(cursor, metric_id) == readings


@pytest.mark.parametrize("may_repeat", [False, True])
def test_what_is_stored_already_is_returned_by_its_place(
    system_database: SystemDatabase, may_repeat: bool
) -> None:
    metric_id = 110 + may_repeat
    with system_database.transaction() as cursor:
        first = _columns((metric_id, NOON_US, 1.0), (metric_id, NOON_US + 1, 2.0))
        assert ingest.store_readings(cursor, first, may_repeat=may_repeat) == []
        second = _columns(
            (metric_id, NOON_US + 2, 3.0),
            (metric_id, NOON_US, 1.0),
            (metric_id, NOON_US + 2, 4.0),
            (metric_id, NOON_US + 1, 5.0),
        )
        found = ingest.store_readings(cursor, second, may_repeat=may_repeat)
        assert sorted(found, key=lambda item: item.place) == [
            Unstored(1, 1.0),
            Unstored(2, 3.0),
            Unstored(3, 2.0),
        ]
        assert _stored(cursor, metric_id) == [(NOON_US, 1.0), (NOON_US + 1, 2.0), (NOON_US + 2, 3.0)]


def test_two_batches_of_one_transaction_do_not_meet_in_the_staging_table(
    system_database: SystemDatabase,
) -> None:
    with system_database.transaction() as cursor:
        for value in (1.0, 2.0):
            columns = _columns((120, NOON_US + int(value), value))
            assert ingest.store_readings(cursor, columns, may_repeat=True) == []
        assert len(_stored(cursor, 120)) == 2


def test_history_is_copied_and_refused_where_it_is_known(system_database: SystemDatabase) -> None:
    columns = _columns((130, NOON_US, 1.0), (130, NOON_US + 1, 2.0))
    with system_database.transaction() as cursor:
        ingest.copy_readings(cursor, columns)
        assert len(_stored(cursor, 130)) == 2
    with pytest.raises(DataRejected) as refused, system_database.transaction() as cursor:
        ingest.copy_readings(cursor, columns)
    assert refused.value.sqlstate == "23505"


@pytest.mark.parametrize(
    ("observed_at_us", "day"),
    [(0, date(1970, 1, 1)), (-1, date(1969, 12, 31)), (NOON_US, date(2026, 1, 1))],
)
def test_a_time_belongs_to_a_utc_day(observed_at_us: int, day: date) -> None:
    assert ingest.day_of(observed_at_us) == day


# Devices and latest values -------------------------------------------------------------------------


def _device(cursor: Cursor, tenant_id: int, *units: str) -> tuple[str, int, list[int]]:
    name = f"P-{secrets.token_hex(4)}"
    ingest.register_device(cursor, tenant_id, name)
    row = ingest.device_with_metrics(cursor, tenant_id, name)
    assert row is not None
    new = [(f"m{place}", unit, MetricKind.GAUGE) for place, unit in enumerate(units)]
    metrics = ingest.register_metrics(cursor, tenant_id, row.device_key, new) if new else []
    return name, row.device_key, [metric.metric_id for metric in metrics]


def test_a_device_is_registered_once_and_known_by_its_tenant(
    system_database: SystemDatabase, plants: Plants
) -> None:
    with system_database.transaction() as cursor:
        name, key, _ = _device(cursor, plants.plant_a)
        ingest.register_device(cursor, plants.plant_a, name)
        row = ingest.device_with_metrics(cursor, plants.plant_a, name)
        assert row is not None
        assert (row.device_key, row.is_retired, row.status, row.last_seen_us) == (key, False, "unknown", 0)
        assert ingest.device_with_metrics(cursor, plants.plant_b, name) is None
        assert ingest.tenant_by_slug(cursor, "plant-a") == plants.plant_a
        assert ingest.tenant_by_slug(cursor, "plant-z") is None


def test_metrics_that_exist_are_returned_as_they_are(system_database: SystemDatabase, plants: Plants) -> None:
    with system_database.transaction() as cursor:
        _, key, (metric_id,) = _device(cursor, plants.plant_a, "bar")
        offered = [("m0", "kPa", MetricKind.STATE), ("new", "°C", MetricKind.GAUGE)]
        old, new = sorted(
            ingest.register_metrics(cursor, plants.plant_a, key, offered), key=lambda row: row.metric_id
        )
        assert (old.metric_id, old.unit, old.kind) == (metric_id, "bar", MetricKind.GAUGE)
        assert (new.name, new.unit) == ("new", "°C")


def test_only_a_later_reading_moves_the_latest_value(system_database: SystemDatabase, plants: Plants) -> None:
    with system_database.transaction() as cursor:
        _, _, (first, second) = _device(cursor, plants.plant_a, "", "")
        columns = _columns((first, NOON_US, 1.0), (second, NOON_US, 2.0))
        assert ingest.advance_latest(cursor, columns, [0, 1]) == {first, second}
        later = _columns((second, NOON_US - 1, 3.0), (first, NOON_US + 1, 4.0), (second, NOON_US, 5.0))
        assert ingest.advance_latest(cursor, later, [0, 1]) == {first}
        assert ingest.advance_latest(cursor, later, [2]) == set()
        cursor.execute(
            "SELECT value FROM latest_values WHERE metric_id IN (%s, %s) ORDER BY metric_id", (first, second)
        )
        assert cursor.fetchall() == [(4.0,), (2.0,)]


def test_last_seen_never_moves_back_and_a_change_of_status_is_dated(
    system_database: SystemDatabase, plants: Plants
) -> None:
    with system_database.transaction() as cursor:
        name, key, _ = _device(cursor, plants.plant_a)
        for at_us, status in ((10, "online"), (20, "online"), (15, "offline")):
            ingest.mark_seen(cursor, [(key, at_us * 1_000_000, status)])
        cursor.execute(
            "SELECT extract(epoch FROM last_seen)::int, extract(epoch FROM status_changed_at)::int, status"
            " FROM devices WHERE device_id = %s",
            (name,),
        )
        assert cursor.fetchone() == (20, 15, "offline")


# Messages and dead letters -------------------------------------------------------------------------


def test_the_last_payload_under_a_message_id_is_remembered(system_database: SystemDatabase) -> None:
    old, new = b"o" * 32, b"n" * 32
    with system_database.transaction() as cursor:
        ingest.remember_messages(cursor, "client", [(1, old), (2, old)])
        ingest.remember_messages(cursor, "client", [(2, new)])
        asked = [(1, old), (2, old), (2, new), (3, old)]
        assert ingest.redelivered(cursor, "client", asked) == {(1, old), (2, new)}
        assert ingest.redelivered(cursor, "another", asked) == set()
        ingest.forget_messages(cursor, "client")
        assert ingest.redelivered(cursor, "client", asked) == set()


def test_a_dead_letter_that_comes_again_is_counted(system_database: SystemDatabase, plants: Plants) -> None:
    def letter(tenant_id: int | None, occurrences: int, received_at_us: int) -> DeadLetter:
        return DeadLetter(
            tenant_id=tenant_id,
            source="mqtt",
            topic="iiot/v1/plant-a/P-101/telemetry",
            device_id="P-101",
            metric=None,
            reason="invalid_json",
            detail="unexpected end",
            payload=b"\x00\xff{",
            payload_bytes=3,
            fingerprint=b"f" * 32,
            received_at_us=received_at_us,
            occurrences=occurrences,
        )

    with system_database.transaction() as cursor:
        for occurrences, at_us in ((1, 1_000_000), (2, 2_000_000)):
            everybody = [
                letter(tenant, occurrences, at_us) for tenant in (plants.plant_a, plants.plant_b, None)
            ]
            ingest.add_dead_letters(cursor, everybody)
        cursor.execute(
            "SELECT tenant_id, occurrences, extract(epoch FROM received_at)::int,"
            " extract(epoch FROM last_received_at)::int, payload FROM dead_letters"
            " WHERE fingerprint = %s ORDER BY tenant_id",
            (b"f" * 32,),
        )
        rows = [(*row[:4], bytes(row[4])) for row in cursor.fetchall()]
    assert rows == [(tenant, 3, 1, 2, b"\x00\xff{") for tenant in (plants.plant_a, plants.plant_b, None)]
