"""geodata/overrides.csv: where the operator knows better than the database.

    network,country,subdivision,latitude,longitude,asn,comment
    203.0.113.0/24,BR,BR-SP,,,,our office
    2001:db8:5::/48,,,,,AS64500,
    AS64501,JP,,35.7,139.7,,

Lines that start with # and empty lines are skipped. A row for a network gives a place, an AS number, or both; a row for
an AS gives a place. The longest network wins; a network's place beats its AS's, and both beat the database.
"""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Network, IPv6Network, NetmaskValueError, ip_network
from pathlib import Path

from gtm.geo.countries import COUNTRIES
from gtm.geo.nest import unusable
from gtm.geo.record import ASN_MAX
from gtm.model.address import IPNetwork
from gtm.model.errors import ConfigError, ConfigErrors
from gtm.model.place import Coordinates

COLUMNS = ("network", "country", "subdivision", "latitude", "longitude", "asn", "comment")
_REQUIRED = ("network", "country")
_ALLOWED = ",".join(COLUMNS)


@dataclass(frozen=True, slots=True, kw_only=True)
class OverrideRow:
    """One row: the network or the AS it is for, the place it gives (if `country`), and the AS number it gives."""

    line: int
    network: IPNetwork | None
    of_asn: int | None
    country: str | None
    subdivision: str | None
    coordinates: Coordinates | None
    asn: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """The rows of an overrides file, in file order; `file` is its name as shown to people."""

    file: str
    rows: tuple[OverrideRow, ...] = ()

    def asns(self) -> frozenset[int]:
        """Every AS number that a row is for or gives."""
        return frozenset(n for row in self.rows for n in (row.of_asn, row.asn) if n is not None)


NO_OVERRIDES = Overrides(file="overrides.csv")


class _Fault(Exception):
    """What is wrong in a cell: the message, the column, and what is allowed."""

    def __init__(self, message: str, key: str, allowed: str | None = None) -> None:
        super().__init__(message)
        self.message, self.key, self.allowed = message, key, allowed


def read_overrides(path: Path) -> Overrides:
    """The rows of an overrides file; none where there is no such file. Raises ConfigErrors."""
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        return Overrides(file=str(path))
    except UnicodeDecodeError as error:
        raise ConfigErrors([ConfigError(f"is not UTF-8 text: {error.reason}", file=str(path))]) from error
    except OSError as error:
        raise ConfigErrors([ConfigError(f"cannot be read: {error.strerror}", file=str(path))]) from error
    return parse_overrides(text, str(path))


def parse_overrides(text: str, file: str) -> Overrides:
    """The rows of an overrides file's text. Raises ConfigErrors with every fault in it."""
    lines = [(n, line.strip()) for n, line in enumerate(text.split("\n"), 1)]
    lines = [(n, line) for n, line in lines if line and not line.startswith("#")]
    if not lines:
        return Overrides(file=file)
    errors: list[ConfigError] = []
    try:
        columns = _header(lines[0][1])
    except _Fault as fault:
        error = ConfigError(fault.message, file=file, line=lines[0][0], key=fault.key, allowed=fault.allowed)
        raise ConfigErrors([error]) from fault
    rows: list[OverrideRow] = []
    seen: dict[IPNetwork | int, int] = {}
    for number, line in lines[1:]:
        try:
            row = _row(number, _cells(line, columns))
            subject = row.of_asn if row.network is None else row.network
            if subject is not None and (first := seen.setdefault(subject, number)) != number:
                raise _Fault(f"is in line {first} already", "network")
            rows.append(row)
        except _Fault as fault:
            errors.append(ConfigError(fault.message, file=file, line=number, key=fault.key, allowed=fault.allowed))
    if errors:
        raise ConfigErrors(errors)
    return Overrides(file=file, rows=tuple(rows))


def _split(line: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], strict=True))]
    except csv.Error as error:
        raise _Fault(f"is not a CSV line: {error}", "line") from error


