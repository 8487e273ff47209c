"""A policy: which order of regions a client gets. First matching rule wins."""

from __future__ import annotations

from dataclasses import dataclass

from gtm.model.address import IPNetwork


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Clients inside a network."""

    network: IPNetwork


@dataclass(frozen=True, slots=True, kw_only=True)
class Asn:
    """Clients whose network is originated by an AS (1 to 4294967295)."""

    asn: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Country:
    """Clients of a country, ISO 3166-1 alpha-2."""

    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Continent:
    """Clients of a continent: AF AN AS EU NA OC SA."""

    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Subdivision:
    """Clients of a state or province, ISO 3166-2 ("US-CA")."""

    code: str


Matcher = Network | Asn | Country | Continent | Subdivision


def matcher_text(matcher: Matcher) -> str:
    """A matcher as steering files write it."""
    match matcher:
        case Network(network=network):
            return str(network)
        case Asn(asn=asn):
            return f"AS{asn}"
        case Continent(code=code):
            return f"continent:{code}"
        case Country(code=code) | Subdivision(code=code):
            return code


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order of regions: those listed, then, with `nearest`, every other region by distance from the client.

    With `rtt` the others come by measured round-trip time, and by distance where too little is measured; `nearest` is
    true then as well. Without `nearest` regions that are not listed are never answered.
    """

    regions: tuple[str, ...] = ()
    nearest: bool = False
    rtt: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An order for the clients that any of the matchers fits; no matchers: for everyone."""

    matchers: tuple[Matcher, ...] = ()
    order: Order


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Rules in the order they are tried. A client that no rule fits gets every region, nearest first."""

    rules: tuple[Rule, ...] = ()
