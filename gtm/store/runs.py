"""Runs of equal results, for 30 days: what is left of results, which are too many to keep."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from typing import Any  # a row of SQLite's; the table is STRICT

from gtm.model.address import IPAddress
from gtm.model.check import Target
from gtm.model.chronicle import Outcome, Run
from gtm.store.transitions import KEEP_S, kept_text, narrowed

RUNS_MAX = 1_000_000  # at some 115 bytes (bench/chronicle.py)

_COLUMNS = "first_at_s, last_at_s, outcome, count, took_min_s, took_mean_s, took_max_s, detail"


def put(connection: sqlite3.Connection, some: Sequence[Run]) -> None:
    """Enter runs; one that is there already is brought up to date. Should the clock have been set back so that another
    run began at the same moment, the longer one stays.
    """
    keys = [(run.target.check, str(run.target.address), run.vantage) for run in some]
    connection.executemany(
        "INSERT OR IGNORE INTO watched (check_name, address, vantage) VALUES (?, ?, ?)", dict.fromkeys(keys)
    )
    connection.executemany(
        f"INSERT INTO run (watched, {_COLUMNS})"
        " SELECT id, ?, ?, ?, ?, ?, ?, ?, ? FROM watched WHERE check_name = ? AND address = ? AND vantage = ?"
        " ON CONFLICT (watched, first_at_s) DO UPDATE SET last_at_s = excluded.last_at_s, outcome = excluded.outcome,"
        " count = excluded.count, took_min_s = excluded.took_min_s, took_mean_s = excluded.took_mean_s,"
        " took_max_s = excluded.took_max_s, detail = excluded.detail WHERE excluded.count >= run.count",
        [
            (
                run.first_at_s, run.last_at_s, run.outcome, run.count, run.took_min_s, run.took_mean_s, run.took_max_s,
                kept_text(run.detail), *key,
            )
            for run, key in zip(some, keys, strict=True)
        ],
    )  # fmt: skip


def prune(connection: sqlite3.Connection, *, now_s: float, step: int) -> None:
    """Drop up to `step` of those that ended first: longer than KEEP_S ago, or more than RUNS_MAX."""
    (count,) = connection.execute("SELECT count(*) FROM run").fetchone()
    gone = connection.execute(
        "DELETE FROM run WHERE (watched, first_at_s) IN"
        " (SELECT watched, first_at_s FROM run WHERE last_at_s < ? ORDER BY last_at_s LIMIT ?) RETURNING watched",
        (now_s - KEEP_S, step),
    ).fetchall()
    more = min(step - len(gone), count - len(gone) - RUNS_MAX)
    if more > 0:
        gone += connection.execute(
            "DELETE FROM run WHERE (watched, first_at_s) IN"
            " (SELECT watched, first_at_s FROM run ORDER BY last_at_s LIMIT ?) RETURNING watched",
            (more,),
        ).fetchall()
    connection.executemany(
        "DELETE FROM watched WHERE id = ? AND NOT EXISTS (SELECT 1 FROM run WHERE run.watched = watched.id)", set(gone)
    )


def find(
    connection: sqlite3.Connection, *, since_s: float, check: str | None, address: IPAddress | None
) -> Iterator[Run]:
    """The runs that had not ended before a moment, of one check or address or of all, by target, vantage and time."""
    where, values = narrowed(check, address)
    rows = connection.execute(
        f"SELECT check_name, address, vantage, {_COLUMNS} FROM watched JOIN run ON run.watched = watched.id"
        f" WHERE last_at_s >= ?{where} ORDER BY watched.id, first_at_s",
        (since_s, *values),
    )
    return (_run(row) for row in rows)


def checks(connection: sqlite3.Connection) -> tuple[str, ...]:
    """The names of the checks that have any."""
    rows = connection.execute("SELECT DISTINCT check_name FROM watched ORDER BY check_name")
    return tuple(name for (name,) in rows)


def _run(row: tuple[Any, ...]) -> Run:
    check, address, vantage, first_at_s, last_at_s, outcome, count, took_min_s, took_mean_s, took_max_s, detail = row
    return Run(
        target=Target(check=check, address=ip_address(address)),
        vantage=vantage,
        outcome=Outcome(outcome),
        first_at_s=first_at_s,
        last_at_s=last_at_s,
        count=count,
        took_min_s=took_min_s,
        took_mean_s=took_mean_s,
        took_max_s=took_max_s,
        detail=detail,
    )
