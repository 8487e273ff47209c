"""What one zone's steering file may refer to."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from gtm.config.known import Known


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The deployment around a steering file: regions, checks, all served zones (absolute), and whether round-trip times
    are measured.
    """

    regions: Known
    checks: Known
    zones: AbstractSet[str]
    rtt: bool = False
