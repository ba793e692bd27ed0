"""One batch in the making: judge every message and reading, collect rows, dead letters and what to tell.

A `Batch` lives inside one database transaction. It asks the database only for devices and metrics that the
registry does not know yet, and once for the messages that may be redeliveries.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from domain.alert_decision import Signal
from domain.reading import Quality
from ingest.buffer import Item, Message, Submission
from ingest.decode import Record, decode_object, decode_storable_object, decode_telemetry, timestamp_us
from ingest.device_alert import DeviceAlert, read_device_alert
from ingest.device_event import store_event
from ingest.judgement import number_of, part_of, quality_code, unit_spelling, value_in
from ingest.letters import READING_TOPIC, Letters, Origin, as_payload
from ingest.limits import IngestLimits
from ingest.lookup import Lookup
from ingest.refusal import Refused
from ingest.registry import DeviceRef, MetricRef, Registry
from ingest.submission import Offer, Rejection
from ingest.topics import Topic, TopicLayout
from storage import ingest as sql
from storage.binary_rows import ReadingColumns
from storage.pool import Cursor

_GOOD = int(Quality.GOOD)
_SEEN_EVERY_US = 10_000_000
_NUMBERS = {float, int}


@dataclass(slots=True)
class SubmissionSlots:
    """Which rows of the batch belong to a submission: (offer index, row place), and what was refused."""

    submission: Submission
    places: list[tuple[int, int]] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Span:
    """Rows `start` to `stop` (excluded) of a device, from one message or one offer."""

    device: DeviceRef
    start: int
    stop: int
    is_message: bool


@dataclass(frozen=True, slots=True)
class Delivery:
    """A telemetry message with its topic; `is_single` says that it holds one reading."""

    message: Message
    topic: Topic
    is_single: bool


@dataclass(frozen=True, slots=True)
class Intake:
    """What every batch is judged by; `client_id` names the broker session that message ids belong to."""

    registry: Registry
    limits: IngestLimits
    layout: TopicLayout
    client_id: str


class Batch:
    """Rows, dead letters and device facts of one transaction."""

    def __init__(self, cursor: Cursor, items: list[Item], intake: Intake) -> None:
        self.columns = ReadingColumns([], [], [], [], [], [])
        self.metrics: list[MetricRef] = []
        self.spans: list[Span] = []
        self.letters = Letters(payload_bytes=intake.limits.message_bytes)
        self.statuses: dict[int, tuple[DeviceRef, int, str]] = {}
        self.submissions: list[SubmissionSlots] = []
        self.signals: list[Signal] = []
        self.may_repeat = False
        self._cursor = cursor
        self._items = items
        self._registry = intake.registry
        self._lookup = Lookup(cursor, intake.registry, intake.limits)
        self._limits = intake.limits
        self._layout = intake.layout
        self._client_id = intake.client_id
        self._untimed: dict[int, bytes] = {}
        self._stored_before: set[tuple[int, bytes]] | None = None

    def add_all(self) -> None:
        """Judge every item, in order, and remember the messages that carry no time."""
        for item in self._items:
            if isinstance(item, Message):
                self.add_message(item)
            elif isinstance(item, Submission):
                self.add_submission(item)
            else:
                sql.forget_messages(self._cursor, item.client_id)
                self._untimed.clear()
                self._stored_before = set()
        if self._untimed:
            sql.remember_messages(self._cursor, self._client_id, list(self._untimed.items()))

    def refuse_all(self, verdict: Refused) -> None:
        """Make dead letters of the messages, whatever they hold."""
        for item in self._items:
            if isinstance(item, Message):
                self.refuse_message(item, verdict, topic=self._layout.parse(item.topic))

    # Items -----------------------------------------------------------------------------------------

    def add_message(self, message: Message) -> None:
        """Judge one message; whatever is wrong with it becomes dead letters, never an exception."""
        self.may_repeat = self.may_repeat or message.is_redelivery
        topic = self._layout.parse(message.topic)
        try:
            if topic is None:
                raise Refused("unknown_topic", "the topic is none of the platform's inbound topics")
            if len(message.payload) > self._limits.message_bytes:
                raise Refused("too_large", f"the payload has more than {self._limits.message_bytes} bytes")
            if topic.kind == "telemetry":
                self._add_telemetry(message, topic)
            elif topic.kind == "status":
                self._add_status(message, topic)
            else:
                self._add_event(message, topic)
        except Refused as problem:
            self.refuse_message(message, problem, topic=topic)

    def add_submission(self, submission: Submission) -> None:
        """Judge the offers of an HTTP request one by one."""
        self.may_repeat = True
        slots = SubmissionSlots(submission)
        self.submissions.append(slots)
        for index, offer in enumerate(submission.offers):
            try:
                place = self._add_offer(submission, offer)
            except Refused as problem:
                slots.rejected.append(Rejection(index, problem.reason, problem.detail))
                self._refuse_offer(submission, offer, problem)
            else:
                slots.places.append((index, place))

    # Messages --------------------------------------------------------------------------------------

    def _add_telemetry(self, message: Message, topic: Topic) -> None:
        records = decode_telemetry(message.payload)
        if sum(len(record.values) for record in records) > self._limits.message_readings:
            raise Refused(
                "too_many_readings", f"more than {self._limits.message_readings} readings in one message"
            )
        if any(record.observed_at_us is None for record in records) and self._is_repeat(message):
            return
        device = self._lookup.device(topic.tenant, topic.device)
        start = len(self.columns)
        delivery = Delivery(message, topic, is_single=len(records) == len(records[0].values) == 1)
        for place, record in enumerate(records):
            self._add_record(device, record, delivery, place)
        if len(self.columns) > start:
            self.spans.append(Span(device, start, len(self.columns), is_message=True))
            self._note_seen(device, message.received_at_us)

    def _is_repeat(self, message: Message) -> bool:
        """Whether a message that names no time was stored before; else it is remembered."""
        if message.is_retained:
            raise Refused("retained_without_time", "a retained message needs ts: its age is unknown")
        if message.is_redelivery and self._was_stored(message):
            return True
        self._untimed[message.mid] = _payload_hash(message)
        return False

    def _was_stored(self, message: Message) -> bool:
        """Whether this redelivery is in the batch or was committed before; asked once for the batch."""
        if self._untimed.get(message.mid) == _payload_hash(message):
            return True
        if self._stored_before is None:
            offered = {
                (item.mid, _payload_hash(item))
                for item in self._items
                if isinstance(item, Message) and item.is_redelivery
            }
            self._stored_before = sql.redelivered(self._cursor, self._client_id, list(offered))
        return (message.mid, _payload_hash(message)) in self._stored_before

    def _add_record(self, device: DeviceRef, record: Record, delivery: Delivery, place: int) -> None:
        received_at_us = delivery.message.received_at_us
        observed_at_us = record.observed_at_us
        if observed_at_us is None:
            observed_at_us = self._registry.arrival_us(device.device_key, received_at_us)
        elif refused := self._limits.time_refusal(observed_at_us, received_at_us):
            for name in record.values:
                self._refuse_reading(delivery, record, name, refused, place=place, at_us=observed_at_us)
            return
        values = record.values
        if not values.keys() <= device.metrics.keys():
            self._lookup.register_ahead(device, record)
        is_plain = record.unit is None and (record.quality is None or record.quality == "good")
        if (
            is_plain
            and values.keys() <= device.metrics.keys()
            and set(map(type, values.values())) <= _NUMBERS
        ):
            self._add_plain(device, values, observed_at_us, received_at_us)
            return
        for name, value in values.items():
            try:
                metric, number, quality = self._judge(device, name, value, record.quality, record.unit)
            except Refused as refused:
                self._refuse_reading(delivery, record, name, refused, place=place, at_us=observed_at_us)
            else:
                self._add_row(device, metric, number, quality, observed_at_us, received_at_us)

    def _add_plain(
        self, device: DeviceRef, values: dict[str, float], observed_at_us: int, received_at_us: int
    ) -> None:
        """Add good values of known metrics in their own unit, without a step per reading."""
        count = len(values)
        columns = self.columns
        metrics = [device.metrics[name] for name in values]
        columns.observed_at_us.extend([observed_at_us] * count)
        columns.values.extend(map(float, values.values()))
        columns.received_at_us.extend([received_at_us] * count)
        columns.metric_ids.extend([metric.metric_id for metric in metrics])
        columns.tenant_ids.extend([device.tenant_id] * count)
        columns.qualities.extend([_GOOD] * count)
        self.metrics.extend(metrics)

    def _add_row(
        self,
        device: DeviceRef,
        metric: MetricRef,
        number: float,
        quality: int,
        observed_at_us: int,
        received_at_us: int,
    ) -> None:
        columns = self.columns
        columns.observed_at_us.append(observed_at_us)
        columns.values.append(number)
        columns.received_at_us.append(received_at_us)
        columns.metric_ids.append(metric.metric_id)
        columns.tenant_ids.append(device.tenant_id)
        columns.qualities.append(quality)
        self.metrics.append(metric)

    def _add_status(self, message: Message, topic: Topic) -> None:
        status = decode_object(message.payload).get("status")
        if status not in ("online", "offline"):
            raise Refused("invalid_status", 'status is "online" or "offline"')
        device = self._lookup.device(topic.tenant, topic.device)
        self.statuses[device.device_key] = (device, message.received_at_us, str(status))

    def _add_event(self, message: Message, topic: Topic) -> None:
        document = decode_storable_object(message.payload)
        alert = read_device_alert(document) if topic.kind == "alerts" else None
        if alert is not None and alert.observed_at_us is None and self._is_repeat(message):
            return
        device = self._lookup.device(topic.tenant, topic.device)
        if alert is not None:
            self._add_signal(message, device, alert)
        store_event(self._cursor, device, message, topic, document)

    def _add_signal(self, message: Message, device: DeviceRef, alert: DeviceAlert) -> None:
        at_us = alert.observed_at_us
        if at_us is None:
            at_us = self._registry.arrival_us(device.device_key, message.received_at_us)
        elif refused := self._limits.time_refusal(at_us, message.received_at_us):
            raise refused
        self.signals.append(alert.signal(device, at_us))

    # Offers ----------------------------------------------------------------------------------------

    def _add_offer(self, submission: Submission, offer: Offer) -> int:
        device = self._lookup.device(submission.tenant_slug, offer.device_id)
        received_at_us = submission.received_at_us
        observed_at_us = received_at_us if offer.ts is None else timestamp_us(offer.ts)
        refused = self._limits.time_refusal(
            observed_at_us, received_at_us, is_backfill=submission.is_backfill
        )
        if refused:
            raise refused
        metric, number, quality = self._judge(device, offer.metric, offer.value, offer.quality, offer.unit)
        place = len(self.columns)
        self._add_row(device, metric, number, quality, observed_at_us, received_at_us)
        self.spans.append(Span(device, place, place + 1, is_message=False))
        if not submission.is_backfill:
            self._note_seen(device, received_at_us)
        return place

    # Readings --------------------------------------------------------------------------------------

    def _judge(
        self, device: DeviceRef, name: Any, value: Any, quality: Any, unit: Any
    ) -> tuple[MetricRef, float, int]:
        number = number_of(value)
        code = quality_code(part_of(quality, name))
        spelling = unit_spelling(part_of(unit, name))
        metric = self._lookup.metric(device, name, value=value, unit=spelling)
        return metric, value_in(metric, value, number, unit=spelling), code

    def _note_seen(self, device: DeviceRef, received_at_us: int) -> None:
        noted = self.statuses.get(device.device_key)
        status = device.status if noted is None else noted[2]
        if received_at_us - device.last_seen_us > _SEEN_EVERY_US or status != "online":
            self.statuses[device.device_key] = (device, received_at_us, "online")

    # Dead letters ----------------------------------------------------------------------------------

    def refuse_message(self, message: Message, problem: Refused, *, topic: Topic | None) -> None:
        """Make a dead letter of a whole message."""
        self.letters.add(self._origin(message, topic), problem, message.payload)

    def _refuse_reading(
        self, delivery: Delivery, record: Record, name: str, problem: Refused, *, place: int, at_us: int
    ) -> None:
        """Make a dead letter of one reading of a message.

        Of several readings in a message each keeps itself only: a thousand times the whole message would be
        a thousand times too much.
        """
        message = delivery.message
        origin = self._origin(message, delivery.topic)
        if delivery.is_single:
            self.letters.add(origin, problem, message.payload, metric=name)
            return
        quality, unit = part_of(record.quality, name), part_of(record.unit, name)
        offer = Offer(delivery.topic.device, name, at_us / 1000, record.values[name], quality, unit)
        # Without a time of its own it comes again with another time of arrival.
        told_by = b"%d %b" % (place, message.payload) if record.observed_at_us is None else None
        self.letters.add(
            replace(origin, topic=READING_TOPIC), problem, as_payload(offer), metric=name, told_by=told_by
        )

    def refuse_conflict(self, place: int, stored_value: float) -> None:
        """Make a dead letter of a row whose key is stored with another value."""
        span = next(span for span in self.spans if span.start <= place < span.stop)
        device = span.device
        metric, columns = self.metrics[place], self.columns
        reading = {
            "device_id": device.device_id,
            "metric": metric.name,
            "ts": columns.observed_at_us[place] / 1000,
            "value": columns.values[place],
            "quality": Quality(columns.qualities[place]).word,
        }
        origin = Origin(
            device.tenant_id,
            "mqtt" if span.is_message else "http",
            READING_TOPIC,
            device.device_id,
            columns.received_at_us[place],
        )
        problem = Refused("conflict", f"the value {stored_value!r} is stored for the same time; it stays")
        self.letters.add(origin, problem, orjson.dumps(reading), metric=metric.name)

    def _refuse_offer(self, submission: Submission, offer: Offer, problem: Refused) -> None:
        origin = Origin(
            submission.tenant_id, "http", READING_TOPIC, offer.device_id, submission.received_at_us
        )
        self.letters.add(origin, problem, as_payload(offer), metric=offer.metric)

    def _origin(self, message: Message, topic: Topic | None) -> Origin:
        tenant_id = None if topic is None else self._lookup.tenant_id(topic.tenant)
        device_id = None if topic is None else topic.device
        return Origin(tenant_id, "mqtt", message.topic, device_id, message.received_at_us)


def newest_places(columns: ReadingColumns, unstored: Mapping[int, float]) -> list[int]:
    """For each metric the place of its newest stored reading; of equal times the first."""
    newest: dict[int, int] = {}
    times = columns.observed_at_us
    for place, metric_id in enumerate(columns.metric_ids):
        best = newest.get(metric_id)
        if best is None or times[place] > times[best]:
            newest[metric_id] = place
    if unstored:
        return [place for place in newest.values() if place not in unstored]
    return list(newest.values())


def _payload_hash(message: Message) -> bytes:
    return hashlib.sha256(message.payload).digest()
