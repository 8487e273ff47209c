"""Judgements kept over a restart, so that the controller carries on without a flap."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address

from gtm.model.check import Target
from gtm.model.health import Health, Judgement, Phases, Result

KEEP_S = 7 * 86400.0


def save(connection: sqlite3.Connection, judgements: Mapping[Target, Judgement], now_s: float) -> None:
    """Keep these, in place of what was kept of the same targets; others stay until nobody saw them for KEEP_S.

    A judgement without a result says nothing and is not kept.
    """
    connection.executemany(
        "INSERT OR REPLACE INTO judgement (check_name, address, health, since_s, streak, last_at_s, last_ok,"
        " last_took_s, last_detail, failures, history, last_poor, last_connect_s, last_tls_s, last_first_byte_s)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                target.check, str(target.address), one.health, one.since_s, one.streak,
                one.last.at_s, one.last.ok, one.last.took_s, one.last.detail, one.failures, f"{one.history:x}",
                one.last.poor, one.last.phases.connect_s, one.last.phases.tls_s, one.last.phases.first_byte_s,
            )
            for target, one in judgements.items()
            if one.last is not None
        ],
    )  # fmt: skip
    connection.execute("DELETE FROM judgement WHERE last_at_s < ?", (now_s - KEEP_S,))


def load(connection: sqlite3.Connection, now_s: float, age_max_s: float) -> dict[Target, Judgement]:
    """The kept judgements whose last result is at most `age_max_s` old, of targets still wanted or not.

    What was stamped in the future, by a clock that has been set back since, is taken to be of now: otherwise every
    result until then would look older than it and be ignored.
    """
    rows = connection.execute(
        "SELECT check_name, address, health, since_s, streak, last_at_s, last_ok, last_took_s, last_detail,"
        " failures, history, last_poor, last_connect_s, last_tls_s, last_first_byte_s"
        " FROM judgement WHERE last_at_s >= ?",
        (now_s - age_max_s,),
    )
    return dict(_judgement(row, now_s) for row in rows)


_Row = tuple[str, str, str, float, int, float, int, float, str, int, str, int, float | None, float | None, float | None]


def _judgement(row: _Row, now_s: float) -> tuple[Target, Judgement]:
    check, address, health, since_s, streak, at_s, ok, took_s, detail, failures, history, poor, *phases = row
    connect_s, tls_s, first_byte_s = phases
    parts = Phases(connect_s=connect_s, tls_s=tls_s, first_byte_s=first_byte_s)
    last = Result(at_s=at_s, ok=bool(ok), took_s=took_s, detail=detail, poor=bool(poor), phases=parts)
    judgement = Judgement(
        health=Health(health),
        since_s=min(since_s, now_s),
        streak=streak,
        failures=failures,
        history=int(history, 16),
        last=last,
    )
    if at_s > now_s:
        judgement = replace(judgement, last=replace(last, at_s=now_s))
    return Target(check=check, address=ip_address(address)), judgement
