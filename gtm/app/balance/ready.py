"""Whether an instance may attract traffic, in a file that `gtm announce` reads by a check of kind `file`.

The file is written again and again. One that is old says nothing any more: the kernel balances on without a manager,
so an announcer leaves things as they are, and shows that the check is stale. It is as well what a script of keepalived
(VRRP) can look at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from gtm.model.errors import StoreError
from gtm.publish.dns import sealed

PULSE_S = 1.0


class Ready:
    """Gathers reasons against readiness; the file says `up`, or `down` with the first of them."""

    def __init__(self, path: Path | None) -> None:
        """`path` None: nobody asks. Nothing is written before `pulse`."""
        self._path = path
        self._reasons: dict[str, str] = {}
        self._gates: dict[str, Callable[[], str | None]] = {}
        self.told: str | None = "manager: has only begun"  # at the last pulse, so that a report and the file agree

    def against(self, who: str, reason: str | None) -> None:
        """Have `who` give a reason against readiness, or with None no more."""
        if reason is None:
            self._reasons.pop(who, None)
        else:
            self._reasons[who] = reason

    def gate(self, who: str, reason: Callable[[], str | None]) -> None:
        """Ask `reason` at each pulse: why not, or None. For state sync, whose bulk transfer must have finished."""
        self._gates[who] = reason

    @property
    def unready(self) -> str | None:
        """The first reason against readiness; None: it is ready."""
        asked: Mapping[str, str | None] = {who: gate() for who, gate in self._gates.items()}
        found = ((who, why) for some in (self._reasons, asked) for who, why in some.items() if why is not None)
        who, why = next(found, (None, None))
        return None if who is None else f"{who}: {why}"

    def pulse(self) -> None:
        """Write the file anew. Raises StoreError."""
        self.told = why = self.unready
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{self._path.parent}: {error.strerror}") from error
        sealed.replace(self._path, (b"up\n" if why is None else f"down {why}\n".encode()))

    def leave(self, reason: str) -> None:
        """Say down for the last time; what cannot be written is as old soon."""
        self.against("manager", reason)
        try:
            self.pulse()
        except StoreError:
            return
