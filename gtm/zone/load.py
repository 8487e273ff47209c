"""A deployment's master files -> its zones: all of them, or every fault in any of them."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from gtm.model.errors import ConfigError, ConfigErrors
from gtm.model.zone import Rrset, Zone
from gtm.wire import name
from gtm.wire.error import WireError
from gtm.zone import master, sanity
from gtm.zone.doubt import Doubt

ROOT_STEM = "@"  # zones/@.zone is the root zone, as "@" means the origin inside a master file


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A zone as it came from its files: `digests` are BLAKE2 hashes of every file that was read for it, by path."""

    zone: Zone
    doubts: tuple[Doubt, ...]
    digests: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Every zone by absolute lower-case name, in the order given, with what is strange in them."""

    sources: Mapping[str, Source] = field(default_factory=dict)

    @property
    def zones(self) -> tuple[Zone, ...]:
        """The zones alone."""
        return tuple(source.zone for source in self.sources.values())

    @property
    def doubts(self) -> tuple[Doubt, ...]:
        """The doubts of all zones."""
        return tuple(doubt for source in self.sources.values() for doubt in source.doubts)


def zone_name(file: str) -> str | None:
    """The absolute zone name that a master file's name stands for: "lb.example.com.zone" is "lb.example.com.".

    "@.zone" is the root zone. None if the file is not named so.
    """
    stem = Path(file).name.removesuffix(".zone")
    if not stem or stem == Path(file).name:
        return None
    if stem == ROOT_STEM:
        return "."
    return stem.lower().removesuffix(".") + "."


def load_zones(files: Mapping[str, str], *, folder: str | None = None, previous: Loaded | None = None) -> Loaded:
    """The zones of master files, by absolute zone name.

    `folder` is what $INCLUDE may not lead out of (by default the folder of each master file). A zone of `previous`
    whose files have not changed is taken over as it is. Raises ConfigErrors with every fault of every file.
    """
    sources: dict[str, Source] = {}
    errors: list[ConfigError] = []
    collecting = gc.isenabled()
    gc.disable()  # 20,000 zones are millions of objects, none of them garbage: the collector took half of the time
    try:
        for zone, file in files.items():
            known = None if previous is None else previous.sources.get(zone)
            if known is not None and known.zone.source == file and _unchanged(known):
                sources[zone] = known
                continue
            source = _load(zone, file, folder, errors)
            if source is not None:
                sources[zone] = source
    finally:
        if collecting:
            gc.enable()
    if errors:
        raise ConfigErrors(errors)
    return Loaded(sources=sources)


def _unchanged(source: Source) -> bool:
    try:
        return all(_digest(Path(file).read_bytes()) == digest for file, digest in source.digests)
    except OSError:
        return False


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=16).digest()


def _load(zone: str, file: str, folder: str | None, errors: list[ConfigError]) -> Source | None:
    path = Path(file)
    try:
        origin = name.parse(zone).lower()
    except WireError as error:
        errors.append(ConfigError(f"{zone!r} is not a zone name: {error}", file=file))
        return None
    reading = master.Reading(origin, path.parent if folder is None else Path(folder))
    master.read(reading, path)
    if not reading.errors:
        sanity.check(reading, file)
    if reading.errors:
        errors += reading.errors
        return None
    nodes = {
        owner: {
            rtype: Rrset(owner=rrset.owner, rtype=rtype, ttl_s=rrset.ttl_s, rdatas=tuple(rrset.rdatas.values()))
            for rtype, rrset in rrsets.items()
        }
        for owner, rrsets in reading.nodes.items()
    }
    return Source(
        zone=Zone(origin=origin, nodes=nodes, source=file),
        doubts=tuple(reading.doubts),
        digests=tuple((str(path), _digest(data)) for path, data in reading.files),
    )
