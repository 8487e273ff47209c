"""Geography of a deployment: which databases and overrides say where clients are, and the class table made of them.

Both results are kept on disk under a hash of everything they depend on, so that a start with nothing new only maps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv6Network
from pathlib import Path

from gtm.decide.prefer import NO_PREFERENCES, Preferences
from gtm.decide.steer import order_for
from gtm.geo import tablefile
from gtm.geo.classify import TooManyError, classify
from gtm.geo.container import DamagedError
from gtm.geo.overrides import NO_OVERRIDES, Overrides, read_overrides
from gtm.geo.space import PlaceSpace
from gtm.geo.spacefile import load_space, space_key
from gtm.model.address import IPNetwork
from gtm.model.classes import ClassTable
from gtm.model.deployment import Deployment
from gtm.model.place import Locus, Place
from gtm.model.policy import Asn, Country, Network

_VERSION = b"3"  # of how classes are made: a change makes every kept table stale

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


def read_geography(folder: Path, deployment: Deployment, preferences: Preferences = NO_PREFERENCES) -> Geography:
    """The geography of a deployment folder; nothing is read where no name is steered. Raises ConfigErrors.

    It has the AS numbers that rules name and, where some policy goes by round-trip time, those of `preferences`.
    """
    if not deployment.names:
        return Geography(databases=(), overrides=NO_OVERRIDES, asns=frozenset(), key=space_key(()))
    databases = tuple(folder / file for file in deployment.node.geo)
    overrides = read_overrides(folder / "geodata" / "overrides.csv")
    matchers = [matcher for policy in deployment.policies() for rule in policy.rules for matcher in rule.matchers]
    asns = frozenset(matcher.asn for matcher in matchers if isinstance(matcher, Asn))
    if goes_by_rtt(deployment):
        asns |= preferences.asns()
    return Geography(
        databases=databases, overrides=overrides, asns=asns, key=space_key(databases, overrides, asns=asns)
    )


def space_of(geography: Geography, cache: Path | None) -> PlaceSpace:
    """Where every address is; from the cache if it is there. Raises ConfigError, ConfigErrors."""
    return load_space(geography.databases, geography.overrides, asns=geography.asns, cache=cache)


def with_asns(geography: Geography, asns: frozenset[int]) -> Geography:
    """The geography with further AS numbers; the same object if it has them all. Raises ConfigError."""
    if asns <= geography.asns:
        return geography
    both = geography.asns | asns
    key = space_key(geography.databases, geography.overrides, asns=both)
    return replace(geography, asns=both, key=key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Classified:
    """A class table, its file, and the notes of what had to be left out."""

    table: ClassTable
    file: Path
    notes: tuple[str, ...] = ()


def classes_of(
    geography: Geography, deployment: Deployment, cache: Path, preferences: Preferences = NO_PREFERENCES
) -> Classified:
    """The class table, mapped from a file in the cache folder, which is made if it is not there.

    Two clients are of one class if every policy gives them the same order of regions. Where networks with preferences
    are more than the table has room for, those with the fewest samples are left out, and go by their AS or country.
    Raises ConfigError, ConfigErrors.
    """
    preferences = preferences if goes_by_rtt(deployment) else NO_PREFERENCES
    networks = preferences.networks()
    kept = len(networks)
    space = None
    while True:
        path = classes_file(geography, deployment, cache, preferences, networks[:kept])
        notes = () if kept == len(networks) else (_left_out(len(networks), kept),)
        try:
            return Classified(table=tablefile.load(path), file=path, notes=notes)
        except (FileNotFoundError, DamagedError):
            space = space_of(geography, cache) if space is None else space
        try:
            table = _classify(space, deployment, preferences, networks[:kept], path.stem)
        except TooManyError:
            if not kept:
                raise
            kept //= 2
            continue
        tablefile.save(path, table)
        for other in cache.glob("*.classes"):
            if other != path:
                other.unlink(missing_ok=True)


def _classify(
    space: PlaceSpace, deployment: Deployment, preferences: Preferences, networks: Sequence[IPNetwork], key: str
) -> ClassTable:
    policies, regions = deployment.policies(), deployment.regions

    def orders(locus: Locus) -> tuple[object, ...]:
        embedded = not locus.networks.isdisjoint(EMBEDDED)
        return embedded, *(order_for(policy, locus, regions) for policy in policies)

    def rtts(place: Place, network: IPNetwork | None) -> tuple[tuple[str, float], ...]:
        found = preferences.at(place, network)
        return () if found is None else found[1].rtts

    return classify(
        space,
        rule_networks(deployment),
        orders,
        key,
        cuts=EMBEDDED,
        measured=networks,
        rtts_of=rtts if preferences.by_key else None,
    )


def _left_out(count: int, kept: int) -> str:
    return (
        f"round-trip times prefer regions for {count} networks, more than the class table has room for: "
        f"the {count - kept} with the fewest samples go by their AS or country"
    )


def goes_by_rtt(deployment: Deployment) -> bool:
    """Whether some policy looks at round-trip times."""
    return any(rule.order.rtt for policy in deployment.policies() for rule in policy.rules)


def rule_networks(deployment: Deployment) -> tuple[IPNetwork, ...]:
    """The networks that rules name, each once."""
    matchers = (matcher for policy in deployment.policies() for rule in policy.rules for matcher in rule.matchers)
    return tuple(dict.fromkeys(matcher.network for matcher in matchers if isinstance(matcher, Network)))


def classes_file(
    geography: Geography,
    deployment: Deployment,
    cache: Path,
    preferences: Preferences = NO_PREFERENCES,
    networks: Sequence[IPNetwork] = (),
) -> Path:
    """Where the class table is kept: named by a hash of all that it depends on.

    `networks` are those whose preferences it has, beside those of ASs and countries.
    """
    regions = tuple((region.name, region.coordinates, region.share) for region in deployment.regions.values())
    parts = (geography.key, repr(regions), repr(deployment.policies()))
    digest = hashlib.blake2b(b"\0".join([_VERSION, *map(str.encode, parts)]), digest_size=16)
    if preferences.by_key and goes_by_rtt(deployment):
        areas = (key for key in preferences.by_key if isinstance(key, Asn | Country))
        for line in sorted(f"\0{key} {preferences.by_key[key].rtts}" for key in (*areas, *networks)):
            digest.update(line.encode())
    return cache / f"{digest.hexdigest()}.classes"
