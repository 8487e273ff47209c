"""What a database says of one network, whatever the layout of its records.

nested  GeoLite2 and GeoIP2 City, Country and ASN; DB-IP's own MMDB: country.iso_code, subdivisions[0], location
flat    ip-location-db and others: country_code, state1, latitude, longitude, autonomous_system_number
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from gtm.geo.countries import CONTINENTS, COUNTRIES
from gtm.geo.subdivisions import subdivision_code

RECOGNISED = (
    "GeoLite2/GeoIP2 City, Country or ASN; DB-IP; flat records with country_code, state1, latitude and longitude, "
    "or autonomous_system_number"
)
ASN_MAX = 2**32 - 1

_CODE = re.compile(r"[A-Z]{2}")
_DIGITS = re.compile(r"[0-9]{1,10}")
_PART = re.compile(r"[A-Z0-9]{1,3}")
_MISSING = frozenset(("", "ZZ", "--", "-"))


class Layout(StrEnum):
    """How a database's records are laid out."""

    NESTED = "nested"
    FLAT = "flat"


class Facts(NamedTuple):
    """The facts of one record, as in Place; each may be missing."""

    continent: str | None = None
    country: str | None = None
    subdivision: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    asn: int | None = None


NO_FACTS = Facts()


class RecordError(ValueError):
    """A record's field is not what its layout says; the message names the field."""


def layout_of(record: object) -> Layout | None:
    """The layout that a record speaks, or None where it is none of those known."""
    if not isinstance(record, Mapping):
        return None
    nested = ("country", "registered_country", "continent", "location")
    if any(isinstance(record.get(key), Mapping) for key in nested):
        return Layout.NESTED
    flat = ("country_code", "country", "autonomous_system_number", "asn", "latitude")
    return Layout.FLAT if any(key in record for key in flat) else None


def facts_of(record: object) -> Facts:
    """The facts of a record of either layout; none for an empty record. Raises RecordError."""
    match layout_of(record), record:
        case Layout.NESTED, Mapping():
            return _nested(record)
        case Layout.FLAT, Mapping():
            return _flat(record)
        case _:
            return NO_FACTS


def _nested(record: Mapping[str, object]) -> Facts:
    # A network without a country of use (anycast, satellites) still has the one it is registered in.
    country = _code(_map(record, "country"), "iso_code") or _code(_map(record, "registered_country"), "iso_code")
    location = _map(record, "location")
    latitude, longitude = _point(location)
    return Facts(
        continent=_continent(_map(record, "continent").get("code"), country),
        country=country,
        subdivision=_subdivision(record.get("subdivisions"), country),
        latitude=latitude,
        longitude=longitude,
        asn=_asn(record),
    )


def _flat(record: Mapping[str, object]) -> Facts:
    country = _code(record, "country_code" if "country_code" in record else "country")
    state = record.get("state1", "")
    if not isinstance(state, str):
        raise RecordError(f"state1 is {state!r}, not text")
    latitude, longitude = _point(record)
    return Facts(
        continent=_continent(record.get("continent_code"), country),
        country=country,
        subdivision=subdivision_code(country, state) if country and state else None,
        latitude=latitude,
        longitude=longitude,
        asn=_asn(record),
    )


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, str) and value in _MISSING)


def _map(record: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = record.get(key, {})
    if not isinstance(value, Mapping):
        raise RecordError(f"{key} is {value!r}, not a map")
    return value


def _code(record: Mapping[str, object], key: str) -> str | None:
    value = record.get(key)
    if _missing(value):
        return None
    if not isinstance(value, str) or not _CODE.fullmatch(value):
        raise RecordError(f"{key} is {value!r}, not an ISO 3166-1 alpha-2 code")
    return value


def _continent(code: object, country: str | None) -> str | None:
    if _missing(code):
        return COUNTRIES[country].continent if country is not None and country in COUNTRIES else None
    if not isinstance(code, str) or code not in CONTINENTS:
        raise RecordError(f"continent code is {code!r}, not one of {' '.join(sorted(CONTINENTS))}")
    return code


def _subdivision(value: object, country: str | None) -> str | None:
    if value is None or country is None:
        return None
    if not isinstance(value, list) or not all(isinstance(v, Mapping) for v in value):
        raise RecordError(f"subdivisions is {value!r}, not a list of maps")
    if not value:
        return None
    first = value[0]
    code = first.get("iso_code")
    if code is None:  # DB-IP's nested layout has names only
        name = _map(first, "names").get("en", "")
        return subdivision_code(country, name) if isinstance(name, str) else None
    if not isinstance(code, str) or not _PART.fullmatch(code.removeprefix(f"{country}-")):
        raise RecordError(f"subdivisions iso_code is {code!r}, not an ISO 3166-2 code")
    return f"{country}-{code.removeprefix(f'{country}-')}"


def _point(record: Mapping[str, object]) -> tuple[float | None, float | None]:
    latitude, longitude = _degrees(record, "latitude", 90), _degrees(record, "longitude", 180)
    return (None, None) if latitude is None or longitude is None else (latitude, longitude)


def _degrees(record: Mapping[str, object], key: str, limit: int) -> float | None:
    value = record.get(key)
    if _missing(value):
        return None
    try:
        degrees = float(value) if isinstance(value, str | int | float) else math.nan
    except ValueError:
        degrees = math.nan
    if not -limit <= degrees <= limit:
        raise RecordError(f"{key} is {value!r}, not a number from -{limit} to {limit}")
    return degrees


def _asn(record: Mapping[str, object]) -> int | None:
    value = record.get("autonomous_system_number", record.get("asn"))
    if _missing(value) or value == 0:
        return None
    text = str(value).removeprefix("AS") if isinstance(value, str | int) else ""
    if not (_DIGITS.fullmatch(text) and int(text) <= ASN_MAX):
        raise RecordError(f"AS number is {value!r}, not 1 to {ASN_MAX}")
    return int(text)
