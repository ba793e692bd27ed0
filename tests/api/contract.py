"""Compares answers with the OpenAPI document: every answer that a test's client gets goes through here."""

from __future__ import annotations

import copy
import re
from typing import Any

from flask import Flask
from openapi_schema_validator import OAS30Validator, oas30_format_checker
from werkzeug.exceptions import HTTPException
from werkzeug.test import TestResponse

from api.document import document_of

Document = dict[str, Any]
_EXTENSION = "tests.contract"


def check_answer(app: Flask, method: str, answer: TestResponse) -> None:
    """Fail where the document does not know the status, the kind of content or a field of the answer."""
    if not hasattr(app, "swag") or method in {"HEAD", "OPTIONS"}:
        return
    path = _documented_path(app, method, answer.request.path)
    document = _strict_document(app)
    if path not in document["paths"]:
        return
    found = document["paths"][path][method.lower()]["responses"].get(str(answer.status_code))
    where = f"{method} {path}"
    assert found is not None, (
        f"{where} answered {answer.status_code}, which its @operation names neither in `answers` nor in "
        f"`problems`: {answer.get_data(as_text=True)[:300]}"
    )
    content = resolved(found, document).get("content", {})
    if not content:
        assert answer.get_data() == b"", f"{where} answered something; its @operation says nothing"
        return
    assert answer.mimetype in content, f"{where} answered {answer.mimetype}, not one of {', '.join(content)}"
    if answer.is_json:
        complaints = complaints_about(answer.get_json(), content[answer.mimetype]["schema"], document)
        assert not complaints, f"the answer of {where} is not what its @operation says: {complaints}"


def complaints_about(value: Any, schema: dict[str, Any], document: Document) -> list[str]:
    """What is wrong with a value under a schema of the document, a line for each."""
    whole = {**schema, "components": document["components"]}
    validator = OAS30Validator(whole, format_checker=oas30_format_checker)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def resolved(part: dict[str, Any], document: Document) -> dict[str, Any]:
    """A part of the document, or what it refers to."""
    found: Any = document
    if "$ref" not in part:
        return part
    for name in part["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return dict(found)


def path_of_rule(rule: str) -> str:
    """The path of the document that stands for a rule of Flask."""
    return re.sub(r"<(?:[^<>:]*:)?([^<>]+)>", r"{\1}", rule)


def strict(document: Document) -> Document:
    """The document with closed objects, so that a field that nobody described is found.

    The published one is open, because fields may be added.
    """
    closed = copy.deepcopy(document)
    for name, schema in closed["components"]["schemas"].items():
        if "properties" in schema and name != "Problem":
            schema.setdefault("additionalProperties", False)
    return closed


def _documented_path(app: Flask, method: str, path: str) -> str | None:
    try:
        rule, _ = app.url_map.bind("localhost").match(path, method=method, return_rule=True)
    except HTTPException:
        return None
    return path_of_rule(rule.rule)


def _strict_document(app: Flask) -> Document:
    known: Document = app.extensions.get(_EXTENSION) or strict(document_of(app))
    app.extensions[_EXTENSION] = known
    return known
