"""The daily partitions of telemetry: made ahead, closed to the application role, and strays moved in."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from scheduler import maintain_partitions
from storage.pool import AppDatabase, SystemDatabase
from storage.telemetry import adopt_strays, ensure_partitions

pytestmark = pytest.mark.services


def _store(database: SystemDatabase, *times: datetime, metric_id: int = 1) -> None:
    with database.transaction() as cursor:
        for number, observed_at in enumerate(times):
            cursor.execute(
                "INSERT INTO telemetry VALUES (%s, %s, now(), %s, %s, 1, 192)",
                (observed_at, float(number), number, metric_id),
            )


def _homes(database: SystemDatabase, metric_id: int) -> dict[str, list[float]]:
    """The values of a metric by the partition that they are in."""
    with database.transaction() as cursor:
        cursor.execute(
            "SELECT tableoid::regclass::text, array_agg(value ORDER BY value) FROM telemetry"
            " WHERE metric_id = %s GROUP BY 1",
            (metric_id,),
        )
        return dict(cursor.fetchall())


def test_partitions_are_made_once(system_database: SystemDatabase) -> None:
    first, last = date(2031, 2, 27), date(2031, 3, 2)
    with system_database.transaction() as cursor:
        assert ensure_partitions(cursor, first, last) == 4
        assert ensure_partitions(cursor, first, last + timedelta(days=1)) == 1
        assert ensure_partitions(cursor, last, first) == 0


def test_a_partition_holds_the_day_in_utc(system_database: SystemDatabase) -> None:
    day = datetime(2032, 6, 1, tzinfo=UTC)
    with system_database.transaction() as cursor:
        ensure_partitions(cursor, day.date(), day.date())
    edge = timedelta(microseconds=1)
    _store(
        system_database, day - edge, day, day + timedelta(days=1) - edge, day + timedelta(days=1), metric_id=2
    )
    assert _homes(system_database, 2) == {"telemetry_20320601": [1.0, 2.0], "telemetry_default": [0.0, 3.0]}


def test_strays_are_moved_out_of_the_default_partition(system_database: SystemDatabase) -> None:
    days = [datetime(2033, 1, 1, 12, tzinfo=UTC), datetime(2033, 1, 3, 12, tzinfo=UTC)]
    _store(system_database, *days, metric_id=3)
    assert _homes(system_database, 3) == {"telemetry_default": [0.0, 1.0]}
    with system_database.transaction() as cursor:
        assert adopt_strays(cursor) >= 2
        assert adopt_strays(cursor) == 0
    assert _homes(system_database, 3) == {"telemetry_20330101": [0.0], "telemetry_20330103": [1.0]}


def test_a_partition_made_later_is_closed_too(
    system_database: SystemDatabase, app_database: AppDatabase
) -> None:
    _store(system_database, datetime(2034, 1, 1, tzinfo=UTC), metric_id=4)
    with system_database.transaction() as cursor:
        adopt_strays(cursor)
        cursor.execute(
            "SELECT relrowsecurity, relforcerowsecurity, has_table_privilege('iiot_app', oid, 'SELECT'),"
            " has_table_privilege('iiot_app', oid, 'INSERT') FROM pg_class"
            " WHERE relname = 'telemetry_20340101'"
        )
        assert cursor.fetchall() == [(True, True, False, False)]
    assert app_database.read(2, "SELECT count(*) FROM telemetry WHERE metric_id = 4", {}) == [(0,)]
    assert app_database.read(1, "SELECT count(*) FROM telemetry WHERE metric_id = 4", {}) == [(1,)]


def test_maintenance_covers_the_lateness_window_and_the_days_ahead(system_database: SystemDatabase) -> None:
    with system_database.transaction() as cursor:
        maintain_partitions(timedelta(days=3), timedelta(days=8))(cursor)
        cursor.execute(
            "SELECT count(*) FROM generate_series(-8, 3) AS away WHERE to_regclass('telemetry_'"
            " || to_char((now() AT TIME ZONE 'UTC')::date + away, 'YYYYMMDD')) IS NOT NULL"
        )
        assert cursor.fetchone() == (12,)
