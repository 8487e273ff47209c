"""What a manager must know of its predecessor: who took new flows, who had stopped and when, and the rings' numbers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gtm.app.balance.plan import Left
from gtm.model.balance import Backend
from gtm.model.errors import StoreError
from gtm.publish.dns import sealed
from gtm.publish.dns.control import boot_id

FOLDER = "balancer"
FILE, RINGS = "memory", "rings"
FILE_KIND = "balancer-memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """`active` and `left` as in Sight. Times are of the boot clock, so that a reboot forgets them, as it does flows."""

    active: Mapping[str, Backend] = field(default_factory=dict)
    left: Mapping[str, Left] = field(default_factory=dict)


def save(state: Path, memory: Memory) -> None:
    """Replace the memory of a state folder. Raises StoreError."""
    left = {key: (one.service, one.backend, one.since_s, one.drain_s) for key, one in memory.left.items()}
    sealed.write(state / FOLDER / FILE, FILE_KIND, sealed.freeze((boot_id(), dict(memory.active), left)))


def load(state: Path) -> Memory:
    """The memory of a state folder since the machine booted; none where there is none, or one that makes no sense."""
    try:
        booted, active, left = sealed.thaw(sealed.read(state / FOLDER / FILE, FILE_KIND))
        if booted != boot_id():
            return Memory()
        return Memory(
            active=dict(active),
            left={
                key: Left(service=service, backend=backend, since_s=since_s, drain_s=drain_s)
                for key, (service, backend, since_s, drain_s) in left.items()
            },
        )
    except (StoreError, TypeError, ValueError, AttributeError):
        return Memory()


def ring_numbers(state: Path, services: Iterable[str], limit: int) -> dict[str, int]:
    """The number of each service's ring: the one that it had, else the first that no service of the file has.

    Raises StoreError where they cannot be kept, and where there are more services than rings.
    """
    path = state / FOLDER / RINGS
    known = _read(path)
    names = tuple(services)
    found = {name: known[name] for name in names if known.get(name, -1) in range(limit)}
    free = (number for number in range(limit) if number not in set(found.values()))
    for name in names:
        if name not in found:
            number = next(free, None)
            if number is None:
                raise StoreError(f"{len(names)} services, and the packet path has tables for {limit}")
            found[name] = number
    if found != known:
        sealed.replace(path, json.dumps(found, indent=1).encode() + b"\n")
    return found


def _read(path: Path) -> dict[str, int]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(name): int(number) for name, number in found.items()} if isinstance(found, dict) else {}
