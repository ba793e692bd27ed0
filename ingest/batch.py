"""One batch in the making: judge every message and reading, collect rows, dead letters and what to tell.

A `Batch` lives inside one database transaction. It asks the database only for devices and metrics that the
registry does not know yet, and once for the messages that may be redeliveries.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from domain.identifier import is_device_id
from domain.metric import MetricKind, metric_name
from domain.reading import QUALITY_OF_WORD, Quality
from domain.unit import MAX_UNIT_CHARS, UnitMismatch, canonical, converter
from ingest.buffer import Item, Message, Submission
from ingest.decode import (
    Record,
    Undecodable,
    decode_object,
    decode_telemetry,
    looks_like_seconds,
    timestamp_us,
)
from ingest.limits import IngestLimits
from ingest.registry import DeviceRef, MetricRef, Registry
from ingest.submission import Offer, Rejection
from ingest.topics import Topic, TopicLayout
from storage import ingest as sql
from storage.binary_rows import ReadingColumns
from storage.ingest import DeadLetter
from storage.pool import Cursor

_GOOD = int(Quality.GOOD)
_SEEN_EVERY_US = 10_000_000
_NUMBERS = {float, int}

# The topic of a dead letter that holds one reading in the form of POST /telemetry.
READING_TOPIC = "reading"


class Refused(Exception):
    """One message or reading that becomes a dead letter."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


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
class Origin:
    """Where a dead letter comes from."""

    tenant_id: int | None
    source: str
    topic: str
    device_id: str | None
    received_at_us: int


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
        self.letters: dict[tuple[int | None, bytes], DeadLetter] = {}
        self.statuses: dict[int, tuple[DeviceRef, int, str]] = {}
        self.submissions: list[SubmissionSlots] = []
        self.may_repeat = False
        self._cursor = cursor
        self._items = items
        self._registry = intake.registry
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
                topic = self._layout.parse(item.topic)
                self.refuse_message(item, reason=verdict.reason, detail=verdict.detail, topic=topic)

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
        except (Refused, Undecodable) as problem:
            self.refuse_message(message, reason=problem.reason, detail=problem.detail, topic=topic)

    def add_submission(self, submission: Submission) -> None:
        """Judge the offers of an HTTP request one by one."""
        self.may_repeat = True
        slots = SubmissionSlots(submission)
        self.submissions.append(slots)
        for index, offer in enumerate(submission.offers):
            try:
                place = self._add_offer(submission, offer)
            except (Refused, Undecodable) as problem:
                slots.rejected.append(Rejection(index, problem.reason, problem.detail))
                self._refuse_offer(submission, offer, problem.reason, problem.detail)
            else:
                slots.places.append((index, place))

    # Messages --------------------------------------------------------------------------------------

    def _add_telemetry(self, message: Message, topic: Topic) -> None:
        records = decode_telemetry(message.payload)
        if sum(len(record.values) for record in records) > self._limits.message_readings:
            raise Refused(
                "too_many_readings", f"more than {self._limits.message_readings} readings in one message"
            )
        if any(record.observed_at_us is None for record in records):
            if message.is_retained:
                raise Refused("retained_without_time", "a retained message needs ts: its age is unknown")
            if message.is_redelivery and self._was_stored(message):
                return
            self._untimed[message.mid] = _payload_hash(message)
        device = self._device(topic.tenant, topic.device)
        start = len(self.columns)
        for record in records:
            self._add_record(device, record, message, topic)
        if len(self.columns) > start:
            self.spans.append(Span(device, start, len(self.columns), is_message=True))
            self._note_seen(device, message.received_at_us)

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

    def _add_record(self, device: DeviceRef, record: Record, message: Message, topic: Topic) -> None:
        received_at_us = message.received_at_us
        observed_at_us = record.observed_at_us
        if observed_at_us is None:
            observed_at_us = self._registry.arrival_us(device.device_key, received_at_us)
        elif problem := self._limits.time_problem(observed_at_us, received_at_us):
            for name in record.values:
                self._refuse_reading(message, topic, name, *self._time_refusal(problem, observed_at_us))
            return
        values = record.values
        if not values.keys() <= device.metrics.keys():
            self._register_ahead(device, record)
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
                self._refuse_reading(message, topic, name, refused.reason, refused.detail)
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
        device = self._device(topic.tenant, topic.device)
        self.statuses[device.device_key] = (device, message.received_at_us, str(status))

    def _add_event(self, message: Message, topic: Topic) -> None:
        if b"\\u0000" in message.payload:
            raise Refused("nul_character", "the payload holds the character U+0000")
        document = decode_object(message.payload)
        device = self._device(topic.tenant, topic.device)
        sql.add_device_event(
            self._cursor,
            tenant_id=device.tenant_id,
            device_key=device.device_key,
            kind="alert" if topic.kind == "alerts" else "command_response",
            subject=topic.command_id or "",
            payload=orjson.dumps(document).decode(),
            fingerprint=_fingerprint(message.topic, message.payload),
            received_at_us=message.received_at_us,
        )

    # Offers ----------------------------------------------------------------------------------------

    def _add_offer(self, submission: Submission, offer: Offer) -> int:
        device = self._device(submission.tenant_slug, offer.device_id)
        received_at_us = submission.received_at_us
        observed_at_us = received_at_us if offer.ts is None else timestamp_us(offer.ts)
        problem = self._limits.time_problem(
            observed_at_us, received_at_us, is_backfill=submission.is_backfill
        )
        if problem:
            raise Refused(*self._time_refusal(problem, observed_at_us))
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
        if value.__class__ is bool:
            number = 1.0 if value else 0.0
        elif value.__class__ is int or value.__class__ is float:
            number = _double(value)
        elif value is None:
            raise Refused("null_value", "null is no value; leave the metric out, or send its quality as bad")
        else:
            raise Refused(
                "wrong_type", f"a value is a number, or true or false, not {value.__class__.__name__}"
            )
        if not math.isfinite(number):
            raise Refused("not_finite", "the value is too large for double precision, or no number")
        code = self._quality(quality, name)
        spelling = _spelling(unit, name)
        if spelling is not None and _unit_symbol(spelling) is None:
            raise Refused("invalid_unit", f"a unit is printable text of at most {MAX_UNIT_CHARS} characters")
        metric = device.metrics.get(name) or self._unknown_metric(device, name, value, spelling)
        if value.__class__ is bool and metric.kind is not MetricKind.STATE:
            raise Refused(
                "wrong_type", f"true or false is no value for a {metric.kind.value}; declare it as a state"
            )
        if spelling:
            try:
                convert = converter(spelling, metric.unit) if metric.unit else None
            except UnitMismatch as mismatch:
                raise Refused("unit_mismatch", str(mismatch)) from None
            number = convert(number) if convert else number
            if not math.isfinite(number):
                raise Refused("not_finite", f"the value is too large in {metric.unit}")
        return metric, number, code

    def _quality(self, quality: Any, name: str) -> int:
        word = quality.get(name) if quality.__class__ is dict else quality
        if word is None:
            return _GOOD
        code = QUALITY_OF_WORD.get(word) if word.__class__ is str else None
        if code is None:
            raise Refused("invalid_quality", 'quality is "good", "uncertain" or "bad"')
        return int(code)

    def _unknown_metric(self, device: DeviceRef, name: Any, value: Any, spelling: Any) -> MetricRef:
        checked = metric_name(name)
        if checked is None:
            raise Refused("invalid_metric_name", "a metric name has 1 to 64 printable characters")
        known = device.metrics.get(checked)
        if known is not None:
            return known
        if not self._limits.auto_register:
            raise Refused("unknown_metric", f"the device has no metric {checked!r}; register it first")
        if len(device.metrics) >= self._limits.metrics_per_device:
            raise Refused(
                "too_many_metrics", f"the device has {self._limits.metrics_per_device} metrics already"
            )
        kind = MetricKind.STATE if value.__class__ is bool else MetricKind.GAUGE
        self._register(device, [(checked, _unit_symbol(spelling or "") or "", kind)])
        return device.metrics[checked]

    def _register_ahead(self, device: DeviceRef, record: Record) -> None:
        """Register the new metrics of a record together; names and values that are wrong are judged later."""
        if not self._limits.auto_register:
            return
        new = []
        for name, value in record.values.items():
            if (
                name in device.metrics
                or value.__class__ not in (int, float, bool)
                or metric_name(name) != name
            ):
                continue
            spelling = _spelling(record.unit, name)
            unit = "" if spelling is None else _unit_symbol(spelling)
            if unit is None:
                continue
            new.append((name, unit, MetricKind.STATE if value.__class__ is bool else MetricKind.GAUGE))
        if new and len(device.metrics) + len(new) <= self._limits.metrics_per_device:
            self._register(device, new)

    def _register(self, device: DeviceRef, new: list[tuple[str, str, MetricKind]]) -> None:
        for row in sql.register_metrics(self._cursor, device.tenant_id, device.device_key, new):
            device.metrics[row.name] = MetricRef(row.metric_id, row.name, row.unit, row.kind)

    def _time_refusal(self, problem: str, observed_at_us: int) -> tuple[str, str]:
        if problem == "too_far_in_future":
            return problem, f"ts is more than {self._limits.future_limit_s:g} s ahead of the platform's clock"
        hint = "; it looks like seconds, ts is in milliseconds" if looks_like_seconds(observed_at_us) else ""
        return problem, f"ts is older than the lateness window of {self._limits.lateness_s:g} s{hint}"

    # Devices ---------------------------------------------------------------------------------------

    def _device(self, tenant_slug: str, device_id: str) -> DeviceRef:
        device = self._registry.get(tenant_slug, device_id) or self._load(tenant_slug, device_id)
        if device is None:
            raise Refused("unknown_device", f"no device {device_id!r} is registered")
        if device.is_retired:
            raise Refused("device_retired", f"the device {device_id!r} is retired")
        return device

    def _load(self, tenant_slug: str, device_id: str) -> DeviceRef | None:
        if self._registry.is_known_absent(tenant_slug, device_id):
            return None
        tenant_id = self._tenant_id(tenant_slug)
        if tenant_id is None:
            self._registry.put_absent(tenant_slug, device_id)
            raise Refused("unknown_tenant", f"no tenant {tenant_slug!r} exists")
        row = sql.device_with_metrics(self._cursor, tenant_id, device_id)
        if row is None and self._limits.auto_register:
            if not is_device_id(device_id):
                raise Refused("invalid_device_id", "a device id has 1 to 64 of A-Z a-z 0-9 . _ -")
            sql.register_device(self._cursor, tenant_id, device_id)
            row = sql.device_with_metrics(self._cursor, tenant_id, device_id)
        if row is None:
            self._registry.put_absent(tenant_slug, device_id)
            return None
        metrics = {
            item.name: MetricRef(item.metric_id, item.name, item.unit, item.kind) for item in row.metrics
        }
        device = DeviceRef(
            tenant_id, row.device_key, device_id, row.is_retired, row.status, metrics, row.last_seen_us
        )
        self._registry.put(tenant_slug, device)
        return device

    def _note_seen(self, device: DeviceRef, received_at_us: int) -> None:
        if received_at_us - device.last_seen_us > _SEEN_EVERY_US or device.status != "online":
            self.statuses[device.device_key] = (device, received_at_us, "online")

    # Dead letters ----------------------------------------------------------------------------------

    def refuse_message(self, message: Message, *, reason: str, detail: str, topic: Topic | None) -> None:
        """Make a dead letter of a whole message."""
        origin = Origin(
            self._tenant_id(topic.tenant) if topic else None,
            "mqtt",
            message.topic,
            topic.device if topic else None,
            message.received_at_us,
        )
        self._add_letter(origin, metric=None, reason=reason, detail=detail, payload=message.payload)

    def _refuse_reading(self, message: Message, topic: Topic, name: str, reason: str, detail: str) -> None:
        tenant_id = self._tenant_id(topic.tenant)
        origin = Origin(tenant_id, "mqtt", message.topic, topic.device, message.received_at_us)
        self._add_letter(origin, metric=name, reason=reason, detail=detail, payload=message.payload)

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
        detail = f"the value {stored_value!r} is stored for the same time; it stays"
        self._add_letter(
            origin, metric=metric.name, reason="conflict", detail=detail, payload=orjson.dumps(reading)
        )

    def _refuse_offer(self, submission: Submission, offer: Offer, reason: str, detail: str) -> None:
        reading = {
            "device_id": offer.device_id,
            "metric": offer.metric,
            "ts": offer.ts,
            "value": offer.value,
            "quality": offer.quality,
            "unit": offer.unit,
        }
        origin = Origin(
            submission.tenant_id, "http", READING_TOPIC, offer.device_id, submission.received_at_us
        )
        payload = orjson.dumps(reading, default=str)
        self._add_letter(origin, metric=offer.metric, reason=reason, detail=detail, payload=payload)

    def _tenant_id(self, slug: str) -> int | None:
        tenant_id = self._registry.tenants.get(slug) or sql.tenant_by_slug(self._cursor, slug)
        if tenant_id is not None:
            self._registry.tenants[slug] = tenant_id
        return tenant_id

    def _add_letter(
        self, origin: Origin, *, metric: str | None, reason: str, detail: str, payload: bytes
    ) -> None:
        fingerprint = _fingerprint(
            origin.source, origin.topic, origin.device_id or "", metric or "", reason, payload
        )
        key = (origin.tenant_id, fingerprint)
        occurrences = self.letters[key].occurrences + 1 if key in self.letters else 1
        self.letters[key] = DeadLetter(
            tenant_id=origin.tenant_id,
            source=origin.source,
            topic=_storable(origin.topic),
            device_id=None if origin.device_id is None else _storable(origin.device_id),
            metric=None if metric is None else _storable(metric),
            reason=reason,
            detail=_storable(detail),
            payload=payload[: self._limits.message_bytes],
            payload_bytes=len(payload),
            fingerprint=fingerprint,
            received_at_us=origin.received_at_us,
            occurrences=occurrences,
        )


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


def _spelling(unit: Any, name: str) -> Any:
    """What the payload says about the unit of a metric; None where it says nothing."""
    spelling = unit.get(name) if unit.__class__ is dict else unit
    return None if spelling == "" else spelling


def _unit_symbol(spelling: Any) -> str | None:
    """The unit in its one spelling, or None for what cannot be a unit."""
    if spelling.__class__ is not str or len(spelling) > MAX_UNIT_CHARS:
        return None
    symbol = canonical(spelling)
    return symbol if symbol.isprintable() and len(symbol) <= MAX_UNIT_CHARS else None


def _double(value: float) -> float:
    """The number as double precision has it; infinite where it is too large for that."""
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _payload_hash(message: Message) -> bytes:
    return hashlib.sha256(message.payload).digest()


def _fingerprint(*parts: str | bytes) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(4, "big"))
        digest.update(data)
    return digest.digest()


def _storable(text: str) -> str:
    """The text without what PostgreSQL cannot hold (NUL, lone surrogates), cut to a readable length."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()[:1000]
