"""Every query of the dashboards gives rows on the demo plant, as the reader, in time and in order."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import pytest

from fleet.registry import Registry
from storage.binary_rows import ReadingColumns
from storage.ingest import copy_readings, day_of
from storage.pool import AppDatabase, SystemDatabase
from storage.telemetry import ensure_partitions
from tests.grafana.macros import Chosen, Shown, expand
from tests.grafana.rows import add_busy_hour
from tests.people import Plants
from tools.grafana.build import BUILDERS
from tools.grafana.files import DASHBOARDS
from tools.plant.history import device_history
from tools.plant.model.catalogue import DEVICES
from tools.plant.model.plant import Plant
from tools.plant.registration import register

pytestmark = [pytest.mark.services, pytest.mark.slow]

LOADED = timedelta(hours=30)
SHOWN = timedelta(hours=6)
MOST_S = 1.0
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def demo(app_database: AppDatabase, system_database: SystemDatabase, plants: Plants) -> int:
    """The demo plant with thirty hours of readings up to now and a busy hour; how many readings."""
    tenant_id = plants.plant_a
    assert register(Registry(app_database, metrics_per_device=1000), tenant_id) == []
    stop_s = int(NOW.timestamp()) // 60 * 60
    plant, seconds = Plant(), int(LOADED.total_seconds())
    loaded = 0
    with system_database.transaction() as cursor:
        ensure_partitions(
            cursor, day_of((stop_s - seconds) * 1_000_000), day_of((stop_s + 86_400) * 1_000_000)
        )
        cursor.execute(
            "SELECT d.device_id, m.name, m.metric_id FROM metrics m JOIN devices d USING (device_key)"
            " WHERE m.tenant_id = %s",
            (tenant_id,),
        )
        ids = {(device_id, name): metric_id for device_id, name, metric_id in cursor.fetchall()}
        for device in DEVICES:
            stops = {metric.name: stop_s for metric in device.metrics}
            for batch in device_history(plant, device.device_id, stops, seconds=seconds):
                rows = len(batch.values)
                columns = ReadingColumns(
                    observed_at_us=batch.observed_at_us,
                    values=batch.values,
                    received_at_us=[at_us + 250_000 for at_us in batch.observed_at_us],
                    metric_ids=[ids[batch.device_id, batch.metric_name]] * rows,
                    tenant_ids=[tenant_id] * rows,
                    qualities=[192] * rows,
                )
                copy_readings(cursor, columns)
                loaded += rows
        cursor.execute(
            "INSERT INTO latest_values (metric_id, tenant_id, observed_at, value, quality, received_at)"
            " SELECT DISTINCT ON (metric_id) metric_id, tenant_id, observed_at, value, quality, received_at"
            " FROM telemetry ORDER BY metric_id, observed_at DESC"
        )
    add_busy_hour(system_database, tenant_id)
    return loaded


@pytest.fixture
def reader(demo: int, readers: dict[str, str]) -> Iterator[psycopg2.extensions.cursor]:
    """A cursor of the reader of the demo plant."""
    with closing(psycopg2.connect(readers["a"])) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor


class Answers:
    """Asks as Grafana does and keeps what was slow."""

    def __init__(self, cursor: psycopg2.extensions.cursor, shown: Shown) -> None:
        self.cursor = cursor
        self.shown = shown
        self.chosen: dict[str, Chosen] = {}
        self.asked = 0
        self.slowest_s = 0.0

    def ask(self, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """The names of the columns, and the rows."""
        began_at = time.monotonic()
        self.cursor.execute(expand(sql, self.chosen, self.shown))
        rows = self.cursor.fetchall()
        took_s = time.monotonic() - began_at
        assert took_s < MOST_S, sql
        self.asked += 1
        self.slowest_s = max(self.slowest_s, took_s)
        return [column.name for column in self.cursor.description or ()], rows

    def choose(self, variables: list[dict[str, Any]]) -> None:
        """Choose all values where many may be chosen, else the first."""
        for variable in variables:
            if variable["type"] == "query":
                names, rows = self.ask(variable["query"])
                assert rows, variable["name"]
                values = [str(row[names.index("__value") if "__value" in names else 0]) for row in rows]
                is_list = bool(variable.get("multi") or variable.get("includeAll"))
                self.chosen[variable["name"]] = Chosen(values, is_list)


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_every_query_gives_rows_in_order(
    reader: psycopg2.extensions.cursor, demo: int, record_property: Callable[[str, object], None], name: str
) -> None:
    page = json.loads((DASHBOARDS / name).read_text(encoding="utf-8"))
    answers = Answers(reader, Shown(NOW - SHOWN, NOW + timedelta(minutes=1)))
    answers.choose(page["templating"]["list"])
    for panel in page["panels"]:
        for target in panel["targets"]:
            names, rows = answers.ask(target["rawSql"])
            assert rows, panel["title"]
            assert any(value is not None for row in rows for value in row), panel["title"]
            if target["format"] == "time_series":
                times = [row[names.index("time")] for row in rows]
                assert times == sorted(times), panel["title"]
    for marks in page["annotations"]["list"]:
        names, rows = answers.ask(marks["target"]["rawSql"])
        assert {"time", "text"} <= set(names)
        assert rows
    record_property("panels", len(page["panels"]))
    record_property("queries", answers.asked)
    record_property("slowest s", round(answers.slowest_s, 3))
    record_property("readings", demo)


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_the_reader_of_another_plant_gets_no_row_of_them(
    demo: int, readers: dict[str, str], reader: psycopg2.extensions.cursor, name: str
) -> None:
    """Also with the demo plant's devices named in the query."""
    page = json.loads((DASHBOARDS / name).read_text(encoding="utf-8"))
    own = Answers(reader, Shown(NOW - SHOWN, NOW))
    own.choose(page["templating"]["list"])
    with closing(psycopg2.connect(readers["b"])) as connection, connection.cursor() as cursor:
        mallory = Answers(cursor, own.shown)
        mallory.chosen = own.chosen
        for panel in page["panels"]:
            _, rows = mallory.ask(panel["targets"][0]["rawSql"])
            assert not [value for row in rows for value in row if value not in {None, 0}], panel["title"]
