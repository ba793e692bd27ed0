"""What a metric is: its kind and how it may be named."""

import unicodedata
from enum import StrEnum
from functools import lru_cache

MAX_METRIC_NAME_CHARS = 64


class MetricKind(StrEnum):
    """How the values of a metric relate to each other.

    A gauge goes up and down (temperature), a counter only grows until it is reset or rolls over
    (energy, run hours), a state takes few distinct values (running, mode).
    """

    GAUGE = "gauge"
    COUNTER = "counter"
    STATE = "state"


def metric_name(text: str) -> str | None:
    """Return the name in its one spelling (Unicode NFC), or None where it cannot name a metric.

    A name has 1 to 64 printable characters and no space at either end. `/` may separate parts, as
    in Sparkplug and OPC UA names, but no part is empty, `.` or `..`, so that a name survives as the
    tail of a URL. Everything else that devices send as a key is accepted, spaces included.
    """
    # Looked at before the cache: a hostile payload must not pin long texts in memory. NFC never
    # needs more than three code points for one, so anything longer cannot become short enough.
    if not 0 < len(text) <= 3 * MAX_METRIC_NAME_CHARS:
        return None
    return _checked_name(text)


@lru_cache(maxsize=8192)
def _checked_name(text: str) -> str | None:
    name = unicodedata.normalize("NFC", text)
    if len(name) > MAX_METRIC_NAME_CHARS or not name.isprintable() or name != name.strip():
        return None
    if any(part in {"", ".", ".."} for part in name.split("/")):
        return None
    return name
