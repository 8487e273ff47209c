"""JSON as Protocol Buffers write it (their JSON mapping): 64-bit numbers are decimal text, octets are base64.

A field that is absent has its default. What is not so raises WireError.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence

from gtm.wire.error import WireError

Json = Mapping[str, object]


def present(**fields: object) -> Json:
    """The fields that are not their defaults."""
    return {name: value for name, value in fields.items() if value}


def base64_text(octets: bytes) -> str:
    """Octets as the value of a field."""
    return base64.b64encode(octets).decode("ascii")


def number_text(number: int) -> str:
    """A 64-bit number as the value of a field; empty for 0, the default."""
    return str(number) if number else ""


def parse(body: bytes | str) -> Json:
    """The object that a body is."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise WireError("is not JSON") from None
    return mapping(document)


def mapping(value: object) -> Json:
    """The object that a value is."""
    if isinstance(value, dict):
        return value
    raise WireError("has something else where an object belongs")


def below(document: Json, key: str) -> Json:
    """The object in a field."""
    return mapping(document.get(key, {}))


def listing(document: Json, key: str) -> Sequence[Json]:
    """The objects in a repeated field."""
    found = document.get(key, [])
    if isinstance(found, list):
        return [mapping(one) for one in found]
    raise WireError(f"has something else where {key} is a list")


def number(document: Json, *keys: str) -> int:
    """The first of the keys that is there, as a number; 0 if none is."""
    found = next((document[key] for key in keys if key in document), 0)
    try:
        if isinstance(found, str | int):
            return int(found)
    except ValueError:
        pass
    raise WireError(f"has something else where {keys[0]} is a number")


def text(document: Json, key: str) -> str:
    """The text in a field."""
    found = document.get(key, "")
    if isinstance(found, str):
        return found
    raise WireError(f"has something else where {key} is text")


def truth(document: Json, key: str) -> bool:
    """The boolean in a field."""
    found = document.get(key, False)
    if isinstance(found, bool):
        return found
    raise WireError(f"has something else where {key} is true or false")


def octets(document: Json, key: str) -> bytes:
    """The octets in a field."""
    try:
        return base64.b64decode(text(document, key), validate=True)
    except (binascii.Error, ValueError):
        raise WireError(f"has something else where {key} is base64") from None
