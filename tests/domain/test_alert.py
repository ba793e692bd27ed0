"""The life of an alert as ISA-18.2 tells it: independent facts, derived states, nothing forgotten."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.alert import NEVER_RAISED, AlertEvent, EventKind, Facts, State, fold, step
from domain.alert_decision import (
    ConditionHolds,
    NewerEvent,
    NotLatched,
    Overlays,
    Policy,
    Signal,
    acknowledge,
    clear,
    hear,
    realarm,
    serve,
    shelve,
    suppress,
    unshelve,
)
from domain.audit import Actor
from domain.transition import Severity, TransitionKind

T0 = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
OSKAR = Actor(1, "oskar@plant-a.example", user_id="oskar")


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


class Alert:
    """An alert with its journal; each call is something that happens to it."""

    def __init__(self, policy: Policy | None = None, overlays: Overlays | None = None) -> None:
        self.policy = policy or Policy()
        self.overlays = overlays or Overlays()
        self.journal: list[AlertEvent] = []
        self.facts: Facts = NEVER_RAISED

    def note(self, event: AlertEvent | None) -> AlertEvent | None:
        if event is not None:
            event = replace(event, event_id=len(self.journal) + 1)
            self.journal.append(event)
            self.facts = step(self.facts, event)
        return event

    def hear(self, kind: str, at_s: float, severity: str = "high") -> AlertEvent | None:
        signal = Signal(1, "rule:r", TransitionKind(kind), Severity(severity), at(at_s), "too hot")
        return self.note(hear(self.facts, signal, self.policy, self.overlays))

    def acknowledge(self, at_s: float, event_id: int | None = None) -> AlertEvent | None:
        return self.note(acknowledge(self.facts, OSKAR, at=at(at_s), comment="seen", event_id=event_id))

    def shelve(self, at_s: float, until_s: float) -> AlertEvent | None:
        return self.note(shelve(self.facts, OSKAR, at=at(at_s), until=at(until_s), reason="known"))

    def unshelve(self, at_s: float) -> AlertEvent | None:
        return self.note(unshelve(self.facts, OSKAR, at=at(at_s)))

    def clear(self, at_s: float) -> AlertEvent | None:
        return self.note(clear(self.facts, OSKAR, at=at(at_s), comment="reset"))

    def serve(self, at_s: float, *, is_out: bool) -> AlertEvent | None:
        return self.note(serve(self.facts, OSKAR, at=at(at_s), is_out_of_service=is_out, reason="repair"))

    def suppress(self, at_s: float, by: str | None) -> AlertEvent | None:
        return self.note(suppress(self.facts, OSKAR, at=at(at_s), suppressed_by=by))

    def realarm(self, at_s: float) -> AlertEvent | None:
        return self.note(realarm(self.facts, OSKAR, now=at(at_s)))

    @property
    def state(self) -> State:
        return self.facts.state


# The four states of two independent bits ----------------------------------------------------------


def test_an_alert_goes_round_the_four_states_of_isa_18_2() -> None:
    alert = Alert()
    assert alert.state == "normal"
    alert.hear("raised", 0)
    assert alert.state == "unacknowledged"
    alert.acknowledge(5)
    assert alert.state == "acknowledged"
    alert.hear("cleared", 10)
    assert alert.state == "normal"
    alert.hear("raised", 20)
    alert.hear("cleared", 30)
    assert alert.state == "returned_unacknowledged"
    alert.acknowledge(40)
    assert alert.state == "normal"


def test_coming_back_takes_the_acknowledgement_away() -> None:
    alert = Alert()
    alert.hear("raised", 0)
    alert.acknowledge(1)
    alert.hear("cleared", 2)
    alert.hear("raised", 3)
    assert alert.state == "unacknowledged"
    assert (alert.facts.acknowledged_by, alert.facts.acknowledged_at) == (None, None)


# Acknowledging ------------------------------------------------------------------------------------


def test_an_acknowledgement_tells_who_when_why_and_which_event() -> None:
    alert = Alert()
    alert.hear("raised", 0)
    alert.acknowledge(5, event_id=1)
    facts = alert.facts
    assert (facts.acknowledged_by, facts.acknowledged_at) == ("oskar", at(5))
    assert (facts.acknowledge_comment, facts.acknowledged_event_id) == ("seen", 1)


def test_acknowledging_twice_is_acknowledging_once() -> None:
    alert = Alert()
    alert.hear("raised", 0)
    alert.acknowledge(5)
    assert alert.acknowledge(6) is None
    assert alert.facts.acknowledged_at == at(5)


def test_a_rise_in_severity_asks_for_an_acknowledgement_of_its_own() -> None:
    alert = Alert()
    alert.hear("raised", 0, "high")
    alert.acknowledge(5)
    alert.hear("severity_changed", 10, "critical")
    assert alert.state == "unacknowledged"
    with pytest.raises(NewerEvent):
        alert.acknowledge(11, event_id=1)
    alert.acknowledge(12, event_id=3)
    assert alert.state == "acknowledged"


def test_a_fall_in_severity_leaves_the_acknowledgement() -> None:
    alert = Alert()
    alert.hear("raised", 0, "critical")
    alert.acknowledge(5)
    alert.hear("severity_changed", 10, "high")
    assert (alert.state, alert.facts.severity) == ("acknowledged", "high")


# Overlays -----------------------------------------------------------------------------------------


def test_unshelving_brings_back_the_earlier_acknowledgement() -> None:
    alert = Alert()
    alert.hear("raised", 0)
    alert.acknowledge(5)
    alert.shelve(10, 3600)
    assert alert.state == "shelved"
    alert.unshelve(20)
    assert (alert.state, alert.facts.acknowledged_at) == ("acknowledged", at(5))


def test_what_happens_under_an_overlay_appears_when_it_goes() -> None:
    alert = Alert()
    alert.hear("raised", 0)
    alert.shelve(1, 3600)
    alert.suppress(2, "device:gateway")
    alert.serve(3, is_out=True)
    alert.hear("cleared", 10)
    assert alert.state == "out_of_service"
    alert.serve(20, is_out=False)
    assert alert.state == "suppressed"
    alert.suppress(30, None)
    assert alert.state == "shelved"
    alert.unshelve(40)
    assert alert.state == "returned_unacknowledged"


def test_overlays_never_stop_evaluation() -> None:
    alert = Alert(overlays=Overlays("maintenance:m", is_out_of_service=True))
    alert.hear("raised", 0)
    alert.hear("severity_changed", 5, "critical")
    alert.hear("cleared", 10)
    assert [event.kind for event in alert.journal] == ["raised", "severity_changed", "cleared"]
    assert alert.state == "out_of_service"


# Latched, repeating, re-alarming ------------------------------------------------------------------


def test_a_latched_alert_stands_until_somebody_clears_it() -> None:
    alert = Alert(Policy(is_latched=True))
    alert.hear("raised", 0)
    with pytest.raises(ConditionHolds):
        alert.clear(5)
    alert.hear("cleared", 10)
    assert alert.facts.is_active
    assert alert.journal[-1].kind == "returned"
    alert.clear(20)
    assert (alert.facts.is_active, alert.facts.cleared_at) == (False, at(20))
    assert alert.clear(21) is None


def test_a_latched_alert_whose_condition_comes_back_is_still_the_same_occurrence() -> None:
    alert = Alert(Policy(is_latched=True))
    alert.hear("raised", 0)
    alert.acknowledge(1)
    alert.hear("cleared", 10)
    alert.hear("raised", 20)
    facts = alert.facts
    assert (facts.occurrence, facts.repeat_count, facts.raised_at) == (1, 1, at(0))
    assert alert.state == "unacknowledged"


def test_an_alert_that_is_not_latched_is_not_cleared_by_hand() -> None:
    alert = Alert()
    alert.hear("raised", 0)
    with pytest.raises(NotLatched):
        alert.clear(5)


def test_repeats_are_counted_while_they_come_within_the_flap_window() -> None:
    alert = Alert(Policy(flap_window_s=60))
    for second in (0, 50, 100):
        alert.hear("raised", second)
        alert.hear("cleared", second + 10)
    assert (alert.facts.occurrence, alert.facts.repeat_count) == (3, 2)
    alert.hear("raised", 171)
    assert (alert.facts.occurrence, alert.facts.repeat_count) == (4, 0)


def test_a_standing_alert_asks_for_attention_again() -> None:
    alert = Alert(Policy(realarm_after_s=600))
    alert.hear("raised", 0)
    alert.acknowledge(100)
    assert alert.realarm(699) is None
    event = alert.realarm(703)
    assert event is not None
    assert (event.observed_at, alert.facts.realarm_at) == (at(700), at(1300))
    assert alert.state == "unacknowledged"


def test_re_alarms_that_were_missed_come_as_one() -> None:
    alert = Alert(Policy(realarm_after_s=600))
    alert.hear("raised", 0)
    event = alert.realarm(6100)
    assert event is not None
    assert (event.observed_at, alert.facts.realarm_at) == (at(6000), at(6600))


def test_a_shelved_or_cleared_alert_does_not_re_alarm() -> None:
    alert = Alert(Policy(realarm_after_s=600))
    alert.hear("raised", 0)
    alert.acknowledge(1)
    alert.shelve(2, 3600)
    assert alert.realarm(1000) is None
    alert.unshelve(1100)
    assert alert.realarm(1699) is None
    assert alert.state == "acknowledged"
    alert.hear("cleared", 1699)
    assert alert.facts.realarm_at is None


# Whatever happens ---------------------------------------------------------------------------------

_HAPPENINGS = st.lists(
    st.tuples(
        st.sampled_from(
            ["raised", "cleared", "severity_changed", "acknowledge", "shelve", "unshelve", "clear", "out",
             "in", "suppress", "unsuppress", "realarm"]
        ),
        st.sampled_from([severity.value for severity in Severity]),
    ),
    max_size=40,
)  # fmt: skip
_POLICIES = st.builds(
    Policy,
    flap_window_s=st.sampled_from([0.0, 30.0, 3600.0]),
    realarm_after_s=st.sampled_from([None, 25.0]),
    is_latched=st.booleans(),
)


def _happen(alert: Alert, name: str, severity: str, at_s: float) -> None:
    try:
        match name:
            case "raised" | "cleared" | "severity_changed":
                alert.hear(name, at_s, severity)
            case "acknowledge":
                alert.acknowledge(at_s)
            case "shelve":
                alert.shelve(at_s, at_s + 60)
            case "unshelve":
                alert.unshelve(at_s)
            case "clear":
                alert.clear(at_s)
            case "out" | "in":
                alert.serve(at_s, is_out=name == "out")
            case "suppress" | "unsuppress":
                alert.suppress(at_s, "device:x" if name == "suppress" else None)
            case "realarm":
                alert.realarm(at_s)
    except (NotLatched, ConditionHolds):
        pass


@given(_HAPPENINGS, _POLICIES)
def test_whatever_happens_the_journal_amounts_to_the_facts(
    happenings: list[tuple[str, str]], policy: Policy
) -> None:
    alert = Alert(policy)
    for number, (name, severity) in enumerate(happenings):
        before = alert.facts
        _happen(alert, name, severity, 10.0 * number)
        assert alert.facts == fold(alert.journal)
        is_revived = not before.is_active and alert.facts.is_active
        assert not is_revived or alert.facts.occurrence == before.occurrence + 1
        assert not alert.facts.condition_holds or alert.facts.is_active


@given(_HAPPENINGS, _POLICIES)
def test_overlays_change_nothing_but_themselves(happenings: list[tuple[str, str]], policy: Policy) -> None:
    """The same life with and without overlays is the same under them."""
    overlays = {"out", "in", "suppress", "unsuppress"}
    plain, covered = Alert(policy), Alert(policy)
    for number, (name, severity) in enumerate(happenings):
        _happen(covered, name, severity, 10.0 * number)
        if name not in overlays:
            _happen(plain, name, severity, 10.0 * number)
    bare = replace(covered.facts, is_out_of_service=False, suppressed_by=None)
    unnumbered = {"attention_event_id": None, "acknowledged_event_id": None}
    shown = replace(plain.facts, is_out_of_service=False, suppressed_by=None)
    assert replace(bare, **unnumbered) == replace(shown, **unnumbered)  # type: ignore[arg-type]


def test_every_kind_of_event_has_its_step() -> None:
    for kind in EventKind:
        event = AlertEvent(kind, T0, Severity.LOW, occurrence=1, repeat_count=0)
        assert isinstance(step(NEVER_RAISED, event), Facts)
