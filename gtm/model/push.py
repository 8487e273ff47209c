"""What is pushed from outside: results of checks that others run, load, and round-trip times."""

from __future__ import annotations

from dataclasses import dataclass

from gtm.model.check import Target
from gtm.model.health import Health
from gtm.model.load import LoadSample
from gtm.model.rtt import RttSample

TTL_MIN_S = 1.0
DETAIL_MAX = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class PushedHealth:
    """A result that something outside pushed: UP, DEGRADED or DOWN, why, and for how long from `at_s` on it counts."""

    target: Target
    health: Health
    detail: str
    ttl_s: float
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbox:
    """What has been pushed, in the order in which it came. `more`: this is not all of it yet."""

    healths: tuple[PushedHealth, ...] = ()
    loads: tuple[LoadSample, ...] = ()
    rtts: tuple[RttSample, ...] = ()
    more: bool = False

    def __len__(self) -> int:
        return len(self.healths) + len(self.loads) + len(self.rtts)
