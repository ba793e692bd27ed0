"""What becomes of a notification after an attempt to deliver it: done, again soon, again later, or never."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Failure(StrEnum):
    """Why an attempt got no answer; the names are what users see, without an address or a raw error."""

    REFUSED = "refused"
    """The target is not one that this deployment talks to."""
    UNRESOLVED = "unresolved"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    TLS = "tls"
    PROTOCOL = "protocol"
    TOO_LARGE = "too_large"
    """The notification itself is larger than may be sent."""
    REJECTED = "rejected"
    """The receiver says that it will never take this notification."""


class Verdict(StrEnum):
    """The class of retry that an answer asks for."""

    DELIVERED = "delivered"
    RETRY = "retry"
    """Probably transient: quick retries first."""
    REPAIR = "repair"
    """Somebody has to put something right first: no quick retries, the slow lane only."""
    DEAD = "dead"
    """No attempt will ever succeed."""
    GONE = "gone"
    """The receiver wants no further notifications at all (410)."""


_TRANSIENT_STATUSES = frozenset({408, 425, 429})
_QUICK_DELAYS_S = (1.0, 4.0, 16.0)
_SLOW_DELAYS_S = (60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14_400.0, 28_800.0)
_JITTER_RATIO = 0.2


def verdict(status: int | None, failure: Failure | None) -> Verdict:
    """Classify one attempt by its HTTP status, or by its failure where there is no answer."""
    if failure is not None or status is None:
        if failure in {Failure.TOO_LARGE, Failure.REJECTED}:
            return Verdict.DEAD
        return Verdict.REPAIR if failure in {Failure.REFUSED, Failure.TLS} else Verdict.RETRY
    if 200 <= status < 300:
        return Verdict.DELIVERED
    if status == 410:
        return Verdict.GONE
    if status in _TRANSIENT_STATUSES or status >= 500:
        return Verdict.RETRY
    return Verdict.REPAIR


@dataclass(frozen=True, slots=True)
class Tried:
    """A notification after one more attempt.

    Attributes:
        attempts: How many there were, this one included.
        age: Since the notification was written or last replayed.
        retry_after_s: What the receiver asked for, if anything.
    """

    verdict: Verdict
    attempts: int
    age: timedelta
    retry_after_s: float | None = None


def retry_delay(tried: Tried, *, jitter: float, give_up_after: timedelta) -> timedelta | None:
    """How long to wait before the next attempt; None where there is none any more.

    Three quick retries (1, 4, 16 s), then a slow lane until `give_up_after`; what needs repair starts in the
    slow lane. `jitter` lies in [0, 1) and adds up to a fifth. A receiver's Retry-After is a lower bound.
    """
    if tried.verdict not in {Verdict.RETRY, Verdict.REPAIR}:
        return None
    delays = _SLOW_DELAYS_S if tried.verdict is Verdict.REPAIR else _QUICK_DELAYS_S + _SLOW_DELAYS_S
    seconds = delays[min(tried.attempts, len(delays)) - 1] * (1 + _JITTER_RATIO * jitter)
    delay = timedelta(seconds=max(seconds, tried.retry_after_s or 0.0))
    left = give_up_after - tried.age
    if left <= timedelta(0):
        return None
    # The last attempt lies at the end of the time, not beyond it.
    return min(delay, left)
