"""What the validation library found, in plain words: where, what is wrong, what is allowed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gtm.config.nearby import did_you_mean, listed
from gtm.config.scalars import Unfit, shown
from gtm.config.shape.base import Shape

_EXPECTED = {
    "tuple_type": "a list",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "model_attributes_type": "a mapping (key: value)",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
}
_RANGE = frozenset(("greater_than", "greater_than_equal", "less_than", "less_than_equal", "finite_number"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault of a file's shape. `unknown`: the key at `steps` is not one of ours."""

    steps: tuple[str | int, ...]
    message: str
    allowed: str | None = None
    unknown: bool = False


def in_words(error: ValidationError, shape: type[Shape]) -> list[Fault]:
    """Every fault that the library found; a list that is too short only because its items are wrong is no fault."""
    details = error.errors(include_url=False)
    above = {detail["loc"][:length] for detail in details for length in range(len(detail["loc"]))}
    return [
        _fault(detail, shape) for detail in details if not (detail["type"] == "too_short" and detail["loc"] in above)
    ]


def _fault(detail: ErrorDetails, shape: type[Shape]) -> Fault:
    """One of the library's findings in words."""
    steps = tuple(detail["loc"])
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if steps and steps[-1] == "[key]":
        steps = steps[:-1]
    if kind == "extra_forbidden":
        known = keys(shape, steps[:-1])
        return Fault(
            steps=steps,
            message=f"unknown key{did_you_mean(str(steps[-1]), known)}",
            allowed=listed(known),
            unknown=True,
        )
    if kind == "missing":
        return Fault(steps=steps, message="is missing")
    unfit = context.get("error")
    if isinstance(unfit, Unfit):
        return Fault(steps=steps, message=unfit.message, allowed=unfit.allowed)
    if kind in _EXPECTED:
        hint = "; put quotes around it" if kind == "string_type" and isinstance(value, int | float) else ""
        return Fault(
            steps=steps, message=f"expected {_EXPECTED[kind]}, not {shown(value)}{hint}", allowed=_range(shape, steps)
        )
    if kind in _RANGE:
        return Fault(steps=steps, message=f"{shown(value)} is out of range", allowed=_range(shape, steps))
    if kind == "literal_error":
        words = str(context.get("expected")).replace("'", "").replace(" or ", ", ")
        return Fault(steps=steps, message=f"{shown(value)} is not known here", allowed=words)
    if kind in ("too_short", "too_long"):
        limit = context.get("min_length", context.get("max_length"))
        bound = "at least" if kind == "too_short" else "at most"
        return Fault(steps=steps, message=f"has {context.get('actual_length')} entries", allowed=f"{bound} {limit}")
    return Fault(steps=steps, message=f"does not fit: {detail['msg']}")


def keys(shape: type[Shape], steps: tuple[str | int, ...]) -> tuple[str, ...]:
    """The keys allowed in the mapping at `steps` of a file of this shape."""
    return tuple(dict.fromkeys(key for place in _at(shape, steps) for key in place.get("properties", {})))


def _range(shape: type[Shape], steps: tuple[str | int, ...]) -> str | None:
    """The range of numbers allowed at `steps`, if there is one."""
    for place in _at(shape, steps):
        low, above, high = place.get("minimum"), place.get("exclusiveMinimum"), place.get("maximum")
        if above is not None:
            return f"above {above:g}"
        if low is not None and high is not None:
            return f"{low:g} to {high:.10g}"
    return None


@cache
def _schema(shape: type[Shape]) -> dict[str, Any]:
    return shape.model_json_schema()


def _at(shape: type[Shape], steps: tuple[str | int, ...]) -> list[Mapping[str, Any]]:
    """The alternatives that the file's schema has at `steps`."""
    schema = _schema(shape)
    places = list(_alternatives(schema, schema))
    for step in steps:
        places = [each for place in places for below in _step(place, step) for each in _alternatives(schema, below)]
    return places


def _step(place: Mapping[str, Any], step: str | int) -> Iterator[Mapping[str, Any]]:
    """The schema one step below, if the step is possible."""
    if isinstance(step, int):
        yield place.get("items", place)
    elif step in place.get("properties", {}):
        yield place["properties"][step]
    elif isinstance(place.get("additionalProperties"), dict):
        yield place["additionalProperties"]
    yield from place.get("patternProperties", {}).values()


def _alternatives(schema: Mapping[str, Any], place: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A schema with references followed and `anyOf` opened."""
    if "$ref" in place:
        place = schema["$defs"][place["$ref"].rpartition("/")[2]]
    if "anyOf" in place:
        for each in place["anyOf"]:
            yield from _alternatives(schema, each)
    else:
        yield place
