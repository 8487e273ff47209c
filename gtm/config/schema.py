"""JSON Schemas of the deployment files, for editors: generated from the very models that check them (`make schema`)."""

from __future__ import annotations

import json
from typing import Any

from gtm.config.shape.base import Shape
from gtm.config.shape.bgp import AnycastFile
from gtm.config.shape.checks import ChecksFile
from gtm.config.shape.dataplane import DataplaneFile
from gtm.config.shape.load import LoadFile
from gtm.config.shape.node import NodeFile
from gtm.config.shape.regions import RegionsFile
from gtm.config.shape.rtt import RttFile
from gtm.config.shape.steering import SteeringFile

FILES: dict[str, tuple[str, type[Shape]]] = {
    "gtm.schema.json": ("gtm.yaml", NodeFile),
    "regions.schema.json": ("geodata/regions.yaml", RegionsFile),
    "checks.schema.json": ("probes/checks.yaml", ChecksFile),
    "load.schema.json": ("probes/load.yaml", LoadFile),
    "rtt.schema.json": ("probes/rtt.yaml", RttFile),
    "anycast.schema.json": ("bgp/anycast.yaml", AnycastFile),
    "services.schema.json": ("dataplane/services.yaml", DataplaneFile),
    "steering.schema.json": ("zones/NAME.yaml", SteeringFile),
}


def render_schemas() -> dict[str, str]:
    """The text of each schema (JSON Schema 2020-12) by file name, as kept in docs/schema."""
    return {name: _render(title, shape) for name, (title, shape) in FILES.items()}


def _render(title: str, shape: type[Shape]) -> str:
    found = shape.model_json_schema()
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **_tidy(found), "title": title}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _tidy(node: Any) -> Any:
    """Without the library's titles, without the nulls that only mean that a key may be left out, keys checked."""
    if isinstance(node, list):
        return [_tidy(each) for each in node]
    if not isinstance(node, dict):
        return node
    if (options := node.get("anyOf")) and {"type": "null"} in options:
        rest = [each for each in options if each != {"type": "null"}]
        others = {key: value for key, value in node.items() if key != "anyOf"}
        return _tidy({**rest[0], **others} if len(rest) == 1 else {**others, "anyOf": rest})
    if len(patterns := node.get("patternProperties", {})) == 1:
        ((pattern, below),) = patterns.items()
        others = {key: value for key, value in node.items() if key != "patternProperties"}
        return _tidy({**others, "propertyNames": {"pattern": pattern}, "additionalProperties": below})
    return {
        key: {name: _tidy(each) for name, each in value.items()} if key in ("properties", "$defs") else _tidy(value)
        for key, value in node.items()
        if not (key == "title" or (key == "default" and value is None))
    }
