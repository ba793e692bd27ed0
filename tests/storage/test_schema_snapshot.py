"""The committed snapshot is what the migrations make."""

from __future__ import annotations

import pytest

from migrations import schema_snapshot
from migrations.snapshot import SNAPSHOT

pytestmark = pytest.mark.services


def test_the_committed_snapshot_is_what_the_migrations_make(owner_url: str) -> None:
    assert schema_snapshot(owner_url) == SNAPSHOT.read_text(encoding="utf-8"), (
        "review the difference, then write the new text to migrations/schema.txt"
    )
