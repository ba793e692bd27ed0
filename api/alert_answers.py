"""What the alert routes answer, for the document."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

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


class EvidenceReadingAnswer(Answer):
    """A reading that was there when it was decided."""

    device_id: Annotated[str, Field(examples=["P-103"])]
    metric: Annotated[str, Field(examples=["bearing_temperature"])]
    unit: Annotated[str, Field(examples=["°C"])]
    observed_at: datetime
    value: float
    quality: Literal["good", "uncertain", "bad"]


class TimerAnswer(Answer):
    """What time alone will do to the alert."""

    name: Literal["shelving_ends", "realarms"]
    due_at: datetime


class ExplanationAnswer(Answer):
    """Why the alert says what it says."""

    summary: _Message
    rule_version: int | None
    observed_at: datetime | None
    value: _Value | None
    sql: Annotated[str, Field(description="Reads the same readings again.", examples=["SELECT 1"])] | None
    parameters: dict[str, Any]
    readings: list[EvidenceReadingAnswer]
    timers: list[TimerAnswer]


class AcknowledgedAnswer(Answer):
    """The alerts as they are now, and those of the ids that nothing has."""

    items: list[AlertAnswer]
    missing: list[str]


class RaisedInAnswer(Answer):
    """How many alerts were raised from a moment on."""

    start: datetime
    raised: int


class PeakAnswer(Answer):
    """The most alerts that were raised within ten minutes, and when the last of them was."""

    raised: int
    at: datetime | None


class FloodAnswer(Answer):
    """Time in which ten alerts or more lay within ten minutes."""

    periods: int
    time_s: float
    ratio: Annotated[float, Field(description="Of the whole time.", examples=[0.004])]


class TopSourceAnswer(Answer):
    """One of the ten rules, or kinds of a device's own alerts, that raise the most."""

    source: Annotated[str, Field(examples=["device:E-17"])]
    rule_id: str | None
    rule_name: str | None
    raised: int
    share: float


class _ListedAnswer(Answer):
    alert_id: str
    source: Annotated[str, Field(examples=["device:E-17"])]
    device_id: _Device | None


class ChatteringAnswer(_ListedAnswer):
    """An alert that was raised three times or more within a minute, `bursts` times."""

    raised: int
    bursts: int


class FleetingAnswer(Answer):
    """Alerts that cleared within a minute: nobody can have done anything about them."""

    occurrences: int
    ratio: float | None


class StaleAnswer(_ListedAnswer):
    """An alert that has been standing for more than 24 hours."""

    severity: Severity
    raised_at: datetime


class ShelvedAnswer(_ListedAnswer):
    """An alert that is shelved."""

    until: datetime
    reason: Annotated[str, Field(examples=["being repaired"])]
    shelved_by: _Email


class SeverityShareAnswer(Answer):
    """How much of what was raised has a severity."""

    severity: Severity
    raised: int
    share: float | None


class DurationAnswer(Answer):
    """How long something took; `n` are those that are over."""

    n: int
    median: float | None
    p95: float | None


class TargetAnswer(Answer):
    """What a standard asks for."""

    figure: Annotated[str, Field(examples=["per_hour"])]
    at_most: Annotated[float, Field(examples=[6])]
    source: Annotated[str, Field(examples=["ISA-18.2, very likely acceptable"])]


class AlertKpisAnswer(Answer):
    """The figures of alarm management over `[start, stop)`."""

    start: datetime
    stop: datetime
    raised: int
    per_hour: float
    per_day: float
    by_hour: Annotated[list[RaisedInAnswer], Field(description="Hours without any are left out.")]
    by_day: list[RaisedInAnswer]
    peak_10_min: PeakAnswer
    flood: FloodAnswer
    top_sources: list[TopSourceAnswer]
    top_sources_share: float | None
    chattering: list[ChatteringAnswer]
    fleeting: FleetingAnswer
    standing: int
    stale: list[StaleAnswer]
    shelved: list[ShelvedAnswer]
    by_severity: list[SeverityShareAnswer]
    time_to_acknowledge_s: DurationAnswer
    time_to_clear_s: DurationAnswer
    targets: list[TargetAnswer]
