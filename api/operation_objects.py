"""One route as an operation object of OpenAPI: parameters, body, answers and the problems of its shape."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode
from werkzeug.routing import Rule

from api.bodies import is_optional
from api.operations import AnswerKind, Media, Operation
from api.schemas import REFERENCE, Schema, example_of, to_openapi
from rbac import access_of

# How somebody who is signed in proves it.
SIGNED_IN = ("access_token",)

_PATH_EXAMPLES = {"device_id": "P-103", "metric": "flow"}

NamedModel = tuple[type[BaseModel], JsonSchemaMode]


@dataclass(frozen=True, slots=True)
class Components:
    """The schemas of the document by name, and the name of each model."""

    schemas: Mapping[str, Schema]
    names: Mapping[NamedModel, str]


def operation_object(
    rule: Rule, handler: Callable[..., object], operation: Operation, components: Components
) -> dict[str, Any]:
    """What the document says about a route."""
    summary, _, text = (inspect.getdoc(handler) or "").partition("\n\n")
    access = access_of(handler) or ""
    found: dict[str, Any] = {
        "operationId": rule.endpoint.removeprefix("v1.").replace(".", "_"),
        "tags": [tag_of(rule)],
        "summary": " ".join(summary.split()).rstrip("."),
        "description": _description(text, access),
        "security": _security(access, operation),
        "parameters": [*_path_parameters(rule), *_query_parameters(operation)],
        "responses": {
            str(int(status)): _answer_object(status, answer, components)
            for status, answer in operation.answers.items()
        },
    }
    if operation.body is not None:
        content = _json_content((operation.body, "validation"), components)
        is_required = not is_optional(operation.body)
        found["requestBody"] = {"required": is_required, "content": {"application/json": content}}
    for status in sorted(_problem_statuses(rule, access, operation) - set(operation.answers)):
        found["responses"][str(status)] = {"$ref": f"#/components/responses/{status}"}
    return found


def tag_of(rule: Rule) -> str:
    """The heading under which a route stands: its blueprint."""
    blueprint: str = rule.endpoint.removeprefix("v1.").partition(".")[0]
    return blueprint.replace("_", " ")


def _description(text: str, access: str) -> str:
    asked = {
        "public": "Open to everybody.",
        "signed in": "For everybody who is signed in.",
    }.get(access, f"Needs the permission `{access}`.")
    return "\n\n".join(part for part in (" ".join(text.split()), asked) if part)


def _security(access: str, operation: Operation) -> list[dict[str, list[str]]]:
    schemes = operation.security
    if schemes is None:
        schemes = () if access == "public" else SIGNED_IN
    return [{scheme: []} if scheme else {} for scheme in schemes]


def _problem_statuses(rule: Rule, access: str, operation: Operation) -> set[int]:
    """What this route may answer beside its own answers: what follows from its shape, and what it names."""
    statuses = {400, *(int(status) for status in operation.problems)}
    if rule.rule.startswith("/api/"):
        statuses |= {429, 503}
    if access != "public":
        statuses.add(401)
        if access != "signed in":
            statuses.add(403)
    if rule.arguments:
        statuses |= {404, 414}
    if operation.query is not None:
        statuses.add(414)
    if operation.body is not None:
        statuses |= {413, 415}
    return statuses


def _path_parameters(rule: Rule) -> Iterator[dict[str, Any]]:
    for match in re.finditer(r"<(?:(\w+)(?:\([^>]*\))?:)?(\w+)>", rule.rule):
        converter, name = match.groups()
        is_number = converter == "int"
        schema: Schema = (
            {"type": "integer", "minimum": 0} if is_number else {"type": "string", "minLength": 1}
        )
        if converter == "uuid":
            schema = {"type": "string", "format": "uuid"}
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "schema": schema,
            "example": _PATH_EXAMPLES.get(name) or example_of(schema, {}),
        }


def _query_parameters(operation: Operation) -> Iterator[dict[str, Any]]:
    if operation.query is None:
        return
    given = operation.query.model_json_schema(mode="validation", ref_template=REFERENCE + "{model}")
    inner = {name: to_openapi(schema) for name, schema in given.get("$defs", {}).items()}
    for name, raw in given.get("properties", {}).items():
        schema = {key: value for key, value in to_openapi(raw).items() if key not in {"title", "nullable"}}
        for part in schema.pop("allOf", []):
            schema |= inner[part["$ref"].removeprefix(REFERENCE)]
        if schema.get("default", "") is None:
            del schema["default"]
        parameter: dict[str, Any] = {"name": name, "in": "query", "schema": schema}
        if "description" in schema:
            parameter["description"] = schema.pop("description")
        if name in given.get("required", ()):
            parameter["required"] = True
        if "example" in schema or "required" in parameter:
            parameter["example"] = example_of(schema, inner)
        schema.pop("example", None)
        yield parameter


def _answer_object(status: int, answer: AnswerKind, components: Components) -> dict[str, Any]:
    found: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if isinstance(answer, type):
        content = _json_content((answer, "serialization"), components)
        found["content"] = {"application/json": content}
    elif answer is not None:
        kinds = (answer,) if isinstance(answer, Media) else answer
        found["content"] = {
            kind.content_type: {"schema": {"type": "string"}, "example": kind.example} for kind in kinds
        }
    return found


def _json_content(model: NamedModel, components: Components) -> dict[str, Any]:
    name = components.names[model]
    example = example_of(components.schemas[name], components.schemas)
    return {"schema": {"$ref": REFERENCE + name}, "example": example}
