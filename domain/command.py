"""The life of a command to a device: from created to an end that is always one of the honest ones."""

from __future__ import annotations

from enum import StrEnum


class CommandState(StrEnum):
    """Where a command is.

    `sent` was handed to the broker; `delivered` was confirmed by the broker, which has a subscription of
    the device for it. What the device does with it is known from its answers only. `expired` never reached
    the broker for the device; `timed_out` did, and the device did not say in time what became of it.
    """

    CREATED = "created"
    QUEUED = "queued"
    SENT = "sent"
    DELIVERED = "delivered"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class CommandEvent(StrEnum):
    """What can happen to a command."""

    WAIT = "wait"
    SEND = "send"
    DELIVER = "deliver"
    ACCEPT = "accepted"
    REJECT = "rejected"
    SUCCEED = "succeeded"
    FAIL = "failed"
    FALL_DUE = "fall_due"
    CANCEL = "cancel"


_S, _E = CommandState, CommandEvent

FINAL = frozenset({_S.REJECTED, _S.SUCCEEDED, _S.FAILED, _S.TIMED_OUT, _S.EXPIRED, _S.CANCELLED})
# Ends at which the device has said nothing yet.
UNANSWERED = frozenset({_S.TIMED_OUT, _S.EXPIRED, _S.CANCELLED})

_UNSENT = frozenset({_S.CREATED, _S.QUEUED})
# An answer may overtake the broker's confirmation, and a connection may break just after the message.
_ANSWERABLE = frozenset({_S.QUEUED, _S.SENT, _S.DELIVERED, _S.ACCEPTED})

_STEPS: dict[CommandEvent, tuple[frozenset[CommandState], CommandState]] = {
    _E.WAIT: (_UNSENT | {_S.SENT}, _S.QUEUED),
    _E.SEND: (_UNSENT | {_S.SENT}, _S.SENT),
    _E.DELIVER: (frozenset({_S.SENT}), _S.DELIVERED),
    _E.ACCEPT: (_ANSWERABLE - {_S.ACCEPTED}, _S.ACCEPTED),
    _E.REJECT: (_ANSWERABLE - {_S.ACCEPTED}, _S.REJECTED),
    _E.SUCCEED: (_ANSWERABLE, _S.SUCCEEDED),
    _E.FAIL: (_ANSWERABLE, _S.FAILED),
    _E.CANCEL: (_UNSENT, _S.CANCELLED),
}


def step(state: CommandState, event: CommandEvent) -> CommandState | None:
    """The state after the event; None where the event changes nothing."""
    if event is CommandEvent.FALL_DUE:
        if state in FINAL:
            return None
        return CommandState.EXPIRED if state in _UNSENT else CommandState.TIMED_OUT
    before, after = _STEPS[event]
    return after if state in before else None


def answer_event(status: object) -> CommandEvent | None:
    """What a device's `status` means; None for any other word."""
    answers = (CommandEvent.ACCEPT, CommandEvent.REJECT, CommandEvent.SUCCEED, CommandEvent.FAIL)
    return next((event for event in answers if event.value == status), None)
