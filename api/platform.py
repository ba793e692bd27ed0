"""Health for load balancers and people, and figures for Prometheus. At the root, outside /api/v1."""

from __future__ import annotations

import hmac
from typing import Annotated, Any, Literal

from flask import Blueprint, Response, request
from pydantic import Field

from api.operations import Answer, Media, operation
from api.services import ComponentHealth, services
from domain.errors import Unauthenticated
from observability import metrics_page
from rbac import authenticated, bearer_token, public

blueprint = Blueprint("platform", __name__)

# Without these no request can be answered and no reading stored. The broker is not among them: while it is
# away the API still works, and taking the platform out of service would not bring it back.
NEEDED_FOR_READINESS = frozenset({"database", "migrations", "writer"})


class MetricsTokenMissing(Unauthenticated):
    """The token for metrics is required."""


class LiveAnswer(Answer):
    """The process answers."""

    status: Literal["ok"]


class ReadyAnswer(Answer):
    """Whether the platform can serve and store."""

    status: Literal["ready", "not ready"]


class ComponentAnswer(Answer):
    """One part of the platform; `detail` is for administrators."""

    name: Annotated[str, Field(examples=["database"])]
    status: Literal["ok", "degraded", "down"]
    detail: str = ""


class HealthAnswer(Answer):
    """The state of the platform and of its parts."""

    status: Literal["ok", "degraded", "down"]
    components: list[ComponentAnswer]


@blueprint.get("/health/live")
@public
@operation(answers={200: LiveAnswer})
def live() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@blueprint.get("/health/ready")
@public
@operation(answers={200: ReadyAnswer, 503: ReadyAnswer})
def ready() -> tuple[dict[str, Any], int]:
    """The platform can serve requests and store readings; 503 where it cannot."""
    report = services().health.report()
    is_ready = not any(part.status == "down" and part.name in NEEDED_FOR_READINESS for part in report)
    return {"status": "ready" if is_ready else "not ready"}, 200 if is_ready else 503


@blueprint.get("/health")
@public
@operation(answers={200: HealthAnswer, 503: HealthAnswer}, problems=(401,), security=("", "access_token"))
def health() -> tuple[dict[str, Any], int]:
    """The state of the platform and of its parts; administrators see details."""
    report = services().health.report()
    status = _overall(report)
    body: dict[str, Any] = {"status": status, "components": [_component(part) for part in report]}
    if _may_see_details():
        for entry, part in zip(body["components"], report, strict=True):
            entry["detail"] = part.detail
    return body, 503 if status == "down" else 200


@blueprint.get("/metrics")
@public
@operation(
    answers={200: Media("text/plain", "# TYPE iiot_readings_total counter\n")},
    problems=(401,),
    security=("", "metrics_token"),
)
def metrics() -> Response:
    """Figures in Prometheus' text format; with a token where one is set."""
    token = services().settings.web.metrics_token
    if token is not None and not hmac.compare_digest(
        bearer_token().encode(), token.get_secret_value().encode()
    ):
        raise MetricsTokenMissing
    page, content_type = metrics_page()
    return Response(page, content_type=content_type)


def _overall(report: list[ComponentHealth]) -> str:
    if any(part.status == "down" and part.name in NEEDED_FOR_READINESS for part in report):
        return "down"
    return "ok" if all(part.status == "ok" for part in report) else "degraded"


def _component(part: ComponentHealth) -> dict[str, str]:
    return {"name": part.name, "status": part.status}


def _may_see_details() -> bool:
    """A token is optional here; one that is sent must be right."""
    return "Authorization" in request.headers and authenticated().may("platform:read")
