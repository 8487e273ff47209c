"""What was pushed to this node and its controller has not taken yet: a bounded queue between processes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import assert_never

from gtm.model.check import Target
from gtm.model.health import Health
from gtm.model.load import LoadMetric, LoadSample
from gtm.model.push import Inbox, PushedHealth
from gtm.model.rtt import RttSample

Entry = PushedHealth | LoadSample | RttSample

COLLECTED_MAX = 500  # at once: some 5 ms of the controller's time, measured
# Of each kind the newest that wait, so that a flood of one does not push out another. A row is some 150 octets.
WAITING_MAX = {"health": 10_000, "load": 10_000, "rtt": 50_000}
LATE_MAX_S = 3600.0  # load and round-trip times that waited longer say nothing any more


def put(connection: sqlite3.Connection, entries: Sequence[Entry]) -> tuple[int, ...]:
    """Put entries at the queue's end; their numbers. Of a kind of which too many wait, the oldest are dropped."""
    numbers = []
    for entry in entries:
        kind, body = _pack(entry)
        row = connection.execute("INSERT INTO inbox (kind, at_s, body) VALUES (?, ?, ?)", (kind, entry.at_s, body))
        numbers.append(int(row.lastrowid or 0))
    for kind, most in WAITING_MAX.items():
        connection.execute(
            "DELETE FROM inbox WHERE kind = ?1 AND id <="
            " (SELECT id FROM inbox WHERE kind = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
            (kind, most),
        )
    return tuple(numbers)


def waits(connection: sqlite3.Connection) -> bool:
    """Whether anything waits."""
    return connection.execute("SELECT 1 FROM inbox LIMIT 1").fetchone() is not None


def waits_up_to(connection: sqlite3.Connection, number: int) -> bool:
    """Whether anything waits that was put before or as this number."""
    return connection.execute("SELECT 1 FROM inbox WHERE id <= ? LIMIT 1", (number,)).fetchone() is not None


def take(connection: sqlite3.Connection, now_s: float, limit: int) -> Inbox:
    """Up to `limit` of the oldest entries, which are gone with this call.

    What has had its time is left out. What was stamped in the future, by a clock that has been set back since, is
    taken to be of now.
    """
    rows = connection.execute("SELECT id, kind, at_s, body FROM inbox ORDER BY id LIMIT ?", (limit + 1,)).fetchall()
    more, rows = len(rows) > limit, rows[:limit]
    if rows:
        connection.execute("DELETE FROM inbox WHERE id <= ?", (rows[-1][0],))
    entries = (_unpack(kind, min(at_s, now_s), body) for _, kind, at_s, body in rows)
    fresh = [entry for entry in entries if entry is not None and now_s - entry.at_s < _life_s(entry)]
    return Inbox(
        healths=tuple(entry for entry in fresh if isinstance(entry, PushedHealth)),
        loads=tuple(entry for entry in fresh if isinstance(entry, LoadSample)),
        rtts=tuple(entry for entry in fresh if isinstance(entry, RttSample)),
        more=more,
    )


def _life_s(entry: Entry) -> float:
    return entry.ttl_s if isinstance(entry, PushedHealth) else LATE_MAX_S


def _pack(entry: Entry) -> tuple[str, str]:
    """An entry's kind, and what else it says as JSON."""
    match entry:
        case PushedHealth(target=target):
            said = [target.check, str(target.address), entry.health, entry.detail, float(entry.ttl_s)]
            return "health", json.dumps(said)
        case LoadSample():
            return "load", json.dumps([entry.subject, entry.metric, float(entry.value)])
        case RttSample():
            return "rtt", json.dumps([str(entry.network), entry.region, float(entry.rtt_s), entry.count])
        case _:
            assert_never(entry)


def _unpack(kind: str, at_s: float, body: str) -> Entry | None:
    """The entry; None for one that another version of gtm put there and this one cannot read."""
    try:
        return _entry(kind, at_s, json.loads(body))
    except ValueError:
        return None


def _entry(kind: str, at_s: float, said: object) -> Entry | None:
    match kind, said:
        case "health", [str(check), str(address), str(health), str(detail), float(ttl_s)]:
            target = Target(check=check, address=ip_address(address))
            return PushedHealth(target=target, health=Health(health), detail=detail, ttl_s=ttl_s, at_s=at_s)
        case "load", [str(subject), str(metric), float(value)]:
            return LoadSample(subject=subject, metric=LoadMetric(metric), value=value, at_s=at_s)
        case "rtt", [str(network), str(region), float(rtt_s), int(count)]:
            return RttSample(network=ip_network(network), region=region, rtt_s=rtt_s, at_s=at_s, count=count)
        case _:
            return None
