"""The figures of alarm management, computed in PostgreSQL from the journal."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from analytics_sql import statement
from storage.pool import AppDatabase

_SQL = Path(__file__).parent / "sql" / "alert_kpis.sql"
_MOMENTS = {"start", "at", "raised_at", "until"}


def alert_kpis(database: AppDatabase, tenant_id: int, *, start: datetime, stop: datetime) -> dict[str, Any]:
    """What `[start, stop)` looked like to the people who answer for it."""
    ((figures,),) = database.read(tenant_id, statement(_SQL, "alert_kpis"), {"start": start, "stop": stop})
    found: dict[str, Any] = orjson.loads(figures)
    _read_moments(found)
    return found


def _read_moments(node: Any) -> None:
    """Make moments of the texts that JSON has for them, in place."""
    for item in node.values() if isinstance(node, dict) else node:
        if isinstance(item, dict | list):
            _read_moments(item)
    if isinstance(node, dict):
        for name in _MOMENTS & node.keys():
            if node[name] is not None:
                node[name] = datetime.fromisoformat(node[name])
