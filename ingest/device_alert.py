"""Alerts that devices raise themselves: `{severity, message, code, status, ts, value}`, read strictly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from domain.alert_decision import Signal
from domain.transition import Severity, TransitionKind
from ingest.decode import timestamp_us
from ingest.refusal import Refused
from ingest.registry import DeviceRef

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_CODE_CHARS = 128
_MAX_MESSAGE_CHARS = 1000
_KINDS = {"raised": TransitionKind.RAISED, "cleared": TransitionKind.CLEARED}


@dataclass(frozen=True, slots=True)
class DeviceAlert:
    """What a device says about one of its alerts.

    Attributes:
        code: Which of the device's alerts it is; empty where the device has but one.
        observed_at_us: Microseconds since 1970 UTC; None where the device names no time.
    """

    code: str
    kind: TransitionKind
    severity: Severity
    message: str
    value: float | None
    observed_at_us: int | None

    def signal(self, device: DeviceRef, at_us: int) -> Signal:
        """What it means for the device's alert, as of `at_us`."""
        return Signal(
            tenant_id=device.tenant_id,
            source=f"device:{self.code}",
            kind=self.kind,
            severity=self.severity,
            observed_at=_EPOCH + timedelta(microseconds=at_us),
            message=self.message,
            device_key=device.device_key,
            value=self.value,
        )


def read_device_alert(document: Mapping[str, Any]) -> DeviceAlert:
    """Read the payload of the `alerts` topic; fields beyond those above are the device's own.

    Raises:
        Refused: A field is missing or wrong.
    """
    status = document.get("status", "raised")
    if not isinstance(status, str) or status not in _KINDS:
        raise _invalid('status is "raised" or "cleared"')
    kind = _KINDS[status]
    return DeviceAlert(
        code=_code(document),
        kind=kind,
        severity=_severity(document.get("severity"), kind),
        message=_message(document.get("message"), kind),
        value=_value(document.get("value")),
        observed_at_us=timestamp_us(document["ts"]) if "ts" in document else None,
    )


def _code(document: Mapping[str, Any]) -> str:
    names = [name for name in ("code", "key") if name in document]
    if len(names) > 1:
        raise _invalid("code and key are two names of one thing: send one of them")
    code = document[names[0]] if names else ""
    if not isinstance(code, str) or len(code) > _MAX_CODE_CHARS or not code.isprintable():
        raise _invalid(f"code is a text of at most {_MAX_CODE_CHARS} printable characters")
    return code


def _severity(given: object, kind: TransitionKind) -> Severity:
    if given is None and kind is TransitionKind.CLEARED:
        return Severity.INFO
    if not isinstance(given, str) or given not in set(Severity):
        raise _invalid(f"severity is one of {', '.join(Severity)}")
    return Severity(given)


def _message(given: object, kind: TransitionKind) -> str:
    if given is None and kind is TransitionKind.CLEARED:
        return ""
    if not isinstance(given, str) or not given.strip() or len(given) > _MAX_MESSAGE_CHARS:
        raise _invalid(f"message is a text of 1 to {_MAX_MESSAGE_CHARS} characters")
    return given


def _value(given: object) -> float | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise _invalid("value is a number")
    try:
        value = float(given)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise _invalid("value is too large")
    return value


def _invalid(detail: str) -> Refused:
    return Refused("invalid_alert", detail)
