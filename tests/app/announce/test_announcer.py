"""The announcer under the real ExaBGP: checks to routes, and what becomes of them when its parts stop or die."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from gtm.model.anycast import Phase
from tests.app.announce.announcer import DEADLINE_S, PREFIX, announced, announcer, on_wire, route, settled, web


def test_the_service_is_announced_while_its_check_is_good(tmp_path: Path) -> None:
    with announcer(tmp_path) as one:
        one.serve()
        one.start()
        one.wait_table(PREFIX)
        found = one.until("it is read back", on_wire)
        assert web(found).phase is Phase.UP
        assert found.exabgp is not None
        assert found.exabgp.startswith("exabgp 5.") or found.exabgp.startswith("5.")
        assert found.neighbours[0].up
        told = route(found)
        assert told is not None
        assert told.accepted
        assert told.seen is None  # nobody asked the peer
        one.fail()
        one.wait_table()
        found = one.until("it is read back", lambda found: not found.routes)
        assert web(found).phase is Phase.DOWN
        one.serve()
        one.wait_table(PREFIX)
        assert one.sink.sessions == 1


def test_a_thinker_that_hangs_loses_its_lease_and_gets_it_back(tmp_path: Path) -> None:
    with announced(tmp_path) as one:
        thinker = one.report().pid
        os.kill(thinker, signal.SIGSTOP)
        one.wait_table()
        one.wait_log("withdrawn_and_verified")
        os.kill(thinker, signal.SIGCONT)
        one.wait_table(PREFIX)
        assert one.report().pid == thinker
        assert one.sink.sessions == 1


def test_a_thinker_that_dies_is_started_again_and_nothing_flaps(tmp_path: Path) -> None:
    with announced(tmp_path, ttl="30s") as one:
        before = one.report()
        one.sink.updates.clear()
        os.kill(before.pid, signal.SIGKILL)
        after = one.until("another one thinks", lambda found: found.pid != before.pid and settled(found))
        assert after.supervisor_pid == before.supervisor_pid
        assert web(after).since_s == pytest.approx(web(before).since_s, abs=1.0)  # it remembers
        assert one.sink.updates == []


def test_a_supervisor_that_dies_is_started_again_by_exabgp_and_nothing_flaps(tmp_path: Path) -> None:
    with announced(tmp_path, ttl="30s") as one:
        before = one.report()
        one.sink.updates.clear()
        os.kill(before.supervisor_pid, signal.SIGKILL)
        one.until(
            "others run",
            lambda found: found.pid != before.pid and found.supervisor_pid != before.supervisor_pid and settled(found),
        )
        assert one.sink.updates == []
        one.wait_gone(before.pid)


def test_what_a_dead_supervisor_left_is_withdrawn_by_the_next(tmp_path: Path) -> None:
    with announced(tmp_path, ttl="30s") as one:
        before = one.report()
        os.kill(before.pid, signal.SIGSTOP)  # so that it notices nothing of what comes
        one.fail()
        one.write(prefix="198.51.100.0/24")  # and the prefix is not declared any more
        os.kill(before.supervisor_pid, signal.SIGKILL)
        one.wait_table()
        one.serve()
        one.wait_table("198.51.100.0/24")
        assert one.sink.sessions == 1


def test_a_supervisor_that_hangs_is_replaced_and_nothing_flaps(tmp_path: Path) -> None:
    with announced(tmp_path, ttl="3s") as one:
        before = one.report()
        one.sink.updates.clear()
        os.kill(before.supervisor_pid, signal.SIGSTOP)
        one.until(
            "others run",
            lambda found: found.pid != before.pid and found.supervisor_pid != before.supervisor_pid and settled(found),
        )
        assert one.sink.updates == []


def test_exabgp_that_hangs_is_ended(tmp_path: Path) -> None:
    with announced(tmp_path) as one:
        assert one.exabgp is not None
        one.exabgp.send_signal(signal.SIGSTOP)
        assert one.exabgp.wait(DEADLINE_S) == -signal.SIGKILL
        one.sink.wait("the session has ended", lambda: one.sink.ended == 1)
        assert '"ending_exabgp"' in one.log


def test_exabgp_that_is_restarted_has_it_all_again_at_once(tmp_path: Path) -> None:
    with announced(tmp_path) as one:
        before = one.report()
        assert one.exabgp is not None
        one.exabgp.kill()
        one.exabgp.wait(DEADLINE_S)
        one.sink.table.clear()
        one.start()
        one.wait_table(PREFIX)
        after = one.until("it is read back", lambda found: found.pid != before.pid and settled(found))
        assert web(after).phase is Phase.UP
        assert web(after).since_s == pytest.approx(web(before).since_s, abs=1.0)  # never fell, never rose
        one.wait_gone(before.supervisor_pid)
        one.wait_gone(before.pid)


def test_told_to_end_it_withdraws_and_exabgp_starts_it_again(tmp_path: Path) -> None:
    with announced(tmp_path) as one:
        before = one.report()
        os.kill(before.supervisor_pid, signal.SIGTERM)
        one.wait_log('"withdrawn"')
        assert '"read_back": true' in one.log
        one.until(
            "another one announces", lambda found: found.supervisor_pid != before.supervisor_pid and on_wire(found)
        )
        assert one.sink.sessions == 1


def test_told_to_end_it_keeps_what_it_is_to_keep(tmp_path: Path) -> None:
    with announced(tmp_path, exit="keep") as one:
        before = one.report()
        one.sink.updates.clear()
        os.kill(before.supervisor_pid, signal.SIGTERM)
        one.until(
            "another one announces",
            lambda found: found.supervisor_pid != before.supervisor_pid and found.pid != before.pid and settled(found),
        )
        assert one.sink.updates == []


def test_a_change_of_what_is_declared_is_taken_in(tmp_path: Path) -> None:
    with announced(tmp_path, ttl="30s") as one:
        one.write(prefix="198.51.100.0/24")
        one.wait_table("198.51.100.0/24")
        assert one.sink.sessions == 1
