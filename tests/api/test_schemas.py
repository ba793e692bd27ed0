"""JSON Schema in the dialect of OpenAPI 3.0.3, and examples made from schemas."""

from __future__ import annotations

from typing import Any

import pytest

from api.schemas import example_of, to_openapi


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": "string", "nullable": True}),
        (
            {"anyOf": [{"$ref": "#/x"}, {"type": "null"}]},
            {"anyOf": [{"$ref": "#/x"}, {"nullable": True, "enum": [None]}], "nullable": True},
        ),
        (
            {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]},
            {"anyOf": [{"type": "string"}, {"type": "integer"}], "nullable": True},
        ),
        ({"const": "v1"}, {"enum": ["v1"]}),
        ({"examples": ["a", "b"]}, {"example": "a"}),
        ({"exclusiveMinimum": 0}, {"minimum": 0, "exclusiveMinimum": True}),
        (
            {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "null"}]},
            {"type": "number", "minimum": 0, "exclusiveMinimum": True, "nullable": True},
        ),
        ({"exclusiveMaximum": 9}, {"maximum": 9, "exclusiveMaximum": True}),
        ({"type": "array", "prefixItems": [{"type": "string"}]}, {"type": "array", "items": {}}),
        ({"$ref": "#/x", "description": "y"}, {"allOf": [{"$ref": "#/x"}], "description": "y"}),
        ({"$ref": "#/x"}, {"$ref": "#/x"}),
        ({"propertyNames": {"maxLength": 9}, "type": "object"}, {"type": "object"}),
        (
            {"properties": {"const": {"const": 1}, "examples": {"type": "string"}}},
            {"properties": {"const": {"enum": [1]}, "examples": {"type": "string"}}},
        ),
        ({"default": {"anyOf": [1]}}, {"default": {"anyOf": [1]}}),
    ],
)
def test_a_schema_is_said_in_the_older_dialect(given: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert to_openapi(given) == wanted


@pytest.mark.parametrize(
    ("schema", "example"),
    [
        ({"type": "string", "example": "P-103"}, "P-103"),
        ({"type": "integer", "default": 100}, 100),
        ({"enum": ["asc", "desc"]}, "asc"),
        ({"type": "string", "nullable": True}, None),
        ({"type": "string", "nullable": True, "format": "date-time"}, "2026-01-31T08:00:00Z"),
        ({"type": "string", "minLength": 6}, "textxx"),
        ({"type": "integer", "minimum": 60}, 60),
        ({"type": "integer", "minimum": 0, "maximum": 0}, 0),
        ({"type": "number", "minimum": 0, "exclusiveMinimum": True}, 0.5),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [True, True]),
        ({"$ref": "#/components/schemas/Pump"}, {"flow": 1.5}),
        ({"allOf": [{"$ref": "#/components/schemas/Pump"}], "nullable": True}, None),
        ({}, {}),
    ],
)
def test_an_example_is_made_from_the_schema(schema: dict[str, Any], example: object) -> None:
    pump = {"type": "object", "properties": {"flow": {"type": "number", "minimum": 1}}}
    assert example_of(schema, {"Pump": pump}) == example
