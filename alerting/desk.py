"""What people do with alerts: acknowledge, shelve, clear, comment; each once, audited, announced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from alerting import journal
from alerting.shape import stored_body
from domain.alert import AlertEvent, Facts
from domain.alert_decision import acknowledge, clear, comment_on, serve, shelve, unshelve
from domain.audit import Actor
from domain.errors import NotFound, RuleBroken
from domain.identifier import is_device_id
from domain.transition import AlertChange
from storage import audit, devices
from storage.alert_journal import StoredAlert, alerts_of_device, lock_by_id
from storage.pool import AppDatabase, Cursor

Announce = Callable[[Sequence[AlertChange]], None]
"""Takes committed changes to whoever listens; returns at once."""


class AlertMissing(NotFound):
    """There is no such alert."""


class DeviceMissing(NotFound):
    """There is no such device."""


class ShelvedTooLong(RuleBroken):
    """An alert cannot be shelved for that long."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a command has left: the alert, and the event that it added, if it did."""

    alert: dict[str, Any]
    event: dict[str, Any] | None


class AlertDesk:
    """The commands of people on alerts. Thread-safe; each is one transaction of the person's tenant."""

    def __init__(
        self,
        database: AppDatabase,
        *,
        clock: Callable[[], datetime],
        shelve_max: timedelta,
        announce: Announce,
    ) -> None:
        self._database = database
        self._clock = clock
        self._shelve_max = shelve_max
        self._announce = announce

    def acknowledge(
        self, actor: Actor, alert_id: str, *, comment: str = "", event_id: int | None = None
    ) -> Done:
        """Say that the alert was seen.

        Raises:
            AlertMissing: There is no such alert.
            NewerEvent: A newer event than `event_id` asks for attention.
        """
        return self._command(
            actor,
            alert_id,
            "alert.acknowledge",
            lambda facts, now: acknowledge(facts, actor, at=now, comment=comment, event_id=event_id),
        )

    def acknowledge_all(
        self, actor: Actor, alert_ids: Sequence[str], *, comment: str
    ) -> tuple[list[Done], list[str]]:
        """Say that alerts were seen; also which of them do not exist."""
        now = self._clock()
        wanted = list(dict.fromkeys(alert_ids))
        with self._database.tenant(actor.tenant_id) as cursor:
            alerts = lock_by_id(cursor, wanted)
            done = self._record(
                cursor,
                actor,
                "alert.acknowledge",
                [
                    (alert, acknowledge(alert.facts, actor, at=now, comment=comment, event_id=None))
                    for alert in alerts
                ],
                now=now,
            )
        self._tell(done)
        found = {alert.alert_id for alert in alerts}
        return [item for item, _ in done], [alert_id for alert_id in wanted if alert_id not in found]

    def shelve(self, actor: Actor, alert_id: str, *, duration: timedelta, reason: str) -> Done:
        """Hide the alert for a time, after which it returns by itself.

        Raises:
            AlertMissing: There is no such alert.
            ShelvedTooLong: The settings allow less.
        """
        if duration > self._shelve_max:
            raise ShelvedTooLong(f"at most {self._shelve_max.total_seconds():g} s are allowed")
        return self._command(
            actor,
            alert_id,
            "alert.shelve",
            lambda facts, now: shelve(facts, actor, at=now, until=now + duration, reason=reason),
        )

    def unshelve(self, actor: Actor, alert_id: str) -> Done:
        """Show the alert again, as acknowledged as it was.

        Raises:
            AlertMissing: There is no such alert.
        """
        return self._command(
            actor, alert_id, "alert.unshelve", lambda facts, now: unshelve(facts, actor, at=now)
        )

    def clear(self, actor: Actor, alert_id: str, *, comment: str = "") -> Done:
        """Clear a latched alert.

        Raises:
            AlertMissing: There is no such alert.
            NotLatched: The alert clears by itself.
            ConditionHolds: The condition still holds.
        """
        return self._command(
            actor, alert_id, "alert.clear", lambda facts, now: clear(facts, actor, at=now, comment=comment)
        )

    def comment(self, actor: Actor, alert_id: str, *, comment: str) -> Done:
        """Add a comment.

        Raises:
            AlertMissing: There is no such alert.
        """
        return self._command(
            actor,
            alert_id,
            "alert.comment",
            lambda facts, now: comment_on(facts, actor, at=now, comment=comment),
        )

    def take_out_of_service(self, actor: Actor, device_id: str, *, reason: str) -> None:
        """Hide the alerts of a device, also those to come, until it is put back; they go on being evaluated.

        Raises:
            DeviceMissing: There is no such device.
        """
        now = self._clock()
        with self._database.tenant(actor.tenant_id) as cursor:
            _check_device(cursor, device_id)
            key = devices.take_out_of_service(cursor, device_id, at=now, by=actor.label, reason=reason)
            changes = self._serve(cursor, actor, device_id, key, out_because=reason, now=now)
        if changes:
            self._announce(changes)

    def return_to_service(self, actor: Actor, device_id: str) -> None:
        """Show the alerts of a device again, each as it is by now.

        Raises:
            DeviceMissing: There is no such device.
        """
        now = self._clock()
        with self._database.tenant(actor.tenant_id) as cursor:
            _check_device(cursor, device_id)
            key = devices.return_to_service(cursor, device_id)
            changes = self._serve(cursor, actor, device_id, key, out_because=None, now=now)
        if changes:
            self._announce(changes)

    def _serve(
        self,
        cursor: Cursor,
        actor: Actor,
        device_id: str,
        device_key: int | None,
        *,
        out_because: str | None,
        now: datetime,
    ) -> list[AlertChange]:
        """Take the alerts with the device, out for a reason or, with None, back.

        None as the device's number says that nothing changes.
        """
        if device_key is None:
            return []
        is_out, reason = out_because is not None, out_because or ""
        action = "device.out_of_service" if is_out else "device.in_service"
        after = {"is_out_of_service": is_out, "reason": reason}
        audit.record(cursor, actor, action, f"device/{device_id}", after=after)
        events = []
        for alert in lock_by_id(cursor, alerts_of_device(cursor, device_key)):
            event = serve(alert.facts, actor, at=now, is_out_of_service=is_out, reason=reason)
            if event is not None:
                events.append((alert, event))
        return journal.write(cursor, events, now=now)

    def _command(
        self,
        actor: Actor,
        alert_id: str,
        action: str,
        decide: Callable[[Facts, datetime], AlertEvent | None],
    ) -> Done:
        now = self._clock()
        with self._database.tenant(actor.tenant_id) as cursor:
            alerts = lock_by_id(cursor, [alert_id])
            if not alerts:
                raise AlertMissing
            decided = [(alert, decide(alert.facts, now)) for alert in alerts]
            done = self._record(cursor, actor, action, decided, now=now)
        self._tell(done)
        return done[0][0]

    def _record(
        self,
        cursor: Cursor,
        actor: Actor,
        action: str,
        decided: Sequence[tuple[StoredAlert, AlertEvent | None]],
        *,
        now: datetime,
    ) -> list[tuple[Done, AlertChange | None]]:
        """Write what was decided, with an audit entry for each event."""
        events = [(alert, event) for alert, event in decided if event is not None]
        changes = {change.alert["alert_id"]: change for change in journal.write(cursor, events, now=now)}
        done: list[tuple[Done, AlertChange | None]] = []
        for alert, event in decided:
            change = changes.get(alert.alert_id)
            if change is None or event is None:
                done.append((Done(stored_body(alert), None), None))
                continue
            audit.record(
                cursor,
                actor,
                action,
                f"alert/{alert.alert_id}",
                before={"state": alert.facts.state},
                after={"state": change.alert["state"], "comment": event.comment, "until": event.until},
            )
            done.append((Done(dict(change.alert), dict(change.event)), change))
        return done

    def _tell(self, done: Sequence[tuple[Done, AlertChange | None]]) -> None:
        changes = [change for _, change in done if change is not None]
        if changes:
            self._announce(changes)


def _check_device(cursor: Cursor, device_id: str) -> None:
    if not is_device_id(device_id) or devices.key_of_device(cursor, device_id) is None:
        raise DeviceMissing
