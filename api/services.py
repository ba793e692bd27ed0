"""What the routes need from the rest of the platform; the composition root fills it in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from flask import Flask, current_app

from api.history import History
from api.sessions import Sessions
from domain.reading import LatestValue
from fleet.registry import Registry
from ingest.submission import Offer, Outcome
from settings import Settings
from storage.dead_letters import DeadLetter
from storage.pool import AppDatabase

Status = Literal["ok", "degraded", "down"]


@dataclass(frozen=True, slots=True)
class ComponentHealth:
    """How one part of the platform is; `detail` is for administrators only."""

    name: str
    status: Status
    detail: str


class HealthSource(Protocol):
    """Where the platform's health is known. Answers at once, from what was last seen."""

    def report(self) -> list[ComponentHealth]:
        """The state of every part."""
        ...


class LatestSource(Protocol):
    """A cache of the newest values of a device. Every failure is a miss."""

    def read(self, tenant_id: int, device_key: int) -> list[LatestValue] | None:
        """The newest values of the device, or None where they are not cached."""
        ...

    def fill(self, tenant_id: int, device_key: int, values: Sequence[LatestValue]) -> None:
        """Remember what PostgreSQL answered."""
        ...


class Submissions(Protocol):
    """The ingest pipeline as the API uses it."""

    def submit(
        self, tenant_id: int, tenant_slug: str, offers: Sequence[Offer], *, backfill: bool, timeout_s: float
    ) -> Outcome:
        """Store the offers; return after the commit."""
        ...

    def replay(self, dead_letter: DeadLetter) -> Outcome:
        """Hand the stored payload in again, as it once arrived; return after the commit."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """Everything the routes call.

    Attributes:
        registry_changed: Called with (tenant_id, device_id) after a device or its metrics were changed.
    """

    settings: Settings
    app_database: AppDatabase
    sessions: Sessions
    registry: Registry
    history: History
    pipeline: Submissions
    latest: LatestSource
    health: HealthSource
    registry_changed: Callable[[int, str], None]


def install_services(app: Flask, services: Services) -> None:
    """Hand the services to the routes of the application."""
    app.extensions["services"] = services


def services() -> Services:
    """The services of the application that answers this request."""
    found: Services = current_app.extensions["services"]
    return found
