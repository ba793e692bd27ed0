"""The two ways into the database: as one tenant, or as the system."""

from __future__ import annotations

import pytest

from storage.pool import AppDatabase, DataRejected, SystemDatabase

pytestmark = pytest.mark.services


def test_the_tenant_ends_with_the_transaction(app_database: AppDatabase) -> None:
    current_tenant = "SELECT current_tenant_id()"
    assert app_database.read(7, current_tenant, {}) == [(7,)]
    with app_database.tenant(8) as cursor:
        cursor.execute(current_tenant)
        assert cursor.fetchone() == (8,)
    with app_database._pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute(current_tenant)
        assert cursor.fetchone() == (None,)


def test_an_error_rolls_the_transaction_back(system_database: SystemDatabase) -> None:
    with pytest.raises(DataRejected) as refused:
        _add_one_good_and_one_bad_tenant(system_database)
    assert refused.value.sqlstate == "23514"
    with system_database.transaction() as cursor:
        cursor.execute("SELECT count(*) FROM tenants WHERE slug = 'half'")
        assert cursor.fetchone() == (0,)


def _add_one_good_and_one_bad_tenant(database: SystemDatabase) -> None:
    with database.transaction() as cursor:
        cursor.execute("INSERT INTO tenants (slug, name) VALUES ('half', 'Half')")
        cursor.execute("INSERT INTO tenants (slug, name) VALUES ('no slug', 'Refused')")
