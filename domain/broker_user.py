"""Users of the broker: what a device may do there, and how those that are and should be differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_PUBLISHES = ("telemetry", "status", "alerts", "commands/+/response")
_SUBSCRIBES = ("commands/+",)


@dataclass(frozen=True, slots=True)
class DeviceTopics:
    """Topic filters of one device: those it may publish to, and those it may read."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BrokerUser:
    """A user as the broker should have it; without a credential it is shut out, and its connection cut."""

    username: str
    credential_id: str | None
    password: str = ""


@dataclass(frozen=True, slots=True)
class Differences:
    """What has to change: users to make anew, and names of users to remove."""

    put: list[BrokerUser]
    remove: list[str]


def username_of(tenant_slug: str, device_id: str) -> str:
    """The name under which a device signs in; its topics begin with it."""
    return f"{tenant_slug}/{device_id}"


def topics_of(topic_root: str, username: str) -> DeviceTopics:
    """What a device may publish to and read; nothing else."""
    base = f"{topic_root}/{username}"
    return DeviceTopics(
        tuple(f"{base}/{tail}" for tail in _PUBLISHES), tuple(f"{base}/{tail}" for tail in _SUBSCRIBES)
    )


def differences(wanted: Mapping[str, BrokerUser], present: Mapping[str, str | None]) -> Differences:
    """Compare the users that should be with those that are.

    Args:
        wanted: By username.
        present: By username the credential that the broker's user was made with, None for one shut out.
    """
    return Differences(
        put=[
            user
            for username, user in sorted(wanted.items())
            if username not in present or present[username] != user.credential_id
        ],
        remove=sorted(present.keys() - wanted.keys()),
    )
