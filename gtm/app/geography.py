"""Geography of a deployment: which databases and overrides say where clients are, and the class table made of them.

Both results are kept on disk under a hash of everything they depend on, so that a start with nothing new only maps.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from ipaddress import IPv6Network
from pathlib import Path

from gtm.decide.steer import order_for
from gtm.geo import tablefile
from gtm.geo.classify import classify
from gtm.geo.container import DamagedError
from gtm.geo.overrides import NO_OVERRIDES, Overrides, read_overrides
from gtm.geo.space import PlaceSpace
from gtm.geo.spacefile import load_space, space_key
from gtm.model.address import IPNetwork
from gtm.model.classes import ClassTable
from gtm.model.deployment import Deployment
from gtm.model.place import Locus
from gtm.model.policy import Asn, Network

_VERSION = b"2"  # of how classes are made: a change makes every kept table stale

# 6to4 and Teredo: clients there are placed by the IPv4 address inside theirs (gtm.answer.client), so these networks are
# cut out of the IPv6 classes, lest a neighbour's scope covers them (RFC 7871 section 7.2.1: scopes do not overlap).
EMBEDDED = (IPv6Network("2002::/16"), IPv6Network("2001::/32"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Geography:
    """What a deployment's places are made of; `key` is a hash of all of it."""

    databases: tuple[Path, ...]
    overrides: Overrides
    asns: frozenset[int]
    key: str


def read_geography(folder: Path, deployment: Deployment) -> Geography:
    """The geography of a deployment folder; nothing is read where no name is steered. Raises ConfigErrors."""
    if not deployment.names:
        return Geography(databases=(), overrides=NO_OVERRIDES, asns=frozenset(), key=space_key(()))
    databases = tuple(folder / file for file in deployment.node.geo)
    overrides = read_overrides(folder / "geodata" / "overrides.csv")
    matchers = [matcher for policy in deployment.policies() for rule in policy.rules for matcher in rule.matchers]
    asns = frozenset(matcher.asn for matcher in matchers if isinstance(matcher, Asn))
    return Geography(
        databases=databases, overrides=overrides, asns=asns, key=space_key(databases, overrides, asns=asns)
    )


def space_of(geography: Geography, cache: Path | None) -> PlaceSpace:
    """Where every address is; from the cache if it is there. Raises ConfigError, ConfigErrors."""
    return load_space(geography.databases, geography.overrides, asns=geography.asns, cache=cache)


def classes_of(geography: Geography, deployment: Deployment, cache: Path) -> ClassTable:
    """The class table, mapped from a file in the cache folder, which is made if it is not there.

    Two clients are of one class if every policy gives them the same order of regions. Raises ConfigError, ConfigErrors.
    """
    policies, regions = deployment.policies(), deployment.regions
    path = classes_file(geography, deployment, cache)
    try:
        return tablefile.load(path)
    except (FileNotFoundError, DamagedError):
        space = space_of(geography, cache)

    def orders(locus: Locus) -> tuple[object, ...]:
        embedded = not locus.networks.isdisjoint(EMBEDDED)
        return embedded, *(order_for(policy, locus, regions) for policy in policies)

    tablefile.save(path, classify(space, rule_networks(deployment), orders, path.stem, cuts=EMBEDDED))
    for other in cache.glob("*.classes"):
        if other != path:
            other.unlink(missing_ok=True)
    return tablefile.load(path)


def rule_networks(deployment: Deployment) -> tuple[IPNetwork, ...]:
    """The networks that rules name, each once."""
    matchers = (matcher for policy in deployment.policies() for rule in policy.rules for matcher in rule.matchers)
    return tuple(dict.fromkeys(matcher.network for matcher in matchers if isinstance(matcher, Network)))


def classes_file(geography: Geography, deployment: Deployment, cache: Path) -> Path:
    """Where the class table is kept: named by a hash of all that it depends on."""
    regions = tuple((region.name, region.coordinates, region.share) for region in deployment.regions.values())
    parts = (geography.key, repr(regions), repr(deployment.policies()))
    key = hashlib.blake2b(b"\0".join([_VERSION, *map(str.encode, parts)]), digest_size=16).hexdigest()
    return cache / f"{key}.classes"
