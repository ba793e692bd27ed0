"""What a rule decided about a device: the step between evaluating rules and keeping alerts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """How bad it is, from `info` to `critical`."""

    INFO = "info"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for info to 4 for critical."""
        return list(Severity).index(self)


class TransitionKind(StrEnum):
    """What changed."""

    RAISED = "raised"
    CLEARED = "cleared"
    SEVERITY_CHANGED = "severity_changed"


@dataclass(frozen=True, slots=True)
class Transition:
    """One rule's state on one device changed.

    Attributes:
        rule_version: The version of the rule that decided.
        metric_id: The metric that the condition names first.
        severity: After the transition; for CLEARED the one it had.
        value: The value that decided, in the metric's unit; None where silence decided.
        observed_at: When it happened on the plant's clock: the reading's time, or the time a timer fell due;
            never the time at which a cycle happened to run. Aware UTC.
        message: A sentence for people.
    """

    tenant_id: int
    rule_id: str
    rule_version: int
    device_key: int
    metric_id: int | None
    kind: TransitionKind
    severity: Severity
    value: float | None
    observed_at: datetime
    message: str


@dataclass(frozen=True, slots=True)
class AlertChange:
    """One committed alert event with the alert as it is after it, as the API and the sockets show them."""

    tenant_id: int
    device_id: str
    alert: Mapping[str, Any]
    event: Mapping[str, Any]
