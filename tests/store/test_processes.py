"""The store between processes: nobody loses anything that was committed, whoever is killed when."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from ipaddress import ip_address
from pathlib import Path

from gtm.model.check import Target
from gtm.model.health import Health, Judgement, Result
from gtm.model.override import Action, Override, Subject
from gtm.store.store import Store

ROOT = Path(__file__).resolve().parents[2]
PRELUDE = """
import os, sys
from pathlib import Path
from gtm.model.check import Target
from gtm.model.health import Health, Judgement, Result
from gtm.model.override import Action, Override, Subject
from gtm.store.store import Store
def order(name, since_s):
    subject = Subject(kind="region", name=name)
    return Override(subject=subject, action=Action.DRAIN, owner="p", reason="r", since_s=since_s)
store = Store(Path(sys.argv[1]))
"""


def start(program: str, path: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + program, str(path), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str]) -> str:
    said, wrong = process.communicate()
    assert process.returncode == 0, wrong
    return said


def test_many_writers_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "gtm.db"
    program = """
for i in range(40):
    store.put(order(sys.argv[2] + "-" + str(i), float(i)))
    print(store.next_revision())
"""
    writers = [start(program, path, f"w{n}") for n in range(4)]  # the file does not exist: they race to make it
    numbers = [int(line) for writer in writers for line in end(writer).split()]
    with Store(path) as store:
        assert {o.subject.name for o in store.active(0.0)} == {f"w{n}-{i}" for n in range(4) for i in range(40)}
        assert len(store.audit(limit=1000)) == 160
    assert sorted(numbers) == list(range(1, 161))
    assert {file.name for file in tmp_path.iterdir()} == {"gtm.db"}


def test_a_reader_sees_each_change_whole_while_another_writes(tmp_path: Path) -> None:
    path = tmp_path / "gtm.db"
    targets = [Target(check="web", address=ip_address(0x7F000000 + i)) for i in range(300)]
    writer = start(
        """
targets = [Target(check="web", address=__import__("ipaddress").ip_address(0x7F000000 + i)) for i in range(300)]
for turn in range(60):
    last = Result(at_s=1000.0 + turn, ok=True, took_s=0.0, detail=str(turn))
    store.save_judgements(dict.fromkeys(targets, Judgement(health=Health.UP, since_s=0.0, last=last)), now_s=1000.0)
    print(turn, flush=True)
""",
        path,
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "0\n"
    with Store(path) as store:
        seen, changes = set(), set()
        while writer.poll() is None:
            changes.add(store.changes())
            loaded = store.load_judgements(now_s=1060.0)
            details = {one.last.detail for one in loaded.values() if one.last is not None}
            assert set(loaded) == set(targets)
            assert len(details) == 1, "half of a change was seen"
            seen |= details
        end(writer)
        assert len(changes) > 1


def test_killed_while_writing_loses_nothing_committed_and_leaves_no_half(tmp_path: Path) -> None:
    path = tmp_path / "gtm.db"
    program = """
turn = 0
while True:
    store.put(order("r" + str(turn), float(turn)))
    store.save_judgements({
        Target(check="web", address=__import__("ipaddress").ip_address(0x7F000000 + i)):
        Judgement(health=Health.UP, since_s=0.0, last=Result(at_s=1000.0, ok=True, took_s=0.0, detail=str(turn)))
        for i in range(200)
    }, now_s=1000.0)
    print(turn, flush=True)
    turn += 1
"""
    for wanted in (1, 5, 17):
        path.unlink(missing_ok=True)
        writer = start(program, path)
        assert writer.stdout is not None
        while int(writer.stdout.readline()) < wanted:
            pass
        writer.kill()
        told = max([wanted, *map(int, writer.stdout.read().split())])  # what it said before it died counts as well
        writer.communicate()
        with Store(path) as store:
            names = {o.subject.name for o in store.active(0.0)}
            assert {f"r{i}" for i in range(told + 1)} <= names
            assert len(names) <= told + 2
            assert len(store.audit(limit=1000)) == len(names)
            details = {one.last.detail for one in store.load_judgements(now_s=1000.0).values() if one.last is not None}
            assert len(details) == 1
            assert int(details.pop()) in {told, told + 1}
            store.put(Override(
                subject=Subject(kind="region", name="after"), action=Action.DRAIN, owner="p", reason="r", since_s=0.0
            ))  # fmt: skip


def test_killed_inside_a_transaction_leaves_what_was_before(tmp_path: Path) -> None:
    path = tmp_path / "gtm.db"
    victim = start(
        """
store.put(order("before", 1.0))
with store._database.write(durable=True) as connection:
    connection.execute("DELETE FROM override")
    connection.execute("DELETE FROM audit")
    print("inside", flush=True)
    sys.stdin.read()
""",
        path,
    )
    assert victim.stdout is not None
    assert victim.stdout.readline() == "inside\n"
    victim.kill()
    victim.communicate()
    with Store(path) as store:
        assert [o.subject.name for o in store.active(0.0)] == ["before"]
        assert len(store.audit()) == 1


def test_threads_may_share_a_store(tmp_path: Path) -> None:
    target = Target(check="web", address=ip_address("127.0.0.1"))
    last = Result(at_s=1000.0, ok=True, took_s=0.0, detail="")
    one = Judgement(health=Health.UP, since_s=0.0, last=last)
    with Store(tmp_path / "gtm.db") as store:
        numbers: list[int] = []

        def work() -> None:
            for _ in range(50):
                numbers.append(store.next_revision())
                store.save_judgements({target: one}, now_s=1000.0)
                store.load_judgements(now_s=1000.0)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(numbers) == list(range(1, 201))


def test_a_second_user_within_a_process_costs_the_first_nothing(tmp_path: Path) -> None:
    """Descriptors closed take a process's POSIX locks with them, and with those the log that the first one reads."""
    path = tmp_path / "gtm.db"
    with Store(path) as store, Store(path):
        for turn in range(3):
            end(start("store.put(order(sys.argv[2], 0.0))\nstore.close()", path, f"n{turn}"))
            assert {one.subject.name for one in store.active(0.0)} == {f"n{earlier}" for earlier in range(turn + 1)}
        with Store(path):
            pass
        end(start('store.put(order("last", 0.0))\nstore.close()', path))
        assert "last" in {one.subject.name for one in store.active(0.0)}
