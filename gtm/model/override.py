"""What people ordered: drains and forced states, with owner, reason and time."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    """What a person wants of a subject."""

    DRAIN = "drain"
    FORCE_UP = "force-up"
    FORCE_DOWN = "force-down"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What an override is about.

    Written `region/REGION`, `pool/ZONE/POOL`, or `instance/REGION/LABEL` (LABEL as in Instance.label; it covers that
    instance in every pool). `kind` is the word before the first slash, `name` the rest.
    """

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """One standing order. `until_s` None means until it is taken back; times are seconds since the epoch."""

    subject: Subject
    action: Action
    owner: str
    reason: str
    since_s: float
    until_s: float | None = None

    def active(self, now_s: float) -> bool:
        """Whether the order still stands at `now_s`."""
        return self.until_s is None or now_s < self.until_s
