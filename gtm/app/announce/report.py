"""The announcer's report and its memory, in a folder of their own within the state folder.

A folder of their own, since ExaBGP that is started as root becomes another user, who must be able to write there.
"""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gtm.decide.announce.memory import Memory
from gtm.model.announcing import AnnouncerReport
from gtm.model.errors import GtmError, StoreError
from gtm.publish.dns import sealed

FOLDER = "announcer"
REPORT, MEMORY = "report", "memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Memories:
    """What an announcer remembers of each service, as of `saved_s` of the boot clock; none where it is not known."""

    saved_s: float
    services: Mapping[str, Memory]


def folder(state: Path) -> Path:
    """The announcer's folder in a state folder, made if need be. Raises GtmError that says what must be writable."""
    path = state / FOLDER
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GtmError(f"{path}: {error.strerror}; {_who()} must be able to make it") from error
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise GtmError(f"{path}: {_who()} must be able to write there")
    return path


def _who() -> str:
    """The account that this is, and why it may be another one than was thought."""
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        name = str(os.geteuid())
    hint = " (ExaBGP that is started as root becomes nobody: set exabgp.daemon.user)" if name == "nobody" else ""
    return f"the account {name}{hint}"


def save(state: Path, report: AnnouncerReport) -> None:
    """Replace the report of a state folder. Raises StoreError."""
    sealed.write(state / FOLDER / REPORT, "announcer", sealed.freeze(report))


def load(state: Path) -> AnnouncerReport:
    """The report of a state folder. Raises StoreError where there is none, or one of another version."""
    path = state / FOLDER / REPORT
    found = sealed.thaw(sealed.read(path, "announcer"))
    if not isinstance(found, AnnouncerReport):
        raise StoreError(f"{path}: is not an announcer's report")
    return found


def save_memory(state: Path, memories: Memories) -> None:
    """Replace the memory of a state folder. Raises StoreError."""
    document = {
        "saved_s": memories.saved_s,
        "services": {name: memory.to_dict() for name, memory in memories.services.items()},
    }
    sealed.write(state / FOLDER / MEMORY, "announcer-memory", json.dumps(document).encode())


def load_memory(state: Path) -> Memories:
    """The memory of a state folder; nothing where there is none, or one that cannot be understood."""
    services: dict[str, Memory] = {}
    try:
        document = json.loads(bytes(sealed.read(state / FOLDER / MEMORY, "announcer-memory")))
        saved_s = float(document["saved_s"])
        for name, values in document["services"].items():
            services[name] = Memory.from_dict(values)
    except (StoreError, ValueError, TypeError, KeyError, AttributeError):
        return Memories(saved_s=float("-inf"), services={})
    return Memories(saved_s=saved_s, services=services)
