"""What all file models share: strictness, and fields read by our own functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, GetJsonSchemaHandler, PlainValidator
from pydantic_core import CoreSchema


class Shape(BaseModel):
    """A mapping in a file: unknown keys are errors, nothing is converted, nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class Read:
    """Annotation: the value is read by `parse` (which raises Unfit), and editors are told `schema`."""

    def __init__(self, parse: Callable[[object], object], **schema: Any) -> None:
        self.parse = parse
        self.schema = schema

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        made: CoreSchema = PlainValidator(self.parse).__get_pydantic_core_schema__(source, handler)
        return made

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return dict(self.schema)


class OneOrList:
    """Annotation of a tuple: one item may stand for a list of one."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        made: CoreSchema = BeforeValidator(_as_list).__get_pydantic_core_schema__(source, handler)
        return made

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        listing = handler(core)
        return {"anyOf": [listing["items"], listing]}


class OrText:
    """Annotation: a text may stand for the mapping; `expand` says which. `schema` describes it if it is no text."""

    def __init__(self, expand: Callable[[object], object], description: str, **schema: Any) -> None:
        self._expand = expand
        self._schema = schema or {"type": "string", "description": description}

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        made: CoreSchema = BeforeValidator(self._expand).__get_pydantic_core_schema__(source, handler)
        return made

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [self._schema, handler(core)]}


def _as_list(value: object) -> object:
    return value if isinstance(value, tuple) else (value,)
