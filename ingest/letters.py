"""Dead letters in the making: what could not be stored, each once a batch, as it can be replayed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import orjson

from ingest.refusal import Refused
from ingest.submission import Offer
from storage.ingest import DeadLetter

# The topic of a dead letter that holds one reading in the form of POST /telemetry.
READING_TOPIC = "reading"

_PLAIN = {str, float, bool}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a dead letter comes from."""

    tenant_id: int | None
    source: str
    topic: str
    device_id: str | None
    received_at_us: int


class Letters:
    """The dead letters of one batch."""

    def __init__(self, *, payload_bytes: int) -> None:
        self._payload_bytes = payload_bytes
        self._letters: dict[tuple[int | None, bytes], DeadLetter] = {}

    def __bool__(self) -> bool:
        return bool(self._letters)

    def all(self) -> list[DeadLetter]:
        """All of them; none is there twice."""
        return list(self._letters.values())

    def add(
        self,
        origin: Origin,
        problem: Refused,
        payload: bytes,
        *,
        metric: str | None = None,
        told_by: bytes | None = None,
    ) -> None:
        """Add one, or count it where the batch has it already.

        Args:
            origin: Where it comes from.
            problem: Why it is refused.
            payload: What is kept, up to a limit.
            metric: The metric, for a reading.
            told_by: What it is recognised by when it comes again, if that is not the payload.
        """
        told_by = payload if told_by is None else told_by
        digest = fingerprint(
            origin.source, origin.topic, origin.device_id or "", metric or "", problem.reason, told_by
        )
        key = (origin.tenant_id, digest)
        occurrences = self._letters[key].occurrences + 1 if key in self._letters else 1
        self._letters[key] = DeadLetter(
            tenant_id=origin.tenant_id,
            source=origin.source,
            topic=_storable(origin.topic),
            device_id=None if origin.device_id is None else _storable(origin.device_id),
            metric=None if metric is None else _storable(metric),
            reason=problem.reason,
            detail=_storable(problem.detail),
            payload=payload[: self._payload_bytes],
            payload_bytes=len(payload),
            fingerprint=digest,
            received_at_us=origin.received_at_us,
            occurrences=occurrences,
        )


def as_payload(offer: Offer) -> bytes:
    """One reading in the form of POST /telemetry."""
    reading = {
        "device_id": offer.device_id,
        "metric": offer.metric,
        "ts": offer.ts,
        "value": offer.value,
        "quality": offer.quality,
        "unit": offer.unit,
    }
    try:
        return orjson.dumps(reading, default=str)
    except (
        TypeError
    ):  # Deep values, lone surrogates and integers beyond 64 bits, which orjson does not write.
        plain = {name: part for name, part in reading.items() if part.__class__ in _PLAIN}
        return json.dumps(plain).encode()


def fingerprint(*parts: str | bytes) -> bytes:
    """What tells one thing from another: a digest that keeps its parts apart."""
    digest = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(4, "big"))
        digest.update(data)
    return digest.digest()


def _storable(text: str) -> str:
    """The text without what PostgreSQL cannot hold (NUL, lone surrogates), cut to a readable length."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()[:1000]
