"""One reading of a source of load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gtm.model.load import LoadSample


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was read: samples of subjects of the deployment, and how much was `ignored`.

    Ignored is what is of nothing that the deployment has, or no number. `problem` is what went wrong beside that: a
    query of several failed, say.
    """

    samples: tuple[LoadSample, ...]
    ignored: int = 0
    problem: str | None = None


class Source(Protocol):
    """Something that load is read from. A reading has a deadline, whatever the other side does."""

    name: str

    async def read(self) -> Reading | None:
        """A reading; None where there is nothing new. Raises PeerError where it came to nothing."""

    async def close(self) -> None:
        """Let go of connections."""
