"""The place space, kept on disk under the hashes of what it was made from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gtm.geo.container import DamagedError, map_container, write_container
from gtm.geo.database import About
from gtm.geo.overrides import NO_OVERRIDES, Overrides
from gtm.geo.record import Layout
from gtm.geo.space import PlaceSpace, Sited, build_space
from gtm.geo.steps import Steps
from gtm.geo.tablefile import place_from_json, place_to_json
from gtm.model.errors import ConfigError, StoreError

MAGIC = b"GTMSPC01"

# Part of every key: raise it when the same inputs begin to give another space or another class table.
_METHOD = 1


def space_key(databases: Sequence[Path], overrides: Overrides = NO_OVERRIDES, *, asns: Iterable[int] = ()) -> str:
    """A hash of everything a space is made of: the databases' bytes, the overrides, the AS numbers that rules name.

    Raises ConfigError where a database cannot be read.
    """
    digest = hashlib.sha256(f"{_METHOD} {sorted(set(asns))} {overrides!r}".encode())
    for path in databases:
        try:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").digest()
        except OSError as error:
            raise ConfigError(f"cannot be read: {error.strerror}", file=str(path)) from error
        digest.update(content + str(path).encode() + b"\0")
    return digest.hexdigest()


def load_space(
    databases: Sequence[Path],
    overrides: Overrides = NO_OVERRIDES,
    *,
    asns: Iterable[int] = (),
    cache: Path | None = None,
) -> PlaceSpace:
    """The space of these inputs: from the `cache` folder if it has one under their key, else built and kept there.

    A damaged cache is built again; one that cannot be written is done without. Raises what build_space raises.
    """
    asns = frozenset(asns)
    key = space_key(databases, overrides, asns=asns)
    path = None if cache is None else cache / f"space-{key[:32]}.gtm"
    if path is not None:
        try:
            return read_space(path)
        except (FileNotFoundError, StoreError):
            pass  # the cache only saves time
    space = build_space(databases, overrides, asns=asns, key=key)
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_space(path, space)
        except (OSError, StoreError):
            pass
    return space


def write_space(path: Path, space: PlaceSpace) -> None:
    """Writes a space to a file, whole or not at all. Raises StoreError."""
    about = {
        "key": space.key,
        "sites": [place_to_json(site.place) | {"source": site.source} for site in space.sites],
        "areas": {code: place_to_json(place) for code, place in space.areas.items()},
        "fine": [str(network) for network in space.fine],
        "databases": [asdict(database) for database in space.databases],
    }
    sections: dict[str, npt.NDArray[np.uint32] | npt.NDArray[np.uint64]] = {
        "starts4": space.four.starts.astype(np.uint32),
        "sites4": space.four.values.astype(np.uint32),
        "starts6": space.six.starts,
        "sites6": space.six.values.astype(np.uint32),
    }
    write_container(path, MAGIC, about, {name: array.tobytes() for name, array in sections.items()})


def read_space(path: Path) -> PlaceSpace:
    """The space in a file, all of it checked. Raises StoreError or FileNotFoundError."""
    contents = map_container(path, MAGIC, verify=True)
    try:
        return _space(contents.about, contents.sections)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DamagedError(f"{path}: is no place space of this version") from error


def _space(about: dict[str, Any], sections: Mapping[str, memoryview]) -> PlaceSpace:
    return PlaceSpace(
        key=str(about["key"]),
        sites=tuple(Sited(place_from_json(item), str(item["source"])) for item in about["sites"]),
        four=Steps(
            width=32,
            starts=np.frombuffer(sections["starts4"], np.uint32).astype(np.uint64),
            values=np.frombuffer(sections["sites4"], np.uint32).astype(np.int64),
        ),
        six=Steps(
            width=64,
            starts=np.frombuffer(sections["starts6"], np.uint64),
            values=np.frombuffer(sections["sites6"], np.uint32).astype(np.int64),
        ),
        areas={code: place_from_json(item) for code, item in about["areas"].items()},
        fine=tuple(ip_network(text) for text in about["fine"]),
        databases=tuple(About(**{**item, "layout": Layout(item["layout"])}) for item in about["databases"]),
    )
