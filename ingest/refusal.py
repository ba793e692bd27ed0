"""Why something is not stored."""

from __future__ import annotations


class Refused(Exception):
    """One message or reading that becomes a dead letter: a reason code, and a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")