def _header(line: str) -> list[str]:
    columns = _split(line)
    if unknown := [c for c in columns if c not in COLUMNS]:
        raise _Fault(f"unknown column {unknown[0]!r} in the header", "header", _ALLOWED)
    if doubled := [c for c in columns if columns.count(c) > 1]:
        raise _Fault(f"column {doubled[0]!r} is there twice", "header", _ALLOWED)
    if missing := [c for c in _REQUIRED if c not in columns]:
        raise _Fault(f"column {missing[0]!r} is missing", "header", _ALLOWED)
    return columns


def _cells(line: str, columns: list[str]) -> dict[str, str]:
    cells = _split(line)
    if len(cells) > len(columns):
        raise _Fault(f"{len(cells)} cells for {len(columns)} columns", "line", ",".join(columns))
    return dict.fromkeys(COLUMNS, "") | dict(zip(columns, cells, strict=False))


def _row(line: int, cells: dict[str, str]) -> OverrideRow:
    network, of_asn = _subject(cells["network"])
    country = _country(cells["country"])
    subdivision = _subdivision(cells["subdivision"], country)
    coordinates = _coordinates(cells["latitude"], cells["longitude"])
    asn = _asn(cells["asn"], "asn") if cells["asn"] else None
    if coordinates and not country:
        raise _Fault("coordinates need a country", "country", "ISO 3166-1 alpha-2, such as BR")
    if of_asn is not None and asn is not None:
        raise _Fault("a row for an AS gives a place, not another AS number", "asn")
    if country is None and asn is None:
        raise _Fault("the row says nothing", "country", "a country, or an asn for a network")
    return OverrideRow(
        line=line,
        network=network,
        of_asn=of_asn,
        country=country,
        subdivision=subdivision,
        coordinates=coordinates,
        asn=asn,
    )


def _subject(text: str) -> tuple[IPNetwork | None, int | None]:
    if text.upper().startswith("AS"):
        return None, _asn(text, "network")
    try:
        network: IPv4Network | IPv6Network = ip_network(text)
    except (AddressValueError, NetmaskValueError, ValueError) as error:
        raise _Fault(f"{text!r}: {error}", "network", "CIDR such as 203.0.113.0/24, or AS and a number") from error
    if (why := unusable(network)) is not None:
        raise _Fault(f"{text}: {why}", "network")
    return network, None


def _asn(text: str, key: str) -> int:
    digits = text[2:] if text[:2].upper() == "AS" else text
    if not (re.fullmatch(r"[0-9]{1,10}", digits) and 1 <= int(digits) <= ASN_MAX):
        raise _Fault(f"{text!r} is no AS number", key, f"AS1 to AS{ASN_MAX}")
    return int(digits)


def _country(text: str) -> str | None:
    if text and text not in COUNTRIES:
        raise _Fault(f"{text!r} is no country", "country", "ISO 3166-1 alpha-2, such as BR")
    return text or None


def _subdivision(text: str, country: str | None) -> str | None:
    if text and not (country and re.fullmatch(rf"{country}-[A-Z0-9]{{1,3}}", text)):
        wanted = f"{country}-" if country else "a country, and then its code, a hyphen"
        raise _Fault(f"{text!r} is no subdivision of it", "subdivision", f"ISO 3166-2: {wanted} and 1 to 3 characters")
    return text or None


def _coordinates(latitude: str, longitude: str) -> Coordinates | None:
    if not latitude and not longitude:
        return None
    return Coordinates(latitude=_degrees(latitude, "latitude", 90), longitude=_degrees(longitude, "longitude", 180))


def _degrees(text: str, key: str, limit: int) -> float:
    try:
        degrees = float(text)
    except ValueError:
        degrees = math.nan
    if not -limit <= degrees <= limit:
        raise _Fault(f"{text!r} is no {key}", key, f"a number from -{limit} to {limit}")
    return degrees
