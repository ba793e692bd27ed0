"""The page where people read the OpenAPI document and try the routes: Swagger UI, served from here only."""

from __future__ import annotations

from flask import Blueprint, Response

from api.console import console_file
from rbac import public

blueprint = Blueprint("documentation", __name__)


@blueprint.get("/docs")
@public
def page() -> Response:
    """Swagger UI; where the document is not open, its script asks to sign in first."""
    return console_file("api-docs/index.html")
