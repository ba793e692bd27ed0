"""What is published in a chaos run: message n of a publisher is known to everybody who knows n."""

from collections.abc import Sequence
from dataclasses import dataclass

TIMED_METRIC = "level"
UNTIMED_METRIC = "pulse"
# One message in so many carries no time, so that the platform cannot recognise it by its key.
UNTIMED_EVERY = 10


@dataclass(frozen=True, slots=True)
class Stream:
    """The messages of one publisher.

    Attributes:
        devices: Ids of its devices, which no other publisher has.
        base_ms: Time of message 0; message n is n milliseconds later.
    """

    devices: Sequence[str]
    base_ms: int

    def device(self, index: int) -> str:
        """Return the device of a message."""
        return self.devices[index % len(self.devices)]

    def is_untimed(self, index: int) -> bool:
        """Tell whether a message carries no time; the turns pass over the devices evenly."""
        turn, place = divmod(index, len(self.devices))
        return (turn + place) % UNTIMED_EVERY == UNTIMED_EVERY - 1

    def payload(self, index: int) -> bytes:
        """Return a message's payload."""
        if self.is_untimed(index):
            return b'{"%s":%d}' % (UNTIMED_METRIC.encode(), index)
        value = repr(timed_value(index)).encode()
        return b'{"ts":%d,"values":{"%s":%s}}' % (self.base_ms + index, TIMED_METRIC.encode(), value)


def timed_value(index: int) -> float:
    """Return the value of a message that carries a time: not in step with it, and exact in binary."""
    return index * 7919 % 1_000_003 + 0.25
