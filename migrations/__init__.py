"""Numbered, forward-only SQL migrations and the database roles they grant to."""

from migrations.runner import MigrationState, apply_migrations, migration_state
from migrations.snapshot import schema_snapshot

__all__ = ["MigrationState", "apply_migrations", "migration_state", "schema_snapshot"]
