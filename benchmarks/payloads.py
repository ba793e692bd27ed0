"""The messages of the benchmarks, encoded before anything is measured."""

from dataclasses import dataclass

from tools.chaos.wire import publish_packet

DEVICES = 100
METRICS = 10
# Records of a message with 100 readings: ten moments of ten metrics.
_RECORDS = 10
TOPIC = "iiot/v1/default/{}/telemetry"


@dataclass(frozen=True, slots=True)
class Load:
    """`messages` messages of `readings_each` (1, 10 or 100) readings, spread over `DEVICES` devices.

    Attributes:
        base_ms: Time of the first reading; each device's readings are a millisecond apart.
        topic: The topic, with `{}` for the device id.
    """

    readings_each: int
    messages: int
    base_ms: int
    topic: str = TOPIC

    @property
    def readings(self) -> int:
        """How many readings there are in all."""
        return self.readings_each * self.messages

    def payload(self, index: int) -> str:
        """Return message `index` as JSON."""
        turn = index // DEVICES
        if self.readings_each == 1:
            return record(self.base_ms + turn, turn, metrics=1)
        if self.readings_each == METRICS:
            return record(self.base_ms + turn, turn, metrics=METRICS)
        first = turn * _RECORDS
        moments = range(first, first + _RECORDS)
        return (
            "[" + ",".join(record(self.base_ms + moment, moment, metrics=METRICS) for moment in moments) + "]"
        )

    def last_ms(self) -> int:
        """Return the time of the last reading of the last message."""
        turn = (self.messages - 1) // DEVICES
        return self.base_ms + (turn if self.readings_each <= METRICS else turn * _RECORDS + _RECORDS - 1)

    def last_device(self) -> str:
        """Return the device of the last message."""
        return device_id((self.messages - 1) % DEVICES)

    def packets(self) -> list[bytes]:
        """Return all messages as PUBLISH packets at QoS 1."""
        return [
            publish_packet(
                self.topic.format(device_id(index % DEVICES)),
                self.payload(index).encode(),
                index % 65_000 + 1,
            )
            for index in range(self.messages)
        ]


def device_id(number: int) -> str:
    """Return a device's id."""
    return f"bench-{number:03d}"


def record(ts: float, turn: int, *, metrics: int) -> str:
    """Return one record; its values are no round numbers, as measurements are not."""
    values = ",".join(f'"m{metric}":{metric + turn * 0.001 + 0.0005:.4f}' for metric in range(metrics))
    return f'{{"ts":{ts!r},"values":{{{values}}}}}'
