"""What a rule's transition or a person's command means for an alert: an event, nothing, or a refusal.

Every function takes the facts as they are and returns the event that follows. None means that there is
nothing to record: the transition or the command was heard before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from domain.alert import AlertEvent, EventKind, Facts, step
from domain.audit import Actor
from domain.errors import Conflict
from domain.transition import Severity, TransitionKind

DEFAULT_FLAP_WINDOW_S = 3600.0
# Shelving for the same reason that ends hardly later than it would anyway is the same request again.
_SAME_SHELVING_WITHIN = timedelta(seconds=60)


class ConditionHolds(Conflict):
    """The alert cannot be cleared while its condition holds."""


class NotLatched(Conflict):
    """The alert clears by itself; only a latched alert is cleared by hand."""


class NewerEvent(Conflict):
    """The alert has changed since the event that was to be acknowledged."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a rule version says about the life of its alerts.

    Attributes:
        flap_window_s: An alert that comes back within this time after it cleared is the same one, repeating.
        realarm_after_s: After how long a standing alert asks for attention again; None: never.
        is_latched: Whether it stands until somebody clears it.
    """

    flap_window_s: float = DEFAULT_FLAP_WINDOW_S
    realarm_after_s: float | None = None
    is_latched: bool = False


@dataclass(frozen=True, slots=True)
class Signal:
    """What a rule, a device or the platform itself says about one alert.

    Attributes:
        source: Which alert of the device: `rule:<rule_id>`, `device:<code>` or `platform:<name>`.
        device_key: None for an alert of the platform itself.
    """

    tenant_id: int
    source: str
    kind: TransitionKind
    severity: Severity
    observed_at: datetime
    message: str
    device_key: int | None = None
    rule_id: str | None = None
    rule_version: int | None = None
    metric_id: int | None = None
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Overlays:
    """What hides a new alert from the start."""

    suppressed_by: str | None = None
    is_out_of_service: bool = False


def hear(facts: Facts, signal: Signal, policy: Policy, overlays: Overlays) -> AlertEvent | None:
    """The event that follows from a signal; None where the alert is already as the signal says."""
    if signal.kind is TransitionKind.RAISED:
        if not (facts.is_active and facts.condition_holds):
            return _raising(facts, signal, policy, overlays)
        return _change_of_severity(facts, signal)
    if not facts.is_active:
        return None
    if signal.kind is TransitionKind.SEVERITY_CHANGED:
        return _change_of_severity(facts, signal)
    if not facts.is_latched:
        return _told(facts, signal, EventKind.CLEARED)
    return _told(facts, signal, EventKind.RETURNED) if facts.condition_holds else None


def acknowledge(
    facts: Facts, actor: Actor, *, at: datetime, comment: str, event_id: int | None
) -> AlertEvent | None:
    """Acknowledge the event that asks for attention; a second time changes nothing.

    Raises:
        NewerEvent: `event_id` is given and a newer event asks for attention.
    """
    asking = facts.attention_event_id
    if event_id is not None and asking is not None and event_id < asking:
        raise NewerEvent(f"event {asking} came after event {event_id} and asks to be acknowledged itself")
    if facts.is_acknowledged:
        return None
    return _said(facts, actor, EventKind.ACKNOWLEDGED, at=at, comment=comment, acknowledged_event_id=asking)


def shelve(facts: Facts, actor: Actor, *, at: datetime, until: datetime, reason: str) -> AlertEvent | None:
    """Hide the alert until a time; the same again changes nothing, another time or reason does."""
    if (
        facts.shelved_until is not None
        and facts.shelve_reason == reason
        and timedelta(0) <= until - facts.shelved_until <= _SAME_SHELVING_WITHIN
    ):
        return None
    return _said(facts, actor, EventKind.SHELVED, at=at, comment=reason, until=until)


def unshelve(facts: Facts, actor: Actor, *, at: datetime) -> AlertEvent | None:
    """Show the alert again, as acknowledged as it was."""
    if facts.shelved_until is None:
        return None
    return _said(facts, actor, EventKind.UNSHELVED, at=at)


def clear(facts: Facts, actor: Actor, *, at: datetime, comment: str) -> AlertEvent | None:
    """Clear a latched alert whose condition is normal again.

    Raises:
        NotLatched: The alert clears by itself.
        ConditionHolds: The condition still holds.
    """
    if not facts.is_latched:
        raise NotLatched
    if not facts.is_active:
        return None
    if facts.condition_holds:
        raise ConditionHolds
    return _said(facts, actor, EventKind.CLEARED, at=at, comment=comment)


def comment_on(facts: Facts, actor: Actor, *, at: datetime, comment: str) -> AlertEvent:
    """Add what somebody has to say."""
    return _said(facts, actor, EventKind.COMMENTED, at=at, comment=comment)


def serve(
    facts: Facts, actor: Actor, *, at: datetime, is_out_of_service: bool, reason: str
) -> AlertEvent | None:
    """Take the alert out of service with its device, or back."""
    if facts.is_out_of_service == is_out_of_service:
        return None
    kind = EventKind.OUT_OF_SERVICE if is_out_of_service else EventKind.IN_SERVICE
    return _said(facts, actor, kind, at=at, comment=reason)


def suppress(facts: Facts, actor: Actor, *, at: datetime, suppressed_by: str | None) -> AlertEvent | None:
    """Let something suppress the alert, something else, or nothing any more."""
    if facts.suppressed_by == suppressed_by:
        return None
    kind = EventKind.UNSUPPRESSED if suppressed_by is None else EventKind.SUPPRESSED
    return _said(facts, actor, kind, at=at, suppressed_by=suppressed_by)


def realarm(facts: Facts, actor: Actor, *, now: datetime) -> AlertEvent | None:
    """Let a standing alert ask for attention again, once for all the times that it was due since."""
    due, after_s = facts.realarm_at, facts.realarm_after_s
    if due is None or after_s is None or due > now or facts.shelved_until is not None:
        return None
    after = timedelta(seconds=after_s)
    missed = (now - due) // after
    return _said(facts, actor, EventKind.REALARMED, at=due + missed * after, until=due + (missed + 1) * after)


def fall_due(facts: Facts, actor: Actor, *, now: datetime) -> list[AlertEvent]:
    """What time alone does to an alert by `now`: the end of its shelving, then a re-alarm."""
    events = []
    if facts.shelved_until is not None and facts.shelved_until <= now:
        events.append(_said(facts, actor, EventKind.UNSHELVED, at=facts.shelved_until))
        facts = step(facts, events[0])
    if (event := realarm(facts, actor, now=now)) is not None:
        events.append(event)
    return events


def _raising(facts: Facts, signal: Signal, policy: Policy, overlays: Overlays) -> AlertEvent:
    is_same_occurrence = facts.is_active
    repeats = is_same_occurrence or _is_within(facts.cleared_at, signal.observed_at, policy.flap_window_s)
    return AlertEvent(
        kind=EventKind.RAISED,
        observed_at=signal.observed_at,
        severity=signal.severity,
        occurrence=facts.occurrence if is_same_occurrence else facts.occurrence + 1,
        repeat_count=facts.repeat_count + 1 if repeats else 0,
        value=signal.value,
        message=signal.message,
        rule_version=signal.rule_version,
        suppressed_by=overlays.suppressed_by,
        is_out_of_service=overlays.is_out_of_service,
        is_latched=policy.is_latched,
        realarm_after_s=policy.realarm_after_s,
    )


def _is_within(cleared_at: datetime | None, at: datetime, window_s: float) -> bool:
    return cleared_at is not None and at - cleared_at <= timedelta(seconds=window_s)


def _change_of_severity(facts: Facts, signal: Signal) -> AlertEvent | None:
    if signal.severity is facts.severity or not facts.condition_holds:
        return None
    return AlertEvent(
        kind=EventKind.SEVERITY_CHANGED,
        observed_at=signal.observed_at,
        severity=signal.severity,
        occurrence=facts.occurrence,
        repeat_count=facts.repeat_count,
        value=signal.value,
        message=signal.message,
        rule_version=signal.rule_version,
    )


def _told(facts: Facts, signal: Signal, kind: EventKind) -> AlertEvent:
    return AlertEvent(
        kind=kind,
        observed_at=signal.observed_at,
        severity=facts.severity,
        occurrence=facts.occurrence,
        repeat_count=facts.repeat_count,
        value=signal.value,
        message=signal.message,
        rule_version=signal.rule_version,
    )


def _said(
    facts: Facts,
    actor: Actor,
    kind: EventKind,
    *,
    at: datetime,
    comment: str = "",
    until: datetime | None = None,
    suppressed_by: str | None = None,
    acknowledged_event_id: int | None = None,
) -> AlertEvent:
    return AlertEvent(
        kind=kind,
        observed_at=at,
        severity=facts.severity,
        occurrence=facts.occurrence,
        repeat_count=facts.repeat_count,
        rule_version=facts.rule_version,
        actor=actor.label,
        actor_user_id=actor.user_id,
        comment=comment,
        until=until,
        suppressed_by=suppressed_by,
        acknowledged_event_id=acknowledged_event_id,
    )
