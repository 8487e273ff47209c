"""Which country and AS a measured network is in, so that what is known of it counts for those as well."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import maxminddb

from gtm.app.geography import Geography, space_of
from gtm.geo.database import About
from gtm.geo.record import RecordError, facts_of
from gtm.model.address import IPAddress, IPNetwork
from gtm.model.errors import ConfigError
from gtm.model.place import Place


def place_finder(geography: Geography, cache: Path) -> Callable[[IPNetwork], Place]:
    """A function that tells the place of a network's first address, with its AS where a database has one.

    The space of a deployment has only AS numbers that rules or preferences name, so they are looked up in the databases
    themselves, which stay mapped. An override's country and AS beat the databases'. Raises ConfigError, ConfigErrors.
    """
    space = space_of(geography, cache)
    readers = tuple(_open(path) for path, about in zip(geography.databases, space.databases, strict=True) if about.asns)

    def find(network: IPNetwork) -> Place:
        address = network.network_address
        place = space.find(address).place
        if place.asn is not None or not readers:
            return place
        return replace(place, asn=next(_asns(readers, address), None))

    return find


def asn_of(databases: Iterable[About], address: IPAddress) -> int | None:
    """The AS that the first database which knows one gives an address. Raises ConfigError."""
    for about in databases:
        if about.asns:
            with _open(Path(about.file)) as reader:
                found = next(_asns((reader,), address), None)
            if found is not None:
                return found
    return None


def _open(path: Path) -> maxminddb.Reader:
    try:
        return maxminddb.open_database(path)
    except (OSError, maxminddb.InvalidDatabaseError) as error:
        raise ConfigError(f"cannot be read: {error}", file=str(path)) from error


def _asns(readers: Iterable[maxminddb.Reader], address: IPAddress) -> Iterator[int]:
    for reader in readers:
        try:
            found = facts_of(reader.get(address)).asn
        except (RecordError, ValueError):  # a database of IPv4 alone, asked for IPv6; a record that is not understood
            continue
        if found is not None:
            yield found
