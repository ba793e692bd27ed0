"""An alert: independent facts, the ISA-18.2 state derived from them, and the events that change them.

The journal of an alert is a list of events; `step` folds them, one after the other, into the facts that are
stored beside it. Overlays (shelved, suppressed, out of service) hide the state and change no other fact, so
that what was true under them appears when they go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import reduce

from domain.transition import Severity


class State(StrEnum):
    """The states of ISA-18.2 by their usual names."""

    UNACKNOWLEDGED = "unacknowledged"
    ACKNOWLEDGED = "acknowledged"
    RETURNED_UNACKNOWLEDGED = "returned_unacknowledged"
    NORMAL = "normal"
    SHELVED = "shelved"
    SUPPRESSED = "suppressed"
    OUT_OF_SERVICE = "out_of_service"


class EventKind(StrEnum):
    """What happened to an alert.

    `returned` says that the condition of a latched alert is normal again while the alert stands; `realarmed`
    that a standing alert asks for attention once more.
    """

    RAISED = "raised"
    SEVERITY_CHANGED = "severity_changed"
    RETURNED = "returned"
    CLEARED = "cleared"
    REALARMED = "realarmed"
    ACKNOWLEDGED = "acknowledged"
    COMMENTED = "commented"
    SHELVED = "shelved"
    UNSHELVED = "unshelved"
    SUPPRESSED = "suppressed"
    UNSUPPRESSED = "unsuppressed"
    OUT_OF_SERVICE = "out_of_service"
    IN_SERVICE = "in_service"


@dataclass(frozen=True, slots=True)
class AlertEvent:
    """One entry of the journal.

    Attributes:
        observed_at: When it happened on the plant's clock; for what people do, when they did it.
        severity: That of the alert after the event.
        value: The value that decided; None where no value did.
        occurrence: Which raising of the alert it belongs to, counted from 1.
        repeat_count: How many times the alert has come back without a quiet of its flap window.
        actor: An e-mail address, or `system`.
        comment: What the person said: the comment, or the reason for shelving.
        until: For `shelved` its end, for `realarmed` when it would be due again.
        suppressed_by: What suppresses the alert from here on (`raised` and `suppressed`).
        is_out_of_service: Whether its device was out of service when it was raised.
        is_latched: Whether it stands, once raised, until somebody clears it.
        realarm_after_s: After how long a standing alert asks for attention again.
        acknowledged_event_id: The event that an acknowledgement answers.
        event_id: Its number in the journal, once it is there.
    """

    kind: EventKind
    observed_at: datetime
    severity: Severity
    occurrence: int
    repeat_count: int
    value: float | None = None
    message: str = ""
    rule_version: int | None = None
    actor: str = "system"
    actor_user_id: str | None = None
    comment: str = ""
    until: datetime | None = None
    suppressed_by: str | None = None
    is_out_of_service: bool = False
    is_latched: bool = False
    realarm_after_s: float | None = None
    acknowledged_event_id: int | None = None
    event_id: int | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What is true about an alert; no fact is derived from another.

    Attributes:
        is_active: Whether it stands: the condition holds, or it is latched and nobody has cleared it.
        condition_holds: Whether the condition itself holds.
        attention_event_id: The event that asks for an acknowledgement: the newest raising, rise or re-alarm.
    """

    severity: Severity = Severity.INFO
    message: str = ""
    value: float | None = None
    rule_version: int | None = None
    is_active: bool = False
    condition_holds: bool = False
    is_latched: bool = False
    is_acknowledged: bool = True
    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None
    acknowledge_comment: str | None = None
    acknowledged_event_id: int | None = None
    attention_event_id: int | None = None
    shelved_until: datetime | None = None
    shelved_by: str | None = None
    shelve_reason: str | None = None
    suppressed_by: str | None = None
    is_out_of_service: bool = False
    occurrence: int = 0
    repeat_count: int = 0
    raised_at: datetime | None = None
    cleared_at: datetime | None = None
    realarm_after_s: float | None = None
    realarm_at: datetime | None = None

    @property
    def state(self) -> State:
        """The ISA-18.2 state. Overlays come first; of several the one that people answer for least."""
        if self.is_out_of_service:
            return State.OUT_OF_SERVICE
        if self.suppressed_by is not None:
            return State.SUPPRESSED
        if self.shelved_until is not None:
            return State.SHELVED
        if self.is_active:
            return State.ACKNOWLEDGED if self.is_acknowledged else State.UNACKNOWLEDGED
        return State.NORMAL if self.is_acknowledged else State.RETURNED_UNACKNOWLEDGED


