"""What hides an alert by design: a device above it that is down, or planned maintenance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from domain.transition import Severity


@dataclass(frozen=True, slots=True)
class Standing:
    """One device as its children's alerts look at it.

    Attributes:
        worst_rank: Rank of the worst severity that stands on it; None where nothing does.
    """

    device_key: int
    device_id: str
    is_offline: bool
    worst_rank: int | None


def suppressing_device(ancestors: Sequence[Standing], severity: Severity) -> str | None:
    """What suppresses a new alert of this severity: the nearest ancestor that explains it.

    An ancestor that is offline explains everything below it. One with a standing alert of `high` or worse
    explains what is not worse than that alert: a critical alert never hides behind a lesser one.
    """
    for ancestor in ancestors:
        worst = ancestor.worst_rank
        is_explained = worst is not None and worst >= max(Severity.HIGH.rank, severity.rank)
        if ancestor.is_offline or is_explained:
            return f"device:{ancestor.device_id}"
    return None
