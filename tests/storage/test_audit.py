"""What the audit log keeps of a change."""

from __future__ import annotations

from contextlib import suppress

import pytest

from domain.audit import Actor
from storage import audit
from storage.pool import AppDatabase, SystemDatabase
from tests.people import Plants

pytestmark = pytest.mark.services


def entries(database: SystemDatabase, target: str) -> list[tuple[object, ...]]:
    with database.transaction() as cursor:
        cursor.execute(
            "SELECT tenant_id, actor, action, host(address), request_id, detail FROM audit_logs"
            " WHERE target = %s",
            (target,),
        )
        return cursor.fetchall()


def test_an_entry_says_who_did_what_from_where(
    app_database: AppDatabase, system_database: SystemDatabase, plants: Plants
) -> None:
    alice = Actor(plants.plant_a, "alice@plant-a.example", user_id="u1", address="192.0.2.7", request_id="r1")
    with app_database.tenant(plants.plant_a) as cursor:
        audit.record(cursor, alice, "rule.update", "rule/1", before={"value": 80}, after={"value": 85})
    assert entries(system_database, "rule/1") == [
        (
            plants.plant_a,
            "alice@plant-a.example",
            "rule.update",
            "192.0.2.7",
            "r1",
            {"user_id": "u1", "before": {"value": 80}, "after": {"value": 85}},
        )
    ]


def test_an_entry_vanishes_with_the_change_that_failed(
    app_database: AppDatabase, system_database: SystemDatabase, plants: Plants
) -> None:
    with suppress(ArithmeticError), app_database.tenant(plants.plant_a) as cursor:
        audit.record(cursor, Actor.system(plants.plant_a), "device.retire", "device/gone")
        raise ArithmeticError
    assert entries(system_database, "device/gone") == []
