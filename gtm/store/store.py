"""The embedded store: what must outlive the process, in one SQLite file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from gtm.model.address import IPAddress
from gtm.model.check import Target
from gtm.model.chronicle import Entries, Run, Transition
from gtm.model.errors import StoreError
from gtm.model.health import Judgement
from gtm.model.override import Override, Subject
from gtm.model.push import Inbox
from gtm.store import inbox, judgements, overrides, revisions, runs, transitions
from gtm.store.database import Database
from gtm.store.inbox import Entry
from gtm.store.overrides import AuditEntry
from gtm.store.revisions import Inputs, Revision

JUDGEMENT_AGE_MAX_S = 300.0
CHRONICLE_STEP = 1000  # entries in one transaction

Item = TypeVar("Item")


class Store:
    """The store of one node. Processes and threads may share the file; every call is one transaction.

    Every method raises StoreError, in words for people, if the file cannot be used just now.
    """

    def __init__(self, path: Path) -> None:
        """Open the store, making an empty one (mode 0600) if there is none; its folder must exist."""
        self._database = Database(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def changes(self) -> int:
        """A number that differs from the last one when another process (or Store) has written since."""
        return self._database.changes()

    # Orders of people.

    def put(self, override: Override) -> Override | None:
        """Set a subject's order, durably and in the audit; the order that it replaces, if any."""
        with self._database.write(durable=True) as connection:
            return overrides.put(connection, override)

    def remove(self, subject: Subject, *, by: str, reason: str, now_s: float) -> Override | None:
        """Take a subject's order back, durably and in the audit; the order, or None if there was none."""
        with self._database.write(durable=True) as connection:
            return overrides.remove(connection, subject, by=by, reason=reason, now_s=now_s)

    def active(self, now_s: float) -> tuple[Override, ...]:
        """The orders that stand, oldest first."""
        with self._database.read() as connection:
            return tuple(override for override in overrides.every(connection) if override.active(now_s))

    def expire(self, now_s: float) -> tuple[Override, ...]:
        """Drop the orders whose time is over, in the audit; those orders. Writes only if there are any."""
        with self._database.read() as connection:
            if all(override.active(now_s) for override in overrides.every(connection)):
                return ()
        with self._database.write(durable=True) as connection:
            return overrides.expire(connection, now_s)

    def audit(self, *, limit: int = 100, subject: Subject | None = None) -> tuple[AuditEntry, ...]:
        """The latest changes of orders, newest first."""
        with self._database.read() as connection:
            return overrides.audit(connection, limit=limit, subject=subject)

    # What is pushed from outside.

    def deliver(self, entries: Sequence[Entry]) -> tuple[int, ...]:
        """Leave pushed values for the controller, all or none; their numbers. Too many of a kind: its oldest go."""
        with self._database.write(durable=False) as connection:
            return inbox.put(connection, entries)

    def collect(self, *, now_s: float, limit: int = inbox.COLLECTED_MAX) -> Inbox:
        """Take up to `limit` of the oldest pushed values that still count. Writes only if anything waits.

        Asked again while there is `more`: a number from `changes` tells of each delivery once.
        """
        with self._database.read() as connection:
            if not inbox.waits(connection):
                return Inbox()
        with self._database.write(durable=False) as connection:
            return inbox.take(connection, now_s, limit)

    def collected(self, numbers: Iterable[int]) -> bool:
        """Whether a delivery of these numbers has been taken."""
        with self._database.read() as connection:
            return not inbox.waits_up_to(connection, max(numbers, default=0))

    # Judgements.

    def save_judgements(self, some: Mapping[Target, Judgement], *, now_s: float) -> None:
        """Keep these targets' judgements, in one go; those of other targets stay."""
        with self._database.write(durable=False) as connection:
            judgements.save(connection, some, now_s)

    def load_judgements(self, *, now_s: float, age_max_s: float = JUDGEMENT_AGE_MAX_S) -> dict[Target, Judgement]:
        """The judgements whose last result is at most `age_max_s` old, of known and unknown targets."""
        with self._database.read() as connection:
            return judgements.load(connection, now_s, age_max_s)

    # What was seen, and how verdicts changed.

    def write_chronicle(self, entries: Entries, now_s: float) -> None:
        """Write entries down and drop old ones, some at a time, so that nobody who writes meanwhile waits for long.

        Where this raises, some of the entries may have been written.
        """
        for some in batched(entries.transitions, CHRONICLE_STEP):
            with self._database.write(durable=False) as connection:
                transitions.add(connection, some)
                transitions.prune(connection, now_s=now_s, step=2 * CHRONICLE_STEP)
        for few in batched(entries.runs, CHRONICLE_STEP):
            with self._database.write(durable=False) as connection:
                runs.put(connection, few)
                runs.prune(connection, now_s=now_s, step=2 * CHRONICLE_STEP)

    def transitions(
        self, *, since_s: float, check: str | None = None, address: IPAddress | None = None
    ) -> tuple[Transition, ...]:
        """The changes of verdicts since a moment, of one check or address or of all, in the order of their coming."""
        with self._database.read() as connection:
            return tuple(transitions.find(connection, since_s=since_s, check=check, address=address))

    def runs(self, *, since_s: float, check: str | None = None, address: IPAddress | None = None) -> tuple[Run, ...]:
        """The runs of results that had not ended before a moment, of one check or address or of all, each target's by
        vantage and time.
        """
        with self._database.read() as connection:
            return tuple(runs.find(connection, since_s=since_s, check=check, address=address))

    def checks_seen(self) -> tuple[str, ...]:
        """The names of the checks of which there are runs."""
        with self._database.read() as connection:
            return runs.checks(connection)

    # Revisions.

    def next_revision(self, *, at_least: int = 1) -> int:
        """A revision number larger than all before it, over restarts too; claimed with this call."""
        with self._database.write(durable=False) as connection:
            return revisions.claim(connection, at_least)

    def record(
        self,
        revision: int,
        *,
        at_s: float,
        summary: str,
        judgements: Mapping[Target, Judgement],
        overrides: Iterable[Override],
    ) -> None:
        """Enter a revision and what it was decided from in the journal, which forgets the oldest ones."""
        packed = revisions.pack(judgements, overrides)
        with self._database.write(durable=False) as connection:
            revisions.record(connection, Revision(revision=revision, at_s=at_s, summary=summary), packed)

    def revisions(self, *, limit: int = 100) -> tuple[Revision, ...]:
        """The latest revisions in the journal, newest first."""
        with self._database.read() as connection:
            return revisions.latest(connection, limit)

    def inputs(self, revision: int) -> Inputs | None:
        """What a revision was decided from, or None if the journal does not have it (any more)."""
        with self._database.read() as connection:
            packed = revisions.find(connection, revision)
        try:
            return None if packed is None else revisions.unpack(packed)
        except StoreError as error:
            raise StoreError(f"{self._database.path}: {error}") from error


def batched(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """The items in lists of at most `size`."""
    return (items[start : start + size] for start in range(0, len(items), size))
