"""What is common to files of round-trip times: they are read whole and found sound before anything of them counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO

from gtm.model.errors import ConfigError, ConfigErrors
from gtm.model.rtt import RttSample

FAULTS_MAX = 20  # shown of one file; the rest would be more of the same
RTT_MAX_S = 60.0

Scan = Callable[[IO[bytes], "Notes"], Iterator[RttSample]]


@dataclass(slots=True, kw_only=True)
class Notes:
    """What a reading found beside samples: faults, and what it passed over, by why.

    `dry`: nobody takes the samples, so they need not be made.
    """

    file: str
    dry: bool = False
    faults: list[ConfigError] = field(default_factory=list)
    ignored: dict[str, int] = field(default_factory=dict)

    def fault(self, message: str, *, line: int, allowed: str | None = None, key: str | None = None) -> None:
        """Note what is wrong. Raises ConfigErrors once there is more of it than anybody reads."""
        self.faults.append(ConfigError(message, file=self.file, line=line, key=key, allowed=allowed))
        if len(self.faults) >= FAULTS_MAX:
            raise ConfigErrors(self.faults)

    def ignore(self, why: str) -> None:
        """Count something that is as it may be, but tells nothing."""
        self.ignored[why] = self.ignored.get(why, 0) + 1


def checked(file: IO[bytes], name: str, scan: Scan) -> tuple[Iterator[RttSample], Notes]:
    """The samples of a file, and the notes that fill while they are taken; the file is read twice, never held whole.

    All or nothing: raises ConfigErrors, before the first sample, for a file that is not sound throughout.
    """
    notes = Notes(file=name, dry=True)
    for _ in scan(file, notes):
        pass
    if notes.faults:
        raise ConfigErrors(notes.faults)
    file.seek(0)
    final = Notes(file=name)
    return scan(file, final), final
