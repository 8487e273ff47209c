"""Which zones a deployment serves: the master files' names, one pass over the folder, no file opened."""

from __future__ import annotations

import os
import re
from pathlib import Path

from gtm.config import dnsnames
from gtm.config.scalars import Unfit
from gtm.model.errors import ConfigError

# Names that need no closer look; 20,000 of them are listed in some 50 ms.
_PLAIN = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.){1,30}zone")
_PLAIN_MAX = 200


def list_zones(folder: Path, faults: list[ConfigError]) -> tuple[dict[str, str], dict[str, Path]]:
    """The master files by absolute zone name, in order of names, and the steering files by the same."""
    masters: dict[str, str] = {}
    steering: dict[str, Path] = {}
    for name, is_file in _entries(folder / "zones", faults):
        stem, dot, suffix = name.rpartition(".")
        if suffix not in ("zone", "yaml", "yml") or not dot:
            continue
        path = folder / "zones" / name
        if suffix == "yml":
            faults.append(ConfigError("is not read", file=str(path), allowed=f"the name {stem}.yaml"))
        elif not is_file:
            faults.append(ConfigError("is not a regular file", file=str(path)))
        elif (zone := _zone(name, stem, path, faults)) is not None:
            known: dict[str, str] | dict[str, Path] = masters if suffix == "zone" else steering
            if zone in known:
                message = f"is the zone {zone} again, after {Path(known[zone]).name}"
                faults.append(ConfigError(message, file=str(path), allowed="one file a zone"))
            elif suffix == "zone":
                masters[zone] = str(path)
            else:
                steering[zone] = path
    return masters, steering


def _entries(folder: Path, faults: list[ConfigError]) -> list[tuple[str, bool]]:
    """The names in the folder that are not hidden, sorted, and whether each is a file (or a link to one)."""
    try:
        with os.scandir(folder) as entries:
            return sorted((entry.name, _is_file(entry)) for entry in entries if not entry.name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as error:
        faults.append(ConfigError(f"cannot be read: {error.strerror}", file=str(folder)))
        return []


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def _zone(name: str, stem: str, path: Path, faults: list[ConfigError]) -> str | None:
    """The zone that a file is named for: its name without suffix, in lower case, with a dot."""
    if len(name) <= _PLAIN_MAX and _PLAIN.fullmatch(name):
        return f"{stem}."
    try:
        return dnsnames.absolute(f"{stem}.")
    except Unfit as unfit:
        faults.append(ConfigError(f"is not named for a zone: {unfit.message}", file=str(path), allowed=unfit.allowed))
        return None
