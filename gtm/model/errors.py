"""Everything that can go wrong on purpose, in one small tree; each says where, what, and what is allowed."""

from __future__ import annotations

from collections.abc import Iterable


class GtmError(Exception):
    """A failure that is reported to people as one clear line, never as a traceback."""


class ConfigError(GtmError):
    """One fault in a deployment file: where it is, what is wrong, and what would be allowed."""

    def __init__(
        self, message: str, *, file: str, line: int | None = None, key: str | None = None, allowed: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.file = file
        self.line = line
        self.key = key
        self.allowed = allowed

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        key = f" {self.key}:" if self.key else ""
        allowed = f" (allowed: {self.allowed})" if self.allowed else ""
        return f"{where}:{key} {self.message}{allowed}"


class ConfigErrors(GtmError):
    """Every fault found in one reading of a deployment, in file and line order."""

    def __init__(self, errors: Iterable[ConfigError]) -> None:
        self.errors = tuple(sorted(errors, key=lambda e: (e.file, e.line or 0, e.key or "", e.message)))
        super().__init__("\n".join(str(e) for e in self.errors))


class AskedError(GtmError):
    """A person asked for something that does not exist or makes no sense; `known` are names that may have been meant.

    `argument` is the part of the question that is at fault, in the asker's words ("NAME", "--from", "down").
    """

    def __init__(self, message: str, *, argument: str, known: Iterable[str] = ()) -> None:
        self.message = message
        self.argument = argument
        self.known = tuple(known)
        meant = f"; did you mean {' or '.join(self.known)}?" if self.known else ""
        super().__init__(f"{argument}: {message}{meant}")


class PeerError(GtmError):
    """The other side of a protocol broke its rules; `peer` says who."""

    def __init__(self, message: str, *, peer: str) -> None:
        super().__init__(f"{peer}: {message}")
        self.peer = peer


class StoreError(GtmError):
    """The state store could not be read or written just now; trying again later may help."""


class PublishError(GtmError):
    """A target could not be brought to the plan; the change that failed is named."""

    def __init__(self, message: str, *, target: str, change: str) -> None:
        super().__init__(f"{target}: {change}: {message}")
        self.target = target
        self.change = change


class Refused(GtmError):
    """A guard refused a change that was asked for; `guard` names the rule (exit code 3)."""

    def __init__(self, reason: str, *, guard: str) -> None:
        super().__init__(f"refused by guard {guard}: {reason}")
        self.guard = guard
        self.reason = reason
