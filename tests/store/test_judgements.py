"""What of a judgement survives a restart."""

from __future__ import annotations

import sqlite3
from ipaddress import ip_address

from gtm.model.check import Target
from gtm.model.health import Health, Judgement, Phases, Result
from gtm.store import judgements
from gtm.store.schema import MIGRATIONS


def test_a_judgement_is_kept_whole_with_a_full_history() -> None:
    target = Target(check="web", address=ip_address("192.0.2.1"))
    phases = Phases(connect_s=0.01, first_byte_s=0.2)
    last = Result(at_s=100.0, ok=True, took_s=0.25, detail="slow", poor=True, phases=phases)
    one = Judgement(health=Health.DEGRADED, since_s=50.0, streak=1, failures=3, history=(1 << 65) - 1, last=last)
    connection = sqlite3.connect(":memory:")
    for migration in MIGRATIONS:
        connection.executescript(migration)
    judgements.save(connection, {target: one}, 101.0)
    assert judgements.load(connection, 101.0, 60.0) == {target: one}
    connection.close()
