"""A plant with rules whose transitions a test plays on a clock of its own."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from alerting.lifecycle import apply
from domain.alert import AlertEvent, EventKind, Facts, fold
from domain.transition import AlertChange, Severity, Transition, TransitionKind
from storage.alert_journal import lock_by_id
from storage.pool import Cursor, SystemDatabase

T0 = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """A moment of the shift, in seconds after six o'clock."""
    return T0 + timedelta(seconds=seconds)


@dataclass
class Line:
    """One device with one rule."""

    database: SystemDatabase
    tenant_id: int
    device_id: str
    device_key: int
    rule_id: str
    changes: list[AlertChange] = field(default_factory=list)

    def transition(self, kind: str, at_s: float, severity: str = "high", **fields: Any) -> Transition:
        return Transition(
            tenant_id=self.tenant_id,
            rule_id=self.rule_id,
            rule_version=fields.get("rule_version", 1),
            device_key=self.device_key,
            metric_id=None,
            kind=TransitionKind(kind),
            severity=Severity(severity),
            value=fields.get("value"),
            observed_at=at(at_s),
            message=fields.get("message", f"{self.device_id} is too hot"),
        )

    def play(self, *transitions: Transition) -> list[AlertChange]:
        """Hand transitions over as one batch."""
        with self.database.transaction() as cursor:
            changes = apply(cursor, transitions, now=transitions[-1].observed_at)
        self.changes += changes
        return changes

    def raised(self, at_s: float, severity: str = "high", **fields: Any) -> list[AlertChange]:
        return self.play(self.transition("raised", at_s, severity, **fields))

    def cleared(self, at_s: float, **fields: Any) -> list[AlertChange]:
        return self.play(self.transition("cleared", at_s, **fields))

    def severity_changed(self, at_s: float, severity: str) -> list[AlertChange]:
        return self.play(self.transition("severity_changed", at_s, severity))

    @property
    def alert_id(self) -> str:
        with self.database.transaction() as cursor:
            cursor.execute(
                "SELECT alert_id FROM alerts WHERE tenant_id = %s AND device_key = %s AND rule_id = %s",
                (self.tenant_id, self.device_key, self.rule_id),
            )
            return str(only_row(cursor)[0])

    @property
    def facts(self) -> Facts:
        """What is stored about the alert."""
        with self.database.transaction() as cursor:
            (alert,) = lock_by_id(cursor, [self.alert_id])
        return alert.facts

    @property
    def state(self) -> str:
        """The state as the database derives it."""
        with self.database.transaction() as cursor:
            cursor.execute("SELECT state FROM alerts WHERE alert_id = %s", (self.alert_id,))
            return str(only_row(cursor)[0])

    def journal(self) -> list[AlertEvent]:
        """The events of the alert as they are stored."""
        return journal_of(self.database, self.alert_id)

    def kinds(self) -> list[str]:
        return [str(event.kind) for event in self.journal()]


def journal_of(database: SystemDatabase, alert_id: str) -> list[AlertEvent]:
    with database.transaction() as cursor:
        cursor.execute(
            "SELECT kind, observed_at, severity, occurrence, repeat_count, value, message, rule_version,"
            " actor, actor_user_id, comment, until, suppressed_by, is_out_of_service, is_latched,"
            " realarm_after_s, acknowledged_event_id, alert_event_id"
            " FROM alert_events WHERE alert_id = %s ORDER BY alert_event_id",
            (alert_id,),
        )
        return [
            AlertEvent(EventKind(row[0]), row[1], Severity(row[2]), *row[3:]) for row in cursor.fetchall()
        ]


def new_line(
    database: SystemDatabase, tenant_id: int, *, parent: Line | None = None, rule_id: str | None = None
) -> Line:
    """A device of its own with a rule, or with one that others have too."""
    device_id = f"P-{secrets.token_hex(4)}"
    with database.transaction() as cursor:
        cursor.execute(
            "INSERT INTO devices (tenant_id, device_id, name, parent_device_key) VALUES (%s, %s, %s, %s)"
            " RETURNING device_key",
            (tenant_id, device_id, device_id, parent.device_key if parent else None),
        )
        device_key = int(only_row(cursor)[0])
        if rule_id is None:
            cursor.execute(
                "INSERT INTO rules (tenant_id, name, severity, condition)"
                " VALUES (%s, 'Bearing hot', 'high', '{}') RETURNING rule_id",
                (tenant_id,),
            )
            rule_id = str(only_row(cursor)[0])
    return Line(database, tenant_id, device_id, device_key, rule_id)


def assert_journal_amounts_to_the_row(lines: Sequence[Line]) -> None:
    for line in lines:
        assert fold(line.journal()) == line.facts
        assert fold(line.journal()).state == line.state


def only_row(cursor: Cursor) -> tuple[Any, ...]:
    row = cursor.fetchone()
    assert row is not None
    return tuple(row)
