"""JSON schemas as OpenAPI 3.0.3 wants them, and examples made from them. Pure functions on plain data.

pydantic writes JSON Schema 2020-12. OpenAPI 3.0.3 knows an older dialect: `nullable` instead of a null type,
`enum` instead of `const`, one `example`, flags for exclusive limits, and no siblings of `$ref`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]
REFERENCE = "#/components/schemas/"

# What is no schema inside a schema, and what the older dialect does not know.
PLAIN = frozenset({"example", "examples", "default", "enum", "required"})
_NULL: Schema = {"nullable": True, "enum": [None]}
_UNKNOWN = frozenset({"propertyNames", "patternProperties", "contentMediaType", "contentEncoding", "$defs"})
_EXAMPLE_OF_FORMAT = {
    "date-time": "2026-01-31T08:00:00Z",
    "date": "2026-01-31",
    "uuid": "5f0c6f0e-3d0b-4b6e-9c55-0d8a6b3c1e42",
    "email": "alice@plant-a.example",
    "uri": "https://plant-a.example/hook",
    "binary": "",
}


def to_openapi(schema: Any) -> Any:
    """A JSON schema of pydantic, with everything below it, in the dialect of OpenAPI 3.0.3."""
    if isinstance(schema, list):
        return [to_openapi(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    given: Schema = {
        key: value if key in PLAIN else _each(value) if key == "properties" else to_openapi(value)
        for key, value in schema.items()
        if key not in _UNKNOWN
    }
    for key in ("anyOf", "oneOf"):
        if key in given:
            given |= _without_null(given.pop(key), key, given)
    return _in_old_words(given)


def _in_old_words(given: Schema) -> Schema:
    """What the older dialect says with other words, in one schema."""
    if "const" in given:
        given["enum"] = [given.pop("const")]
    if given.get("examples"):
        given.setdefault("example", given.pop("examples")[0])
    for exclusive, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if not isinstance(given.get(exclusive, True), bool):
            given[limit] = given[exclusive]
            given[exclusive] = True
    if given.pop("prefixItems", None) is not None:
        given["items"] = {}
    if "$ref" in given and len(given) > 1:
        given["allOf"] = [{"$ref": given.pop("$ref")}]
    return given


def _each(schemas: Schema) -> Schema:
    return {name: to_openapi(schema) for name, schema in schemas.items()}


def _without_null(alternatives: list[Schema], key: str, beside: Schema) -> Schema:
    """What replaces a choice between schemas, one of which may be null."""
    some = [part for part in alternatives if part != {"type": "null"}]
    found: Schema = {"nullable": True} if len(some) < len(alternatives) else {}
    if len(some) != 1:
        return found | {key: some}
    if "$ref" in some[0]:
        # What stands beside a reference cannot widen it: null needs an alternative of its own.
        return found | {"anyOf": [*some, _NULL]} if found else {"allOf": some}
    return found | {name: value for name, value in some[0].items() if name not in beside}


def example_of(schema: Schema, schemas: Mapping[str, Schema]) -> Any:
    """A value that fits the schema: its own example where it has one, else one made from its parts."""
    for given in (schema.get("example"), schema.get("default"), *schema.get("enum", [])[:1]):
        if given is not None:
            return given
    reference = _reference_in(schema)
    if reference is not None:
        target = schemas.get(reference.removeprefix(REFERENCE), {})
        return None if schema.get("nullable") and "example" not in target else example_of(target, schemas)
    if schema.get("nullable") and "format" not in schema:
        return None
    if schema.get("type") == "object":
        return {name: example_of(part, schemas) for name, part in schema.get("properties", {}).items()}
    if schema.get("type") == "array":
        return [example_of(schema.get("items", {}), schemas)] * max(1, schema.get("minItems", 1))
    return _scalar_example(schema)


def _reference_in(schema: Schema) -> str | None:
    """Where the schema, or the first of its alternatives, points to."""
    if "$ref" in schema:
        return str(schema["$ref"])
    alternatives = [part for key in ("allOf", "oneOf", "anyOf") for part in schema.get(key, [])]
    return next((part["$ref"] for part in alternatives if "$ref" in part), None)


def _scalar_example(schema: Schema) -> Any:
    match schema.get("type"):
        case "string":
            text: str = _EXAMPLE_OF_FORMAT.get(schema.get("format", ""), "text")
            return text.ljust(schema.get("minLength", 0), "x")
        case "integer":
            lowest = schema.get("minimum", 1) + bool(schema.get("exclusiveMinimum"))
            return min(max(1, int(lowest)), schema.get("maximum", lowest + 1))
        case "number":
            return max(schema.get("minimum", 0.0), 0.0) + 0.5
        case "boolean":
            return True
    return {}
