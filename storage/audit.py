"""The audit log: what was changed, by whom, in the transaction of the change."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from analytics_sql import statement
from domain.audit import Actor
from storage.pool import Cursor

_SQL = Path(__file__).parent / "sql" / "audit.sql"


def record(
    cursor: Cursor,
    actor: Actor,
    action: str,
    target: str,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Write one entry; it commits or vanishes with the change that it tells of.

    `action` is `object.verb`, such as `rule.update`; `target` names what was changed, such as `rule/6f1c...`.
    `before` and `after` are what the object said and says, without secrets; None where it did not exist.
    """
    detail = {
        name: value
        for name, value in (
            ("user_id", actor.user_id),
            ("key_id", actor.key_id),
            ("before", before),
            ("after", after),
        )
        if value is not None
    }
    cursor.execute(
        statement(_SQL, "add_audit_log"),
        {
            "tenant_id": actor.tenant_id,
            "actor": actor.label,
            "action": action,
            "target": target,
            "address": actor.address,
            "request_id": actor.request_id,
            "detail": orjson.dumps(detail, default=str).decode(),
        },
    )
