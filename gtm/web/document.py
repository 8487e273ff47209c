"""JSON-ready documents of typed values: keys are the fields' names, so what is documented is what is typed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from gtm.model.address import Endpoint
from gtm.model.check import Target
from gtm.model.override import Subject
from gtm.model.route import Community, ExtendedCommunity, LargeCommunity

_TEXTUAL = (
    *(Subject, Target, Endpoint, IPv4Address, IPv6Address, IPv4Network, IPv6Network),
    *(Community, ExtendedCommunity, LargeCommunity),
)


def document(value: object) -> object:
    """The value as dicts, lists, strings, numbers, booleans and None.

    Dataclasses become objects with their fields' names as keys; subjects, targets, endpoints, addresses, networks
    and communities become text; sets become sorted lists. Raises TypeError for anything else, so that no repr ever
    leaks into JSON.
    """
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, _TEXTUAL):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: document(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): document(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [document(item) for item in value]
    if isinstance(value, frozenset | set):
        return sorted((document(item) for item in value), key=str)
    raise TypeError(f"no JSON form for {type(value).__name__}")


def as_object(value: object) -> dict[str, object]:
    """The document of a dataclass or mapping, typed as the JSON object it is."""
    made = document(value)
    if not isinstance(made, dict):
        raise TypeError(f"{type(value).__name__} is not a JSON object")
    return made
