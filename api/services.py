"""What the routes need from the rest of the platform; the composition root fills it in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from flask import Flask, current_app

from alerting.desk import AlertDesk
from api.history import History
from api.sessions import Sessions
from domain.reading import LatestValue
from fleet.commands import Commands
from fleet.credentials import Credentials
from fleet.registry import Registry
from ingest.pipeline import Pipeline
from settings import Settings
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


@dataclass(frozen=True, slots=True)
class Services:
    """Everything the routes call."""

    settings: Settings
    app_database: AppDatabase
    sessions: Sessions
    registry: Registry
    history: History
    pipeline: Pipeline
    latest: LatestSource
    health: HealthSource
    alerts: AlertDesk
    credentials: Credentials
    commands: Commands


def install_services(app: Flask, services: Services) -> None:
    """Hand the services to the routes of the application."""
    app.extensions["services"] = services


def services() -> Services:
    """The services of the application that answers this request."""
    found: Services = current_app.extensions["services"]
    return found