NEVER_RAISED = Facts()


def step(facts: Facts, event: AlertEvent) -> Facts:
    """Return the facts after one more event."""
    return _STEPS[event.kind](facts, event)


def fold(events: Iterable[AlertEvent]) -> Facts:
    """Return the facts that a whole journal amounts to."""
    return reduce(step, events, NEVER_RAISED)


def _raised(facts: Facts, event: AlertEvent) -> Facts:
    is_new = event.occurrence != facts.occurrence
    raised = replace(
        _told(facts, event),
        severity=event.severity,
        is_active=True,
        condition_holds=True,
        is_latched=event.is_latched,
        suppressed_by=event.suppressed_by,
        is_out_of_service=event.is_out_of_service,
        occurrence=event.occurrence,
        repeat_count=event.repeat_count,
        raised_at=event.observed_at if is_new else facts.raised_at,
        cleared_at=None,
        realarm_after_s=event.realarm_after_s,
    )
    return _unanswered(raised, event)


def _told(facts: Facts, event: AlertEvent) -> Facts:
    return replace(facts, value=event.value, message=event.message, rule_version=event.rule_version)


def _unanswered(facts: Facts, event: AlertEvent) -> Facts:
    """Take the acknowledgement away: something new asks for attention."""
    asking = replace(
        facts,
        is_acknowledged=False,
        acknowledged_by=None,
        acknowledged_at=None,
        acknowledge_comment=None,
        acknowledged_event_id=None,
        attention_event_id=event.event_id,
    )
    return _timed(asking, event.observed_at)


def _acknowledged(facts: Facts, event: AlertEvent) -> Facts:
    answered = replace(
        facts,
        is_acknowledged=True,
        acknowledged_by=event.actor_user_id,
        acknowledged_at=event.observed_at,
        acknowledge_comment=event.comment,
        acknowledged_event_id=event.acknowledged_event_id,
    )
    return _timed(answered, event.observed_at)


def _timed(facts: Facts, at: datetime) -> Facts:
    """Start the re-alarm timer of a standing alert anew."""
    if not facts.is_active or facts.realarm_after_s is None:
        return replace(facts, realarm_at=None)
    return replace(facts, realarm_at=at + timedelta(seconds=facts.realarm_after_s))


def _severity_changed(facts: Facts, event: AlertEvent) -> Facts:
    changed = replace(_told(facts, event), severity=event.severity)
    return _unanswered(changed, event) if event.severity.rank > facts.severity.rank else changed


def _cleared(facts: Facts, event: AlertEvent) -> Facts:
    return replace(
        facts, is_active=False, condition_holds=False, cleared_at=event.observed_at, realarm_at=None
    )


def _shelved(facts: Facts, event: AlertEvent) -> Facts:
    return replace(
        facts, shelved_until=event.until, shelved_by=event.actor_user_id, shelve_reason=event.comment
    )


def _unshelved(facts: Facts, event: AlertEvent) -> Facts:
    shown = replace(facts, shelved_until=None, shelved_by=None, shelve_reason=None)
    return _timed(shown, event.observed_at)


_STEPS: dict[EventKind, Callable[[Facts, AlertEvent], Facts]] = {
    EventKind.RAISED: _raised,
    EventKind.SEVERITY_CHANGED: _severity_changed,
    EventKind.RETURNED: lambda facts, event: replace(facts, condition_holds=False),
    EventKind.CLEARED: _cleared,
    EventKind.REALARMED: lambda facts, event: replace(_unanswered(facts, event), realarm_at=event.until),
    EventKind.ACKNOWLEDGED: _acknowledged,
    EventKind.COMMENTED: lambda facts, event: facts,
    EventKind.SHELVED: _shelved,
    EventKind.UNSHELVED: _unshelved,
    EventKind.SUPPRESSED: lambda facts, event: replace(facts, suppressed_by=event.suppressed_by),
    EventKind.UNSUPPRESSED: lambda facts, event: replace(facts, suppressed_by=None),
    EventKind.OUT_OF_SERVICE: lambda facts, event: replace(facts, is_out_of_service=True),
    EventKind.IN_SERVICE: lambda facts, event: replace(facts, is_out_of_service=False),
}
