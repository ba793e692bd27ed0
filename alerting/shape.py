"""Alerts and their events as the API and the sockets show them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from domain.alert import AlertEvent, Facts
from storage.alert_journal import StoredAlert


def alert_body(alert: StoredAlert, facts: Facts, *, acknowledged_by: str | None) -> dict[str, Any]:
    """An alert with these facts; `acknowledged_by` is the e-mail address of the person."""
    return {
        "alert_id": alert.alert_id,
        "source": alert.source,
        "rule_id": alert.rule_id,
        "rule_name": alert.rule_name,
        "rule_version": facts.rule_version,
        "device_id": alert.device_id,
        "metric": alert.metric,
        "severity": facts.severity,
        "state": facts.state,
        "is_active": facts.is_active,
        "condition_holds": facts.condition_holds,
        "is_latched": facts.is_latched,
        "is_acknowledged": facts.is_acknowledged,
        "acknowledged_by": acknowledged_by,
        "acknowledged_at": facts.acknowledged_at,
        "acknowledge_comment": facts.acknowledge_comment,
        "acknowledged_event_id": facts.acknowledged_event_id,
        "attention_event_id": facts.attention_event_id,
        "shelved_until": facts.shelved_until,
        "shelve_reason": facts.shelve_reason,
        "suppressed_by": facts.suppressed_by,
        "is_out_of_service": facts.is_out_of_service,
        "occurrence": facts.occurrence,
        "repeat_count": facts.repeat_count,
        "raised_at": facts.raised_at,
        "cleared_at": facts.cleared_at,
        "realarm_at": facts.realarm_at,
        "value": facts.value,
        "message": facts.message,
    }


def stored_body(alert: StoredAlert) -> dict[str, Any]:
    """An alert as it is stored."""
    facts = alert.facts
    return alert_body(alert, facts, acknowledged_by=alert.acknowledged_by_email or facts.acknowledged_by)


def event_body(
    alert_id: str, event: AlertEvent, *, device_id: str | None, recorded_at: datetime
) -> dict[str, Any]:
    """One entry of an alert's journal."""
    return {
        "alert_event_id": event.event_id,
        "alert_id": alert_id,
        "device_id": device_id,
        "kind": event.kind,
        "observed_at": event.observed_at,
        "recorded_at": recorded_at,
        "severity": event.severity,
        "value": event.value,
        "message": event.message,
        "rule_version": event.rule_version,
        "occurrence": event.occurrence,
        "repeat_count": event.repeat_count,
        "actor": event.actor,
        "comment": event.comment,
        "until": event.until,
        "suppressed_by": event.suppressed_by,
        "acknowledged_event_id": event.acknowledged_event_id,
    }
