"""What devices say besides readings: kept as it is; an answer moves its command on."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from domain.command import UNANSWERED, CommandEvent, answer_event, step
from ingest.buffer import Message
from ingest.letters import fingerprint
from ingest.registry import DeviceRef
from ingest.topics import Topic
from storage import commands
from storage import ingest as sql
from storage.pool import Cursor


def store_event(
    cursor: Cursor, device: DeviceRef, message: Message, topic: Topic, document: dict[str, Any]
) -> None:
    """Keep an alert or an answer of a device; an answer to one of its commands moves that on."""
    is_answer = topic.kind == "response"
    sql.add_device_event(
        cursor,
        tenant_id=device.tenant_id,
        device_key=device.device_key,
        kind="command_response" if is_answer else "alert",
        subject=topic.command_id or "",
        payload=message.payload.decode(),
        fingerprint=fingerprint(message.topic, message.payload),
        received_at_us=message.received_at_us,
    )
    event = answer_event(document.get("status")) if is_answer else None
    if event is not None and _is_uuid(topic.command_id):
        _answer(cursor, device, str(topic.command_id), event, message)


def _answer(
    cursor: Cursor, device: DeviceRef, command_id: str, event: CommandEvent, message: Message
) -> None:
    state = commands.lock_command(cursor, device.tenant_id, device.device_key, command_id)
    if state is None:
        return
    at = datetime.fromtimestamp(message.received_at_us / 1e6, UTC)
    answer = message.payload.decode()
    after = step(state, event)
    if after is not None:
        commands.move_command(cursor, device.tenant_id, command_id, after, now=at, answer_json=answer)
    elif state in UNANSWERED:
        commands.note_late_answer(cursor, device.tenant_id, command_id, answer, now=at)


def _is_uuid(text: str | None) -> bool:
    try:
        return text is not None and str(uuid.UUID(text)) == text
    except ValueError:
        return False
