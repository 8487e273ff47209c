"""Where a country or subdivision is for those who live on its networks: the address-weighted middle of its places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from gtm.geo.countries import COUNTRIES
from gtm.geo.record import Facts
from gtm.model.place import Coordinates

Area = str  # "US-CA", "US", or "+NA": + and a continent, as some continents and countries share a code
Vector = npt.NDArray[np.float64]
Sums = Mapping[Area, Vector]


def areas_of(facts: Facts) -> tuple[Area, ...]:
    """The areas that the facts name, the finest first."""
    continent = f"+{facts.continent}" if facts.continent else None
    return tuple(area for area in (facts.subdivision, facts.country, continent) if area)


def sums_of(facts: Sequence[Facts], weights: Vector) -> dict[Area, Vector]:
    """By area, the weighted sum of unit vectors (x, y, z) of all the facts in it that have a point.

    `weights` are addresses, one per fact.
    """
    placed = [i for i, f in enumerate(facts) if f.latitude is not None and weights[i] > 0]
    if not placed:
        return {}
    points = np.radians(np.array([(facts[i].latitude, facts[i].longitude) for i in placed], float))
    flat = np.cos(points[:, 0])
    vectors = np.stack([flat * np.cos(points[:, 1]), flat * np.sin(points[:, 1]), np.sin(points[:, 0])], axis=1)
    vectors *= weights[placed][:, None]
    numbers: dict[tuple[Area, ...], int] = {}
    nest = np.array([numbers.setdefault(areas_of(facts[i]), len(numbers)) for i in placed], np.int64)
    columns = np.stack([np.bincount(nest, vectors[:, axis], len(numbers)) for axis in range(3)], axis=1)
    found: dict[Area, Vector] = {}
    for areas, vector in zip(numbers, columns, strict=True):
        for area in areas:
            found[area] = found.get(area, np.zeros(3)) + vector
    return found


def coordinates_of(vector: Vector) -> Coordinates | None:
    """The point that a sum of unit vectors leads to, to 0.0001 degree (11 m); None if they cancel out."""
    x, y, z = (float(v) for v in vector)
    length = float(np.linalg.norm(vector))
    if length <= 1e-9:
        return None
    latitude, longitude = np.degrees(np.arcsin(z / length)), np.degrees(np.arctan2(y, x))
    return Coordinates(latitude=round(float(latitude), 4), longitude=round(float(longitude), 4))


def table_coordinates(country: str | None) -> Coordinates | None:
    """The middle of a country by our own table, for databases without coordinates."""
    known = COUNTRIES.get(country or "")
    return None if known is None else Coordinates(latitude=known.latitude, longitude=known.longitude)
