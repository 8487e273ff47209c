"""An independent reading of JSON Schema, as far as ours go: what an editor would say of a file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "array": (list, tuple),
    "object": dict,
    "boolean": bool,
}
_WORDS = """
    $defs $ref $schema additionalProperties anyOf const default description enum exclusiveMinimum format items maxItems
    maxLength maxProperties maximum minItems minLength minProperties
    minimum pattern properties propertyNames required title type
"""
_KNOWN = frozenset(_WORDS.split())


def objections(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], at: str = "") -> Iterator[str]:
    """What the schema has against the value; nothing if it conforms."""
    assert set(schema) <= _KNOWN, set(schema) - _KNOWN
    if "$ref" in schema:
        yield from objections(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root, at)
    if "anyOf" in schema and all(any(objections(value, each, root, at)) for each in schema["anyOf"]):
        yield f"{at}: {value!r} is none of {schema['anyOf']}"
    if "const" in schema and (value != schema["const"] or type(value) is not type(schema["const"])):
        yield f"{at}: {value!r} is not {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at}: {value!r} is none of {schema['enum']}"
    kind = schema.get("type")
    if kind is not None and (not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean")):
        yield f"{at}: {value!r} is no {kind}"
        return
    yield from _inside(value, schema, root, at)


def _inside(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], at: str) -> Iterator[str]:
    match value:
        case str():
            if not re.search(schema.get("pattern", ""), value):
                yield f"{at}: {value!r} does not match {schema['pattern']}"
            if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
                yield f"{at}: {value!r} has a wrong length"
        case int() | float() if not isinstance(value, bool):
            if not schema.get("minimum", value) <= value <= schema.get("maximum", value):
                yield f"{at}: {value!r} is out of range"
            if not value > schema.get("exclusiveMinimum", value - 1):
                yield f"{at}: {value!r} is out of range"
        case list() | tuple():
            if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
                yield f"{at}: {len(value)} entries"
            for position, item in enumerate(value if "items" in schema else ()):
                yield from objections(item, schema["items"], root, f"{at}[{position}]")
        case dict():
            yield from _mapping(value, schema, root, at)


def _mapping(value: dict[str, Any], schema: Mapping[str, Any], root: Mapping[str, Any], at: str) -> Iterator[str]:
    properties = schema.get("properties", {})
    if len(value) < schema.get("minProperties", 0):
        yield f"{at}: {len(value)} keys"
    for key in schema.get("required", ()):
        if key not in value:
            yield f"{at}: {key} is missing"
    for key, each in value.items():
        yield from objections(key, schema.get("propertyNames", {}), root, f"{at}.{key} (key)")
        if key in properties:
            yield from objections(each, properties[key], root, f"{at}.{key}")
        elif isinstance(further := schema.get("additionalProperties", {}), dict):
            yield from objections(each, further, root, f"{at}.{key}")
        else:
            yield f"{at}: {key} is not a key"
