"""The life of a command."""

from __future__ import annotations

import pytest

from domain.command import FINAL, CommandEvent, CommandState, answer_event, step


def _after(*events: CommandEvent) -> CommandState:
    state = CommandState.CREATED
    for event in events:
        state = step(state, event) or state
    return state


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ("send deliver accepted succeeded", "succeeded"),
        ("send deliver failed", "failed"),
        ("send deliver rejected", "rejected"),
        ("send succeeded deliver", "succeeded"),
        ("send wait succeeded", "succeeded"),
        ("wait send deliver", "delivered"),
        ("send send deliver accepted", "accepted"),
        ("fall_due", "expired"),
        ("wait fall_due send", "expired"),
        ("send fall_due", "timed_out"),
        ("send deliver accepted fall_due succeeded", "timed_out"),
        ("wait cancel send", "cancelled"),
        ("send cancel", "sent"),
        ("send accepted rejected", "accepted"),
        ("succeeded", "created"),
    ],
)
def test_a_command_ends_as_it_should(events: str, state: str) -> None:
    assert _after(*(CommandEvent(word) for word in events.split())).value == state


@pytest.mark.parametrize("state", sorted(FINAL))
@pytest.mark.parametrize("event", list(CommandEvent))
def test_nothing_changes_a_command_that_has_ended(state: CommandState, event: CommandEvent) -> None:
    assert step(state, event) is None


@pytest.mark.parametrize("word", ["done", "", None, 1, [], "fall_due", "cancel", "send"])
def test_only_the_four_words_are_answers(word: object) -> None:
    assert answer_event(word) is None
