"""The OpenAPI document, put together by flasgger from what the routes say about themselves."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from flasgger import Swagger
from flask import Flask
from pydantic import Field
from pydantic.json_schema import models_json_schema
from werkzeug.routing import Rule

from api.operation_objects import Components, NamedModel, operation_object, tag_of
from api.operations import Answer, Operation, operation_of
from api.schemas import PLAIN, REFERENCE, to_openapi
from rbac import public, requires

OPENAPI_VERSION = "3.0.3"
ROUTE = "/api/v1/openapi.json"
# Pages and files for people, not operations; and the document itself.
NOT_OPERATIONS = ("console.", "v1.documentation.", "openapi.", "static")

Handler = Callable[..., object]

SECURITY_SCHEMES: dict[str, dict[str, Any]] = {
    "access_token": {
        "type": "http",
        "scheme": "bearer",
        "description": "The `access_token` that `POST /api/v1/auth/login` answers with.",
    },
    "refresh_token": {
        "type": "http",
        "scheme": "bearer",
        "description": "The `refresh_token` of the login; for `POST /api/v1/auth/refresh` only.",
    },
    "metrics_token": {
        "type": "http",
        "scheme": "bearer",
        "description": "`IIOT_METRICS_TOKEN`; for `GET /metrics` only.",
    },
}
_DESCRIPTION = """\
Devices and their telemetry. JSON in snake_case, times in RFC 3339 UTC. Errors are `application/problem+json`
(RFC 9457); programs tell them apart by `type`. Lists page by `cursor`. Unknown fields and parameters are
refused. An object of another tenant is answered like one that does not exist.
"""


class FieldProblem(Answer):
    """One wrong field of the input."""

    pointer: str
    detail: str


class Problem(Answer):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    errors: list[FieldProblem] = Field(default_factory=list)


_SECONDS = {"schema": {"type": "integer", "minimum": 0}}
_HEADERS = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    429: {"Retry-After": _SECONDS},
    503: {"Retry-After": _SECONDS},
}
_MEANING = {
    400: ("malformed-body", "Malformed: an unknown field, a wrong type or parameter."),
    401: ("credentials-missing", "No valid credentials."),
    403: ("permission-missing", "A permission is missing."),
    404: ("not-found", "There is no such object in this tenant."),
    409: ("conflict", "Taken already, or done already."),
    413: ("content-too-large", "The body is larger than the platform accepts."),
    414: ("", "The address is longer than the web server accepts; it answers by itself, in plain words."),
    415: ("unsupported-content", "The body is not plain application/json."),
    422: ("rule-broken", "Well formed, but against a rule."),
    429: ("too-many-requests", "Too many requests: wait for Retry-After seconds."),
    502: ("bad-gateway", "Another system, which this route asks, answered badly."),
    503: ("unavailable", "The platform cannot do this now: wait for Retry-After seconds."),
}


def register_document(app: Flask, *, version: str, is_open: bool = True) -> None:
    """Describe every route and serve the document: to everybody, or to whoever is signed in.

    Raises:
        RuntimeError: A route is not described.
    """
    rules = list(_described_rules(app))
    components = _components([operation for _, _, operation in rules])
    for rule, handler, operation in rules:
        handler.specs_dict = operation_object(rule, handler, operation, components)  # type: ignore[attr-defined]
        # Without it flasgger would take the whole docstring for the summary, and parse it as YAML.
        handler.swag_paths = {}  # type: ignore[attr-defined]
    document = {
        "openapi": OPENAPI_VERSION,
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in sorted({tag_of(rule) for rule, _, _ in rules})],
        "components": {
            "schemas": dict(components.schemas),
            "responses": {
                str(status): _problem_object(status, meaning) for status, meaning in _MEANING.items()
            },
            "securitySchemes": SECURITY_SCHEMES,
        },
    }
    config = {
        "openapi": OPENAPI_VERSION,
        "endpoint": "openapi",
        "headers": [],
        "swagger_ui": False,
        "info": {
            "title": "INSA Advanced IIoT Platform",
            "version": version,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "specs": [{"endpoint": "document", "route": ROUTE, "rule_filter": _is_operation(app)}],
    }
    Swagger(app, config=config, template=document, decorators=[public if is_open else requires()])


def document_of(app: Flask) -> dict[str, Any]:
    """The document of an application, as it is served."""
    with app.app_context():
        document: dict[str, Any] = app.swag.get_apispecs("document")  # type: ignore[attr-defined]
        return document


def _is_operation(app: Flask) -> Callable[[Rule], bool]:
    return lambda rule: operation_of(app.view_functions[rule.endpoint]) is not None


def _described_rules(app: Flask) -> Iterator[tuple[Rule, Handler, Operation]]:
    nameless = []
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith(NOT_OPERATIONS):
            continue
        handler = app.view_functions[rule.endpoint]
        operation = operation_of(handler)
        if operation is None:
            nameless.append(f"{rule.endpoint} ({rule.rule})")
        else:
            yield rule, handler, operation
    if nameless:
        raise RuntimeError(
            f"routes without @operation: {', '.join(nameless)}. Declare beside the handler what it takes and "
            'answers, as "Add an endpoint" in CONTRIBUTING.md shows'
        )


# Schemas --------------------------------------------------------------------------------------------------


def _components(operations: list[Operation]) -> Components:
    wanted: dict[NamedModel, None] = {(Problem, "serialization"): None}
    for operation in operations:
        if operation.body is not None:
            wanted[operation.body, "validation"] = None
        for answer in operation.answers.values():
            if isinstance(answer, type):
                wanted[answer, "serialization"] = None
    references, generated = models_json_schema(list(wanted), ref_template=REFERENCE + "{model}")
    definitions: dict[str, Any] = generated["$defs"]
    public_names = _public_names(definitions)
    schemas = {
        public_names[name]: _renamed(to_openapi(schema), public_names) for name, schema in definitions.items()
    }
    names = {model: public_names[references[model]["$ref"].removeprefix(REFERENCE)] for model in wanted}
    return Components(schemas, names)


def _public_names(definitions: dict[str, Any]) -> dict[str, str]:
    """Names without the underscores of private classes; the module stays where two would be equal."""
    short = {name: _short_name(name) for name in definitions}
    taken = list(short.values())
    return {
        name: candidate if taken.count(candidate) == 1 else name.strip("_")
        for name, candidate in short.items()
    }


def _short_name(name: str) -> str:
    page = re.fullmatch(r"Page_(.+)_", name)
    if page:
        return f"{_short_name(page[1])}Page"
    return name.rpartition("__")[2].strip("_") or name.strip("_")


def _renamed(schema: Any, names: dict[str, str]) -> Any:
    if isinstance(schema, list):
        return [_renamed(part, names) for part in schema]
    if not isinstance(schema, dict):
        return schema
    renamed = {key: value if key in PLAIN else _renamed(value, names) for key, value in schema.items()}
    if isinstance(renamed.get("$ref"), str):
        renamed["$ref"] = REFERENCE + names[renamed["$ref"].removeprefix(REFERENCE)]
    if isinstance(renamed.get("title"), str):
        renamed.pop("title")
    return renamed


# Problems -------------------------------------------------------------------------------------------------


def _problem_object(status: int, meaning: tuple[str, str]) -> dict[str, Any]:
    kind, description = meaning
    if not kind:
        return {"description": description}
    example = {
        "type": f"urn:iiot:problem:{kind}",
        "title": description,
        "status": status,
        "detail": description,
        "instance": "/api/v1/devices",
        "request_id": "fedbe509e3473740",
    }
    found: dict[str, Any] = {
        "description": description,
        "content": {
            "application/problem+json": {"schema": {"$ref": REFERENCE + "Problem"}, "example": example}
        },
    }
    if status in _HEADERS:
        found["headers"] = _HEADERS[status]
    return found
