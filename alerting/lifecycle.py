"""From what rules, devices and the platform say to alerts, in the transaction in which it was said.

Set-based: a handful of statements for any number of signals. Rows are locked in one order by everybody, so
that the ingest, the periodic jobs and people never wait for each other in a circle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from alerting import journal
from domain.alert import AlertEvent, step
from domain.alert_decision import Overlays, Policy, Signal, hear
from domain.suppression import Standing, suppressing_device
from domain.transition import AlertChange, Transition, TransitionKind
from storage import alert_journal as sql
from storage.alert_journal import StoredAlert, Surroundings
from storage.pool import Cursor

_Key = tuple[int, int | None, str]


def apply(cursor: Cursor, transitions: Sequence[Transition], *, now: datetime) -> list[AlertChange]:
    """Raise, change and clear alerts as rules have decided; return what has changed, for after the commit.

    A transition that was applied before, or that says what is so already, changes nothing. Needs the system
    role. `now` is when the platform heard of it; what happened when is told by the transitions.
    """
    return apply_signals(cursor, [_signal(transition) for transition in transitions], now=now)


def apply_signals(cursor: Cursor, signals: Sequence[Signal], *, now: datetime) -> list[AlertChange]:
    """The same for what devices and the platform itself say."""
    if not signals:
        return []
    is_new = [signal.kind is TransitionKind.RAISED for signal in signals]
    alerts = {_key_of(alert): alert for alert in sql.lock_by_source(cursor, signals, is_new=is_new)}
    hearing = _Hearing(cursor, signals, alerts)
    return journal.write(cursor, hearing.events(), now=now)


class _Hearing:
    """The signals of one transaction, heard one after the other."""

    def __init__(self, cursor: Cursor, signals: Sequence[Signal], alerts: dict[_Key, StoredAlert]) -> None:
        self._signals = [signal for signal in signals if _key_of(signal) in alerts]
        self._alerts = alerts
        self._facts = {key: alert.facts for key, alert in alerts.items()}
        self._heard = sql.heard_before(
            cursor,
            (
                (signal.tenant_id, alerts[_key_of(signal)].alert_id, signal.observed_at)
                for signal in self._signals
            ),
        )
        raised = [signal for signal in self._signals if signal.kind is TransitionKind.RAISED]
        self._surroundings = _surroundings_of(cursor, raised)
        self._raised_here = _worst_by_device(raised)

    def events(self) -> list[tuple[StoredAlert, AlertEvent]]:
        """What follows from the signals, in their order."""
        events = []
        for signal in self._signals:
            key = _key_of(signal)
            alert, facts = self._alerts[key], self._facts[key]
            event = hear(facts, signal, Policy(), self._overlays(signal))
            if event is None or self._was_heard(alert, event):
                continue
            self._facts[key] = step(facts, event)
            events.append((alert, event))
        return events

    def _was_heard(self, alert: StoredAlert, event: AlertEvent) -> bool:
        mark = (alert.alert_id, str(event.kind), event.observed_at)
        if mark in self._heard:
            return True
        self._heard.add(mark)
        return False

    def _overlays(self, signal: Signal) -> Overlays:
        around = self._surroundings.get(signal.device_key or 0)
        if signal.kind is not TransitionKind.RAISED or around is None:
            return Overlays()
        ancestors = [self._as_of_this_batch(ancestor) for ancestor in around.ancestors]
        return Overlays(suppressing_device(ancestors, signal.severity), around.is_out_of_service)

    def _as_of_this_batch(self, ancestor: Standing) -> Standing:
        """The ancestor with what is raised on it in this very transaction."""
        here = self._raised_here.get(ancestor.device_key)
        if here is None or (ancestor.worst_rank is not None and ancestor.worst_rank >= here):
            return ancestor
        return replace(ancestor, worst_rank=here)


def _surroundings_of(cursor: Cursor, raised: Sequence[Signal]) -> dict[int, Surroundings]:
    devices = [(signal.tenant_id, signal.device_key) for signal in raised if signal.device_key is not None]
    return sql.surroundings(cursor, devices) if devices else {}


def _worst_by_device(raised: Sequence[Signal]) -> dict[int, int]:
    worst: dict[int, int] = {}
    for signal in raised:
        if signal.device_key is not None:
            worst[signal.device_key] = max(worst.get(signal.device_key, 0), signal.severity.rank)
    return worst


def _key_of(item: Signal | StoredAlert) -> _Key:
    return item.tenant_id, item.device_key, item.source


def _signal(transition: Transition) -> Signal:
    return Signal(
        tenant_id=transition.tenant_id,
        source=f"rule:{transition.rule_id}",
        kind=transition.kind,
        severity=transition.severity,
        observed_at=transition.observed_at,
        message=transition.message,
        device_key=transition.device_key,
        rule_id=transition.rule_id,
        rule_version=transition.rule_version,
        metric_id=transition.metric_id,
        value=transition.value,
    )
