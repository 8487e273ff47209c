"""Orders of people, and the record of every change to them."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from gtm.model.override import Action, Override, Subject

OURSELVES = "gtm"
EXPIRED = "expire"
REMOVED = "remove"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One change of an order: when, by whom, what, to what, why, and until when.

    `what` is an Action, "remove" or "expire"; `before` is the action that stood until then, if any.
    """

    at_s: float
    who: str
    what: str
    subject: Subject
    why: str
    until_s: float | None
    before: str | None


def put(connection: sqlite3.Connection, override: Override) -> Override | None:
    """Set a subject's order; the one that it replaces, if any."""
    before = find(connection, override.subject)
    row = (str(override.subject), override.action, override.owner, override.reason, override.since_s, override.until_s)
    connection.execute(
        "INSERT OR REPLACE INTO override (subject, action, owner, reason, since_s, until_s) VALUES (?, ?, ?, ?, ?, ?)",
        row,
    )
    _note(
        connection,
        AuditEntry(
            at_s=override.since_s,
            who=override.owner,
            what=override.action,
            subject=override.subject,
            why=override.reason,
            until_s=override.until_s,
            before=None if before is None else before.action,
        ),
    )
    return before


def remove(connection: sqlite3.Connection, subject: Subject, *, by: str, reason: str, now_s: float) -> Override | None:
    """Take a subject's order back; the order, or None if there was none (then nothing is recorded)."""
    return _drop(connection, subject, who=by, what=REMOVED, why=reason, now_s=now_s)


def expire(connection: sqlite3.Connection, now_s: float) -> tuple[Override, ...]:
    """Drop the orders whose time is over; those orders."""
    over = [override for override in every(connection) if not override.active(now_s)]
    for override in over:
        _drop(connection, override.subject, who=OURSELVES, what=EXPIRED, why=override.reason, now_s=now_s)
    return tuple(over)


def every(connection: sqlite3.Connection) -> tuple[Override, ...]:
    """Every order kept, oldest first, over or not."""
    rows = connection.execute(
        "SELECT subject, action, owner, reason, since_s, until_s FROM override ORDER BY since_s, subject"
    )
    return tuple(_override(row) for row in rows)


def find(connection: sqlite3.Connection, subject: Subject) -> Override | None:
    """A subject's order."""
    row = connection.execute(
        "SELECT subject, action, owner, reason, since_s, until_s FROM override WHERE subject = ?", (str(subject),)
    ).fetchone()
    return None if row is None else _override(row)


def audit(connection: sqlite3.Connection, *, limit: int, subject: Subject | None) -> tuple[AuditEntry, ...]:
    """The latest changes, newest first."""
    rows = connection.execute(
        "SELECT at_s, who, what, subject, why, until_s, before FROM audit "
        "WHERE ?1 IS NULL OR subject = ?1 ORDER BY id DESC LIMIT ?2",
        (None if subject is None else str(subject), limit),
    )
    return tuple(
        AuditEntry(at_s=at_s, who=who, what=what, subject=_subject(text), why=why, until_s=until_s, before=before)
        for at_s, who, what, text, why, until_s, before in rows
    )


def _drop(
    connection: sqlite3.Connection, subject: Subject, *, who: str, what: str, why: str, now_s: float
) -> Override | None:
    before = find(connection, subject)
    if before is None:
        return None
    connection.execute("DELETE FROM override WHERE subject = ?", (str(subject),))
    entry = AuditEntry(
        at_s=now_s, who=who, what=what, subject=subject, why=why, until_s=before.until_s, before=before.action
    )
    _note(connection, entry)
    return before


def _note(connection: sqlite3.Connection, entry: AuditEntry) -> None:
    connection.execute(
        "INSERT INTO audit (at_s, who, what, subject, why, until_s, before) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (entry.at_s, entry.who, entry.what, str(entry.subject), entry.why, entry.until_s, entry.before),
    )


def _override(row: tuple[str, str, str, str, float, float | None]) -> Override:
    subject, action, owner, reason, since_s, until_s = row
    return Override(
        subject=_subject(subject),
        action=Action(action),
        owner=owner,
        reason=reason,
        since_s=since_s,
        until_s=until_s,
    )


def _subject(text: str) -> Subject:
    kind, _, name = text.partition("/")
    return Subject(kind=kind, name=name)
