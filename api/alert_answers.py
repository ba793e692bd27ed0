"""What the alert routes answer, for the document."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from api.operations import Answer
from domain.alert import EventKind, State
from domain.transition import Severity

_Email = Annotated[str, Field(examples=["oskar@plant-a.example"])]
_Device = Annotated[str, Field(examples=["P-103"], description="null for an alert of the platform itself.")]
_Message = Annotated[str, Field(examples=["Bearing hot: 84.2 °C"])]
_Value = Annotated[float, Field(examples=[84.2], description="The value that decided.")]
_Suppressor = Annotated[str, Field(examples=["device:MCC-1"], description="What hides it by design.")]


class AlertAnswer(Answer):
    """An alert as it is: independent facts, and the state that follows from them."""

    alert_id: str
    source: Annotated[
        str,
        Field(
            examples=["device:E-17"],
            description="`rule:<rule_id>`, `device:<code>` of a device's own alert, or `platform:<name>`.",
        ),
    ]
    rule_id: str | None
    rule_name: Annotated[str, Field(examples=["Bearing hot"])] | None
    rule_version: Annotated[int, Field(description="Of the rule, as it decided last.")] | None
    device_id: _Device | None
    metric: Annotated[str, Field(examples=["bearing_temperature"])] | None
    severity: Severity
    state: State
    is_active: bool
    condition_holds: bool
    is_latched: bool
    is_acknowledged: bool
    acknowledged_by: _Email | None
    acknowledged_at: datetime | None
    acknowledge_comment: str | None
    acknowledged_event_id: int | None
    attention_event_id: (
        Annotated[
            int, Field(description="The newest event that asks to be acknowledged: send it as `event`.")
        ]
        | None
    )
    shelved_until: datetime | None
    shelve_reason: str | None
    suppressed_by: _Suppressor | None
    is_out_of_service: bool
    occurrence: Annotated[int, Field(description="Which raising of the alert this is, counted from 1.")]
    repeat_count: Annotated[
        int, Field(description="How often it has come back without a quiet of its flap window.")
    ]
    raised_at: datetime | None
    cleared_at: datetime | None
    realarm_at: datetime | None
    value: _Value | None
    message: _Message


class AlertEventAnswer(Answer):
    """One entry of the journal of alerts."""

    alert_event_id: int
    alert_id: str
    device_id: _Device | None
    kind: EventKind
    observed_at: Annotated[datetime, Field(description="When it happened, by the plant's clock.")]
    recorded_at: Annotated[datetime, Field(description="When the platform heard of it.")]
    severity: Severity
    value: _Value | None
    message: _Message
    rule_version: int | None
    occurrence: int
    repeat_count: int
    actor: Annotated[str, Field(examples=["oskar@plant-a.example"], description="Or `system`.")]
    comment: str
    until: datetime | None
    suppressed_by: _Suppressor | None
    acknowledged_event_id: int | None


class AcknowledgedAnswer(Answer):
    """The alerts as they are now, and those of the ids that nothing has."""

    items: list[AlertAnswer]
    missing: list[str]
