"""The layout of MQTT topics: which device a topic speaks of, and what kind of message it carries."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Topic:
    """An inbound topic: `kind` is telemetry, status, alerts or response."""

    tenant: str
    device: str
    kind: str
    command_id: str | None = None


class TopicLayout:
    """`{root}/{tenant}/{device}/telemetry|status|alerts|commands/{id}/response`."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.parse = lru_cache(maxsize=50_000)(self._parse)

    @property
    def subscriptions(self) -> list[str]:
        """The topic filters of everything inbound; what the platform publishes matches none of them."""
        return [
            f"{self.root}/+/+/{tail}" for tail in ("telemetry", "status", "alerts", "commands/+/response")
        ]

    def _parse(self, topic: str) -> Topic | None:
        """Read an inbound topic; None where it is not one."""
        if not topic.startswith(self.root + "/"):
            return None
        parts = topic[len(self.root) + 1 :].split("/")
        if len(parts) < 3 or not parts[0] or not parts[1]:
            return None
        tenant, device, *tail = parts
        match tail:
            case ["telemetry" | "status" | "alerts" as kind]:
                return Topic(tenant, device, kind)
            case ["commands", command_id, "response"] if command_id:
                return Topic(tenant, device, "response", command_id)
        return None
