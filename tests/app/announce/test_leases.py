"""Leases, the clock that they run by, the ledger, and who may hold the lock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gtm.app.announce import ledger, report
from gtm.app.announce.engine import Engine
from gtm.app.announce.lease import STEP_MAX_S, Awake, Lease
from gtm.app.announce.pipe import Owned
from gtm.app.announce.tenure import Tenure

HOLDER = """
import sys, time
from pathlib import Path
from gtm.app.announce.tenure import Tenure
held = Tenure(Path(sys.argv[1]))
assert held.take()
print("held", flush=True)
sys.stdin.read()
"""
WEB = Owned(key="k", group="web", undo="withdraw k")


def test_a_lease_is_over_once_and_only_what_is_renewed_stands() -> None:
    lease = Lease()
    lease.renew({"web": 3.0, "mail": None, "dns": 10.0}, 0.0)
    assert lease.next_s() == 3.0
    assert lease.over(2.9) == frozenset()
    lease.renew({"dns": 1.0}, 2.9)
    assert lease.over(3.9) == {"web", "dns"}
    assert lease.over(1e9) == frozenset()  # mail is never, the others were told
    assert lease.stands("mail")
    assert not lease.stands("web")
    lease.renew({"web": 1.0}, 5.0)
    assert lease.stands("web")
    assert lease.over(6.0) == {"web"}


def test_a_clock_that_stood_still_does_not_jump() -> None:
    clock = Awake(100.0)
    assert clock.look(100.2) == pytest.approx(0.2)
    assert clock.look(5000.0) == pytest.approx(0.2 + STEP_MAX_S)
    assert clock.look(4000.0) == pytest.approx(0.2 + STEP_MAX_S)


def test_a_ledger_is_of_one_exabgp_alone(tmp_path: Path) -> None:
    report.folder(tmp_path)
    ledger.save(tmp_path, "7.100", [WEB], {"web": 3.0, "mail": None})
    found = ledger.load(tmp_path, "7.100")
    assert found.owned == (WEB,)
    assert found.leases == {"web": 3.0, "mail": None}
    assert ledger.load(tmp_path, "7.101").owned == ()


@pytest.mark.parametrize("damage", [b"", b"\x00" * 64, b"gtm announcer-ledger cpython-3.11\n{}"])
def test_a_ledger_that_cannot_be_read_is_empty(tmp_path: Path, damage: bytes) -> None:
    report.folder(tmp_path)
    (tmp_path / report.FOLDER / ledger.FILE).write_bytes(damage)
    assert ledger.load(tmp_path, "7.100").owned == ()


def holder(state: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(state)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def test_whoever_waits_is_seen_and_has_it_next(tmp_path: Path) -> None:
    report.folder(tmp_path)
    one, other = Tenure(tmp_path), Tenure(tmp_path)  # files of their own: as good as two processes
    assert one.take()
    assert not one.heir()
    assert not other.take()
    assert one.heir()
    del one
    assert other.take()
    assert not other.heir()


def test_whoever_does_not_give_way_is_ended(tmp_path: Path) -> None:
    report.folder(tmp_path)
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGSTOP)
        mine = Tenure(tmp_path)
        assert not mine.take()
        assert mine.evict() == process.pid
        assert process.wait(60) == -signal.SIGKILL
        assert mine.take()
        assert mine.evict() == 0


def test_a_number_without_the_lock_is_nobodys(tmp_path: Path) -> None:
    report.folder(tmp_path)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        (tmp_path / report.FOLDER / "lock").write_text(f"{stranger.pid}\n")
        assert Tenure(tmp_path).evict() == 0
        assert stranger.poll() is None
        stranger.communicate(b"\n", timeout=60)
        assert stranger.returncode == 0


def test_a_process_by_its_descriptor() -> None:
    assert Engine.parent().pid == os.getppid()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        engine = Engine(child.pid)
        before = engine.gone
        assert engine.name == Engine(child.pid).name
        engine.send(signal.SIGKILL)
        assert child.wait(60) == -signal.SIGKILL
        assert (before, engine.gone) == (False, True)
        engine.send(signal.SIGKILL)  # nobody is hit
