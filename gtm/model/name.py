"""A steered name: an owner in a zone whose addresses depend on who asks and on what is healthy."""

from __future__ import annotations

from dataclasses import dataclass, field

from gtm.model.address import IPAddress
from gtm.model.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeAll:
    """When nothing is available: answer as though everything were up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastGood:
    """When nothing is available: go on answering what was available last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoData:
    """When nothing is available: an empty answer with the SOA (RFC 2308)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """When nothing is available: these addresses."""

    addresses: tuple[IPAddress, ...]


AllDown = ServeAll | LastGood | NoData | Fallback

TTL_DEFAULT_S = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class SteeredName:
    """One steered owner name.

    `owner` and `zone` are absolute lower-case presentation names ("www.lb.example.com."); `pool` is the Pool's name;
    `answers` is the most instances in one answer (1 to 16); `line` is where its steering file has it. With `ttl_min_s`
    the TTL is the time until the answer may change, from there up to `ttl_s`.
    """

    owner: str
    zone: str
    pool: str
    policy: Policy
    ttl_s: int = TTL_DEFAULT_S
    ttl_min_s: int | None = None
    answers: int = 1
    all_down: AllDown = ServeAll()
    line: int | None = field(default=None, compare=False)
