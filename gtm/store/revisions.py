"""The journal of revisions: what the decision knew, so that a past answer can be explained again."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from gtm.model.check import Target
from gtm.model.errors import StoreError
from gtm.model.health import Health, Judgement, Result
from gtm.model.override import Action, Override, Subject

REVISIONS_MAX = 1000
JOURNAL_MAX_BYTES = 64 * 1024 * 1024
INPUTS_MAX_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One revision: its number, when it was decided, and a line on what changed."""

    revision: int
    at_s: float
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a revision was decided from, besides the deployment."""

    judgements: Mapping[Target, Judgement]
    overrides: tuple[Override, ...]


def claim(connection: sqlite3.Connection, at_least: int) -> int:
    """The next revision number, larger than every one claimed before and no less than `at_least`."""
    row = connection.execute(
        "UPDATE counter SET value = max(value + 1, ?) WHERE name = 'revision' RETURNING value", (at_least,)
    ).fetchone()
    return int(row[0])


def record(connection: sqlite3.Connection, revision: Revision, packed: bytes) -> None:
    """Enter a revision; the oldest ones go when there are more than REVISIONS_MAX, or JOURNAL_MAX_BYTES of them."""
    connection.execute(
        "INSERT OR REPLACE INTO revision (revision, at_s, summary, inputs) VALUES (?, ?, ?, ?)",
        (revision.revision, revision.at_s, revision.summary, packed),
    )
    connection.execute(
        "DELETE FROM revision WHERE revision < (SELECT min(revision) FROM ("
        " SELECT revision, sum(length(inputs)) OVER (ORDER BY revision DESC) AS bytes FROM revision"
        " ORDER BY revision DESC LIMIT ?) WHERE bytes <= ? OR revision = ?)",
        (REVISIONS_MAX, JOURNAL_MAX_BYTES, revision.revision),
    )


def latest(connection: sqlite3.Connection, limit: int) -> tuple[Revision, ...]:
    """The latest revisions, newest first."""
    rows = connection.execute("SELECT revision, at_s, summary FROM revision ORDER BY revision DESC LIMIT ?", (limit,))
    return tuple(Revision(revision=number, at_s=at_s, summary=summary) for number, at_s, summary in rows)


def find(connection: sqlite3.Connection, revision: int) -> bytes | None:
    """A revision's packed inputs, if the journal still has them."""
    row = connection.execute("SELECT inputs FROM revision WHERE revision = ?", (revision,)).fetchone()
    return None if row is None else bytes(row[0])


def pack(judgements: Mapping[Target, Judgement], overrides: Iterable[Override]) -> bytes:
    """The inputs as compressed JSON; quickly rather than tightly (level 1: 10,000 targets in some 40 ms)."""
    document = {
        "judgements": [
            [target.check, str(target.address), one.health, one.since_s, one.streak, _result(one.last), one.failures]
            for target, one in judgements.items()
        ],
        "overrides": [
            [o.subject.kind, o.subject.name, o.action, o.owner, o.reason, o.since_s, o.until_s] for o in overrides
        ],
    }
    return zlib.compress(json.dumps(document, separators=(",", ":")).encode(), level=1)


def unpack(packed: bytes) -> Inputs:
    """What `pack` was given. Raises StoreError if the bytes make no sense."""
    try:
        inflate = zlib.decompressobj()
        content = inflate.decompress(packed, INPUTS_MAX_BYTES)
        if not inflate.eof:  # its checksum comes last
            raise ValueError("it is cut short, or far too large")
        document = json.loads(content)
        return Inputs(
            judgements=dict(_judgement(row) for row in document["judgements"]),
            overrides=tuple(_override(row) for row in document["overrides"]),
        )
    except (zlib.error, ValueError, TypeError, KeyError) as error:
        raise StoreError(f"a revision in the journal is damaged: {error}") from error


def _result(result: Result | None) -> list[object] | None:
    return None if result is None else [result.at_s, result.ok, result.took_s, result.detail, result.poor]


def _judgement(row: list[object]) -> tuple[Target, Judgement]:
    check, address, health, since_s, streak, last, *more = row  # the number of failures came later
    judgement = Judgement(
        health=Health(str(health)),
        since_s=_number(since_s),
        streak=int(_number(streak)),
        failures=int(_number(more[0])) if more else 0,
        last=_last(last),
    )
    return Target(check=str(check), address=ip_address(str(address))), judgement


def _last(row: object) -> Result | None:
    if row is None:
        return None
    if not isinstance(row, list):
        raise TypeError("a result is a list")
    at_s, ok, took_s, detail, *more = row  # whether it was poor came later
    poor = bool(more and more[0])
    return Result(at_s=_number(at_s), ok=bool(ok), took_s=_number(took_s), detail=str(detail), poor=poor)


def _override(row: list[object]) -> Override:
    kind, name, action, owner, reason, since_s, until_s = row
    return Override(
        subject=Subject(kind=str(kind), name=str(name)),
        action=Action(str(action)),
        owner=str(owner),
        reason=str(reason),
        since_s=_number(since_s),
        until_s=None if until_s is None else _number(until_s),
    )


def _number(value: object) -> float:
    if isinstance(value, int | float):
        return value
    raise TypeError(f"{value!r} is not a number")
