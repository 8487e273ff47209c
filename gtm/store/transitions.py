"""The transition log: every change of a verdict with its evidence, for 30 days."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address
from typing import Any  # a row of SQLite's; the table is STRICT

from gtm.model.address import IPAddress
from gtm.model.check import Target
from gtm.model.chronicle import Transition
from gtm.model.health import Health, Phases, Result, Vote

KEEP_S = 30 * 86400.0
TRANSITIONS_MAX = 500_000  # at some 95 bytes (bench/chronicle.py), and 30 for each vote
DETAIL_MAX = 200

_COLUMNS = (
    "at_s, check_name, address, vantage, was, now, lasted_s, failures, streak, history,"
    " last_at_s, last_ok, last_poor, last_took_s, connect_s, tls_s, first_byte_s, last_detail, votes"
)
_WIDTH = _COLUMNS.count(",") + 1


def add(connection: sqlite3.Connection, some: Iterable[Transition]) -> None:
    """Enter changes, in the order in which they came."""
    connection.executemany(
        f"INSERT INTO transition ({_COLUMNS}) VALUES ({', '.join('?' * _WIDTH)})", [_row(one) for one in some]
    )


def prune(connection: sqlite3.Connection, *, now_s: float, step: int) -> None:
    """Drop up to `step` of the oldest: those older than KEEP_S, and those that are more than TRANSITIONS_MAX."""
    connection.execute(
        "DELETE FROM transition WHERE id IN (SELECT id FROM transition ORDER BY id LIMIT ?)"
        " AND (at_s < ? OR id <= (SELECT max(id) FROM transition) - ?)",
        (step, now_s - KEEP_S, TRANSITIONS_MAX),
    )


def find(
    connection: sqlite3.Connection, *, since_s: float, check: str | None, address: IPAddress | None
) -> Iterator[Transition]:
    """The changes since a moment, of one check or address or of all, in the order in which they came."""
    where, values = narrowed(check, address)
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM transition WHERE at_s >= ?{where} ORDER BY id", (since_s, *values)
    )
    return (_transition(row) for row in rows)


def narrowed(check: str | None, address: IPAddress | None) -> tuple[str, Sequence[str]]:
    """Further conditions of a query, and their values."""
    conditions = {"check_name": check, "address": None if address is None else str(address)}
    wanted = {column: value for column, value in conditions.items() if value is not None}
    return "".join(f" AND {column} = ?" for column in wanted), tuple(wanted.values())


def kept_text(text: str) -> str:
    """Foreign text as it can be kept: not too long, and UTF-8."""
    return text[:DETAIL_MAX].encode("utf-8", "replace").decode()


def _row(one: Transition) -> tuple[object, ...]:
    last = one.last
    result: tuple[object, ...] = (None,) * 8
    if last is not None:
        phases = last.phases
        result = (
            last.at_s, last.ok, last.poor, last.took_s, phases.connect_s, phases.tls_s, phases.first_byte_s,
            kept_text(last.detail),
        )  # fmt: skip
    votes = [[vote.vantage, vote.health, vote.counted, vote.why] for vote in one.votes]
    return (
        one.at_s, one.target.check, str(one.target.address), one.vantage, one.was, one.now, one.lasted_s, one.failures,
        one.streak, one.history, *result, json.dumps(votes, separators=(",", ":")) if votes else None,
    )  # fmt: skip


def _transition(row: tuple[Any, ...]) -> Transition:
    at_s, check, address, vantage, was, now, lasted_s, failures, streak, history, *result, votes = row
    return Transition(
        target=Target(check=check, address=ip_address(address)),
        vantage=vantage,
        at_s=at_s,
        was=Health(was),
        now=Health(now),
        lasted_s=lasted_s,
        failures=failures,
        streak=streak,
        history=history,
        last=_result(*result),
        votes=() if votes is None else tuple(_vote(*vote) for vote in json.loads(votes)),
    )


def _result(
    at_s: float | None,
    ok: int,
    poor: int,
    took_s: float,
    connect_s: float | None,
    tls_s: float | None,
    first_byte_s: float | None,
    detail: str,
) -> Result | None:
    if at_s is None:
        return None
    phases = Phases(connect_s=connect_s, tls_s=tls_s, first_byte_s=first_byte_s)
    return Result(at_s=at_s, ok=bool(ok), poor=bool(poor), took_s=took_s, phases=phases, detail=detail)


def _vote(vantage: str, health: str, counted: object, why: str) -> Vote:
    return Vote(vantage=vantage, health=Health(health), counted=bool(counted), why=why)
