"""The OpenAPI document says what the routes do: all of them, with examples, and nothing else."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, Flask
from openapi_spec_validator import OpenAPIV30SpecValidator
from pydantic import create_model

import api
from api import register_routes
from api.document import document_of, register_document
from api.operations import Answer, operation, operation_of
from rbac import PERMISSIONS, access_of, public
from tests.api.contract import complaints_about, path_of_rule, resolved, strict

# Pages and files for people; everything else is an operation of the document.
PAGES = {"/", "/console/<path:name>", "/api/v1/docs", "/api/v1/openapi.json", "/static/<path:filename>"}


@pytest.fixture(scope="module")
def app() -> Flask:
    """The routes, without anything behind them."""
    app = Flask("document")
    register_routes(app)
    return app


@pytest.fixture(scope="module")
def document(app: Flask) -> dict[str, Any]:
    return document_of(app)


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, found in methods.items():
            yield f"{method.upper()} {path}", found


def test_the_document_is_valid_openapi_3_0_3(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.0.3"
    assert [str(error) for error in OpenAPIV30SpecValidator(document).iter_errors()] == []


def test_it_is_served_without_signing_in(app: Flask, document: dict[str, Any]) -> None:
    assert (
        app.test_client().get("/api/v1/openapi.json").get_json()["paths"].keys() == document["paths"].keys()
    )


def test_in_production_only_somebody_who_is_signed_in_gets_it() -> None:
    app = Flask("production")
    register_routes(app, is_document_open=False)
    assert access_of(app.view_functions["openapi.document"]) == "signed in"


def test_every_route_is_an_operation_or_a_page(app: Flask, document: dict[str, Any]) -> None:
    routes = {
        f"{method} {path_of_rule(rule.rule)}"
        for rule in app.url_map.iter_rules()
        if rule.rule not in PAGES
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert {name for name, _ in operations(document)} == routes


def test_every_operation_says_what_it_needs(app: Flask, document: dict[str, Any]) -> None:
    for rule in app.url_map.iter_rules():
        declared = operation_of(app.view_functions[rule.endpoint])
        if declared is None:
            continue
        access = access_of(app.view_functions[rule.endpoint])
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            found = document["paths"][path_of_rule(rule.rule)][method.lower()]
            where = f"{method} {rule.rule}"
            assert found["summary"], f"{where} has no docstring"
            if access in PERMISSIONS:
                assert f"`{access}`" in found["description"], where
                assert {"401", "403"} <= found["responses"].keys(), where
            assert bool(found["security"]) == (access != "public" or bool(declared.security)), where
            assert {status for status in found["responses"] if status < "400"}, where


def test_every_example_fits_its_schema(document: dict[str, Any]) -> None:
    closed = strict(document)
    for where, found in operations(document):
        contents = [resolved(answer, document).get("content", {}) for answer in found["responses"].values()]
        contents.append(found.get("requestBody", {}).get("content", {}))
        for content in contents:
            for kind, media in content.items():
                assert "example" in media, f"{where} has no example of {kind}"
                complaints = complaints_about(media["example"], media["schema"], closed)
                assert not complaints, f"{where}: give the field examples=[...]: {complaints}"
        for parameter in found.get("parameters", []):
            if "example" in parameter:
                complaints = complaints_about(parameter["example"], parameter["schema"], closed)
                assert not complaints, f"{where}, {parameter['name']}: {complaints}"
            else:
                assert not parameter.get("required"), f"{where}: {parameter['name']} has no example"


def test_the_example_of_a_body_is_accepted_by_the_model_that_reads_it(
    app: Flask, document: dict[str, Any]
) -> None:
    for rule in app.url_map.iter_rules():
        declared = operation_of(app.view_functions[rule.endpoint])
        if declared is not None and declared.body is not None:
            (method,) = (rule.methods or set()) - {"HEAD", "OPTIONS"}
            found = document["paths"][path_of_rule(rule.rule)][method.lower()]
            declared.body.model_validate(found["requestBody"]["content"]["application/json"]["example"])


def test_the_document_names_the_models_that_the_handlers_read(app: Flask) -> None:
    for endpoint, handler in app.view_functions.items():
        declared = operation_of(handler)
        if declared is not None:
            tree = ast.parse(inspect.getsource(inspect.unwrap(handler)))
            assert _models_read(tree, "read_body") == _name_of(declared.body), endpoint
            assert _models_read(tree, "read_query") == _name_of(declared.query), endpoint


def _models_read(tree: ast.AST, function: str) -> set[str]:
    """The models that a handler calls `read_body` or `read_query` with."""
    return {
        node.args[0].id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == function
        and isinstance(node.args[0], ast.Name)
    }


def _name_of(model: type[object] | None) -> set[str]:
    return {model.__name__} if model is not None else set()


def test_bodies_and_queries_are_read_in_handlers_only() -> None:
    """Where the document's test finds them."""
    folder = Path(api.__file__).parent
    for path in sorted(folder.glob("*.py")):
        if path.name == "bodies.py":
            continue
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef) and not function.decorator_list:
                read = _models_read(function, "read_body") | _models_read(function, "read_query")
                assert not read, f"{path.name}: {function.name} reads {read}; read it in the handler"


def test_a_route_that_is_not_described_does_not_start() -> None:
    app = Flask("forgotten")
    blueprint = Blueprint("v1", __name__, url_prefix="/api/v1")

    @blueprint.get("/forgotten")
    @public
    def forgotten() -> str:
        return ""

    app.register_blueprint(blueprint)
    with pytest.raises(
        RuntimeError, match=r"without @operation: v1\.forgotten .*\"Add an endpoint\" in CONTRIB"
    ):
        register_document(app, version="0")


def test_models_of_one_name_are_told_apart() -> None:
    app = Flask("twins")

    def describe(name: str, model: type[Answer]) -> None:
        @app.get(f"/{name}", endpoint=name)
        @public
        @operation(answers={200: model})
        def handler() -> str:
            """Answer."""
            return ""

    describe("one", create_model("Twin", __base__=Answer, __module__="plant.one", flow=int))
    describe("two", create_model("Twin", __base__=Answer, __module__="plant.two", level=str))
    register_document(app, version="0")
    names = {name for name in document_of(app)["components"]["schemas"] if "Twin" in name}
    assert len(names) == 2
