"""Where a client is: the facts that a geo database and the overrides give about a network."""

from __future__ import annotations

from dataclasses import dataclass, field

from gtm.model.address import IPNetwork


@dataclass(frozen=True, slots=True, kw_only=True)
class Coordinates:
    """A point on Earth: latitude -90 to 90 and longitude -180 to 180, in degrees (WGS 84)."""

    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What is known of a network's location; every fact may be missing.

    `country` is ISO 3166-1 alpha-2 ("US"), `subdivision` ISO 3166-2 ("US-CA"), `continent` one of
    AF AN AS EU NA OC SA, `asn` the origin AS number where a rule or an override mentions it.
    """

    country: str | None = None
    subdivision: str | None = None
    continent: str | None = None
    coordinates: Coordinates | None = None
    asn: int | None = None


NOWHERE = Place()


@dataclass(frozen=True, slots=True, kw_only=True)
class Locus:
    """A place together with the networks, named by steering rules, that contain it: all a policy may look at.

    `rtts` are the regions in the order that measured round-trip times prefer, each with its time in seconds; empty
    where too little is measured.
    """

    place: Place = NOWHERE
    networks: frozenset[IPNetwork] = field(default_factory=frozenset)
    rtts: tuple[tuple[str, float], ...] = ()
