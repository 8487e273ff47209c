"""What a manager must know of its predecessor: who took new flows, and who had stopped and when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gtm.app.balance.plan import Left
from gtm.model.address import IPAddress
from gtm.model.balance import Backend
from gtm.model.errors import StoreError
from gtm.publish.dns import sealed
from gtm.publish.dns.control import boot_id

FOLDER = "balancer"
FILE = "memory"
FILE_KIND = "balancer-memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """`active`, `left` and `macs` as in Sight.

    Times are of the boot clock, so that a reboot forgets them, as it does flows.
    """

    active: Mapping[str, Backend] = field(default_factory=dict)
    left: Mapping[str, Left] = field(default_factory=dict)
    macs: Mapping[IPAddress, bytes] = field(default_factory=dict)


def save(state: Path, memory: Memory) -> None:
    """Replace the memory of a state folder. Raises StoreError."""
    left = {key: (one.service, one.backend, one.since_s, one.drain_s) for key, one in memory.left.items()}
    sealed.write(
        state / FOLDER / FILE, FILE_KIND, sealed.freeze((boot_id(), dict(memory.active), left, dict(memory.macs)))
    )


def load(state: Path) -> Memory:
    """The memory of a state folder since the machine booted; none where there is none, or one that makes no sense."""
    try:
        booted, active, left, macs = sealed.thaw(sealed.read(state / FOLDER / FILE, FILE_KIND))
        if booted != boot_id():
            return Memory()
        return Memory(
            active=dict(active),
            macs=dict(macs),
            left={
                key: Left(service=service, backend=backend, since_s=since_s, drain_s=drain_s)
                for key, (service, backend, since_s, drain_s) in left.items()
            },
        )
    except (StoreError, TypeError, ValueError, AttributeError):
        return Memory()
