"""What one probe came to, before it is stamped with the time."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gtm.model.health import NO_PHASES, Phases


class Reason(StrEnum):
    """Why a probe was good or not, as a bounded label for counters; the words for people are in `Outcome.detail`."""

    OK = "ok"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    TLS = "tls"
    CLOSED = "closed"
    PROTOCOL = "protocol"
    STATUS = "status"
    BODY = "body"
    OURS = "ours"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A probe's end: why, in a word and in words, and how long it took.

    With Reason.OURS the fault is on this side (no file descriptors, a stalled process, an unreadable CA file): it says
    nothing of the target and must not be folded into its health. `poor` says why a target that is good is, by its own
    account, worse than it should be.
    """

    reason: Reason
    detail: str
    took_s: float
    poor: str | None = None
    phases: Phases = NO_PHASES

    @property
    def ok(self) -> bool:
        """Whether the target did all that its check asks."""
        return self.reason is Reason.OK


class ProbeFault(Exception):
    """Ends a probe that did not succeed; caught where its Outcome is made."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
