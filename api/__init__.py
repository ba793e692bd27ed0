"""The REST interface: one blueprint per resource, under /api/v1; health and metrics at the root."""

from __future__ import annotations

from flask import Blueprint, Flask

import rbac
from api import (
    alerts,
    analytics,
    auth,
    commands,
    console,
    credentials,
    dead_letters,
    device_service,
    devices,
    documentation,
    latest,
    platform,
    telemetry,
)
from api.browser_rules import register_browser_rules
from api.document import register_document
from api.json_provider import OrjsonProvider
from api.problems import register_problems
from api.requests import register_request_hooks
from api.services import ComponentHealth, HealthSource, LatestSource, Services, install_services

__all__ = [
    "ComponentHealth",
    "HealthSource",
    "LatestSource",
    "Services",
    "register_api",
    "register_routes",
]

API_VERSION = "1.0.0"

_RESOURCES = (
    auth,
    devices,
    credentials,
    commands,
    device_service,
    latest,
    telemetry,
    dead_letters,
    alerts,
    analytics,
)


def register_api(app: Flask, services: Services) -> None:
    """Put the routes on the application.

    Raises:
        RuntimeError: A route does not say who may call it, or what it takes and answers.
    """
    app.config["MAX_CONTENT_LENGTH"] = services.settings.web.max_body_bytes
    app.json = OrjsonProvider(app)
    register_browser_rules(app, services.settings.web)
    register_request_hooks(app)
    register_problems(app)
    install_services(app, services)
    rbac.use_authenticator(app, services.sessions.authenticate)
    register_routes(app, is_document_open=not services.settings.is_production)


def register_routes(app: Flask, *, is_document_open: bool = True) -> None:
    """Put the blueprints and the document that describes them on the application; needs no services yet.

    Where the document is not open, only somebody who is signed in gets it.
    """
    version = Blueprint("v1", __name__, url_prefix="/api/v1")
    for resource in (*_RESOURCES, documentation):
        version.register_blueprint(resource.blueprint)
    app.register_blueprint(version)
    app.register_blueprint(platform.blueprint)
    app.register_blueprint(console.blueprint)
    _refuse_open_routes(app)
    register_document(app, version=API_VERSION, is_open=is_document_open)


def _refuse_open_routes(app: Flask) -> None:
    ours = [name for name in app.view_functions if name.startswith(("v1.", "platform.", "console."))]
    undecided = [name for name in ours if rbac.access_of(app.view_functions[name]) is None]
    if undecided:
        raise RuntimeError(f"routes without @requires or @public: {', '.join(undecided)}")
