"""What an HTTP check makes of an answer, whichever version of HTTP brought it."""

from __future__ import annotations

from gtm.model.check import HttpProbe
from gtm.observe.attempt import Attempt
from gtm.observe.outcome import ProbeFault, Reason
from gtm.observe.pattern import Pattern

Ranges = tuple[tuple[int, int], ...]


class Verdict:
    """The judge of one check's answers, made once per target. Raises re.error for a pattern that is none.

    A target that calls itself DEGRADED is good and poor, by its status, whatever its body is, or by its body.
    """

    __slots__ = ("_body", "_degraded_body", "_degraded_statuses", "_statuses")

    def __init__(self, probe: HttpProbe) -> None:
        self._statuses = probe.statuses
        self._degraded_statuses = probe.degraded_statuses
        self._body = None if probe.body is None else Pattern(probe.body)
        self._degraded_body = None if probe.degraded_body is None else Pattern(probe.degraded_body)

    def wants_body(self, attempt: Attempt, status: int) -> bool:
        """Judge the status; whether the body must be read too. Raises ProbeFault; may make the attempt poor."""
        if _within(status, self._degraded_statuses):
            attempt.poor = f"status {status}"
            return False
        if not _within(status, self._statuses):
            raise ProbeFault(Reason.STATUS, f"status {status}")
        return self._body is not None or self._degraded_body is not None

    def body(self, attempt: Attempt, body: bytes) -> None:
        """Judge the body's beginning. Raises ProbeFault; may make the attempt poor."""
        text = body.decode("utf-8", "replace")
        if self._degraded_body is not None and self._degraded_body.found_in(text):
            attempt.poor = "the body says degraded"
        elif self._body is not None and not self._body.found_in(text):
            raise ProbeFault(Reason.BODY, "body did not match")


def _within(status: int, ranges: Ranges) -> bool:
    return any(low <= status <= high for low, high in ranges)
