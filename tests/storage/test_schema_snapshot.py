"""The committed snapshot is what the migrations make."""

from __future__ import annotations

import pytest

from migrations import schema_snapshot
from migrations.snapshot import SNAPSHOT

pytestmark = pytest.mark.services


def test_the_committed_snapshot_is_what_the_migrations_make(
    owner_url: str, request: pytest.FixtureRequest
) -> None:
    made = schema_snapshot(owner_url)
    if request.config.getoption("--write-generated"):
        SNAPSHOT.write_text(made, encoding="utf-8")
    assert made == SNAPSHOT.read_text(encoding="utf-8"), (
        "review the difference, then write it with:"
        " ./run test tests/storage/test_schema_snapshot.py --write-generated"
    )
