"""The store: what is put in comes out, over restarts too, and every fault is told in words."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from random import Random

import pytest

from gtm.model.check import Target
from gtm.model.errors import StoreError
from gtm.model.health import Health, Judgement, Result
from gtm.model.override import Action, Override, Subject
from gtm.store import database as database_module
from gtm.store import revisions as revisions_module
from gtm.store.overrides import AuditEntry
from gtm.store.revisions import Inputs, Revision
from gtm.store.schema import MIGRATIONS, VERSION
from gtm.store.store import Store

US_EAST = Subject(kind="region", name="us-east")
WEB = Subject(kind="pool", name="lb.example.com/web")


def order(subject: Subject = US_EAST, action: Action = Action.DRAIN, **more: float | str) -> Override:
    return Override(
        subject=subject,
        action=action,
        owner=str(more.get("owner", "ann")),
        reason=str(more.get("reason", "kernel update")),
        since_s=float(more.get("since_s", 1000.0)),
        until_s=float(more["until_s"]) if "until_s" in more else None,
    )


def judgement(at_s: float, health: Health = Health.UP, streak: int = 0) -> Judgement:
    ok = (health is Health.UP) == (streak == 0)
    last = Result(at_s=at_s, ok=ok, took_s=0.012, detail="200 in 12 ms")
    return Judgement(health=health, since_s=at_s - 50, streak=streak, last=last)


def target(number: int, check: str = "web") -> Target:
    return Target(check=check, address=ip_address(0x7F000000 + number))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gtm.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store(path) as opened:
        yield opened


def reopened(store: Store, path: Path) -> Store:
    store.close()
    return Store(path)


class TestOverrides:
    def test_an_order_stands_until_it_is_taken_back(self, store: Store) -> None:
        assert store.put(order()) is None
        assert store.active(5000.0) == (order(),)
        assert store.remove(US_EAST, by="bob", reason="done", now_s=6000.0) == order()
        assert store.active(6000.0) == ()
        assert store.remove(US_EAST, by="bob", reason="again", now_s=6001.0) is None

    def test_an_order_with_an_end_is_over_then(self, store: Store) -> None:
        store.put(order(until_s=2000.0))
        assert store.active(1999.9) == (order(until_s=2000.0),)
        assert store.active(2000.0) == ()

    def test_one_order_a_subject_the_last_one_counts(self, store: Store) -> None:
        store.put(order())
        store.put(order(WEB, since_s=1001.0))
        forced = order(action=Action.FORCE_UP, since_s=1002.0)
        assert store.put(forced) == order()
        assert store.active(1003.0) == (order(WEB, since_s=1001.0), forced)

    def test_expire_drops_what_is_over_and_writes_only_then(self, store: Store, path: Path) -> None:
        store.put(order(until_s=2000.0))
        store.put(order(WEB))
        with Store(path) as other:
            before = other.changes()
            assert store.expire(1999.0) == ()
            assert other.changes() == before
            assert store.expire(2000.0) == (order(until_s=2000.0),)
            assert other.changes() != before
            assert other.active(1000.0) == (order(WEB),)

    def test_every_change_is_in_the_audit_newest_first(self, store: Store) -> None:
        store.put(order(until_s=2000.0))
        store.put(order(action=Action.FORCE_DOWN, since_s=1100.0, owner="bob", reason="worse", until_s=1500.0))
        store.put(order(WEB, since_s=1200.0))
        store.remove(WEB, by="cho", reason="all well", now_s=1300.0)
        store.expire(1600.0)
        table = [(e.at_s, e.who, e.what, str(e.subject), e.why, e.until_s, e.before) for e in store.audit()]
        assert table == [
            (1600.0, "gtm", "expire", "region/us-east", "worse", 1500.0, "force-down"),
            (1300.0, "cho", "remove", "pool/lb.example.com/web", "all well", None, "drain"),
            (1200.0, "ann", "drain", "pool/lb.example.com/web", "kernel update", None, None),
            (1100.0, "bob", "force-down", "region/us-east", "worse", 1500.0, "drain"),
            (1000.0, "ann", "drain", "region/us-east", "kernel update", 2000.0, None),
        ]
        assert [e.at_s for e in store.audit(subject=WEB)] == [1300.0, 1200.0]
        assert store.audit(limit=1) == (
            AuditEntry(
                at_s=1600.0, who="gtm", what="expire", subject=US_EAST, why="worse", until_s=1500.0, before="force-down"
            ),
        )

    def test_orders_and_audit_survive_a_restart(self, store: Store, path: Path) -> None:
        store.put(order(reason="Straße; DROP TABLE override; --", until_s=3000.0))
        with reopened(store, path) as again:
            assert again.active(2000.0)[0].reason == "Straße; DROP TABLE override; --"
            assert len(again.audit()) == 1

    def test_a_text_that_cannot_be_kept_changes_nothing(self, store: Store) -> None:
        with pytest.raises(StoreError, match="makes no sense"):
            store.put(order(reason="\ud800"))
        assert (store.active(2000.0), store.audit()) == ((), ())


class TestJudgements:
    def test_they_come_back_with_their_streak_and_age(self, store: Store, path: Path) -> None:
        kept = {target(i): judgement(1000.0 + i, Health.DOWN if i % 2 else Health.UP, i % 3) for i in range(500)}
        v6 = Target(check="tcp", address=ip_address("2001:db8::1"))
        store.save_judgements({**kept, v6: judgement(1200.0)}, now_s=1500.0)
        with reopened(store, path) as again:
            assert again.load_judgements(now_s=1500.0, age_max_s=1000.0) == {**kept, v6: judgement(1200.0)}

    def test_those_of_other_targets_stay(self, store: Store) -> None:
        store.save_judgements({target(1): judgement(1000.0)}, now_s=1000.0)
        store.save_judgements({target(2): judgement(1001.0)}, now_s=1001.0)
        store.save_judgements({target(2): judgement(1002.0, Health.DOWN)}, now_s=1002.0)
        assert store.load_judgements(now_s=1002.0) == {
            target(1): judgement(1000.0),
            target(2): judgement(1002.0, Health.DOWN),
        }

    def test_old_ones_are_not_loaded_and_very_old_ones_not_kept(self, store: Store) -> None:
        store.save_judgements({target(1): judgement(1000.0), target(2): judgement(1200.0)}, now_s=1200.0)
        assert set(store.load_judgements(now_s=1400.0, age_max_s=300.0)) == {target(2)}
        assert set(store.load_judgements(now_s=1400.0, age_max_s=400.0)) == {target(1), target(2)}
        store.save_judgements({}, now_s=1100.0 + 7 * 86400)
        assert set(store.load_judgements(now_s=1400.0, age_max_s=400.0)) == {target(2)}

    def test_what_was_never_judged_is_not_kept(self, store: Store) -> None:
        store.save_judgements({target(1): Judgement()}, now_s=1.0)
        assert store.load_judgements(now_s=1.0) == {}

    def test_a_stamp_in_the_future_becomes_now(self, store: Store) -> None:
        store.save_judgements({target(1): judgement(9000.0)}, now_s=9000.0)
        (loaded,) = store.load_judgements(now_s=1000.0).values()
        assert loaded.last is not None
        assert (loaded.last.at_s, loaded.since_s, loaded.health) == (1000.0, 1000.0, Health.UP)


class TestRevisions:
    def test_numbers_only_rise(self, store: Store, path: Path) -> None:
        assert [store.next_revision() for _ in range(3)] == [1, 2, 3]
        with reopened(store, path) as again:
            assert again.next_revision() == 4
            assert again.next_revision(at_least=100) == 100
            assert again.next_revision(at_least=7) == 101

    def test_a_past_decision_can_be_seen_again(self, store: Store, path: Path) -> None:
        judgements = {target(1): judgement(1000.0, Health.DOWN), target(2): Judgement()}
        store.record(7, at_s=1000.0, summary="us-east down", judgements=judgements, overrides=(order(until_s=9.0),))
        with reopened(store, path) as again:
            assert again.revisions() == (Revision(revision=7, at_s=1000.0, summary="us-east down"),)
            assert again.inputs(7) == Inputs(judgements=judgements, overrides=(order(until_s=9.0),))
            assert again.inputs(8) is None

    def test_the_journal_is_bounded_by_number(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(revisions_module, "REVISIONS_MAX", 5)
        for number in range(1, 9):
            store.record(number, at_s=float(number), summary="", judgements={}, overrides=())
        assert [entry.revision for entry in store.revisions()] == [8, 7, 6, 5, 4]
        assert [entry.revision for entry in store.revisions(limit=2)] == [8, 7]

    def test_the_journal_is_bounded_by_size_but_keeps_the_newest(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(revisions_module, "JOURNAL_MAX_BYTES", 3000)
        noise = Random(1)
        for number in range(1, 9):
            text = noise.randbytes(500).hex()
            store.record(number, at_s=1.0, summary="", judgements={}, overrides=(order(reason=text),))
        kept = [entry.revision for entry in store.revisions()]
        assert kept[0] == 8
        assert 2 <= len(kept) <= 5
        monkeypatch.setattr(revisions_module, "JOURNAL_MAX_BYTES", 10)
        store.record(9, at_s=1.0, summary="", judgements={}, overrides=())
        assert [entry.revision for entry in store.revisions()] == [9]

    @pytest.mark.parametrize("packed", [b"", b"nonsense", revisions_module.pack({}, ())[:-4]])
    def test_a_damaged_entry_is_told_in_words(self, store: Store, path: Path, packed: bytes) -> None:
        store.record(1, at_s=1.0, summary="", judgements={}, overrides=())
        with sqlite3.connect(path) as raw:
            raw.execute("UPDATE revision SET inputs = ?", (packed,))
        raw.close()
        with pytest.raises(StoreError, match="a revision in the journal is damaged"):
            store.inputs(1)


class TestFile:
    def test_it_is_for_its_owner_only(self, store: Store, path: Path) -> None:
        store.put(order())
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        assert modes == {"gtm.db": 0o600, "gtm.db-wal": 0o600, "gtm.db-shm": 0o600}

    def test_changes_tells_of_others_and_not_of_ourselves(self, store: Store, path: Path) -> None:
        before = store.changes()
        store.put(order())
        assert store.changes() == before
        with Store(path) as other:
            other.active(0.0)
            assert store.changes() == before
            other.put(order(WEB))
            after = store.changes()
            assert after != before
            assert store.changes() == after

    def test_a_deleted_file_is_made_again_and_noticed(self, store: Store, path: Path) -> None:
        store.put(order())
        before = store.changes()
        path.unlink()
        with Store(path) as other:
            assert other.active(0.0) == ()
            other.put(order(WEB))
            assert store.changes() != before
            assert store.active(0.0) == (order(WEB),)

    def test_the_log_of_a_deleted_file_does_not_haunt_the_new_one(self, path: Path) -> None:
        haunted = Store(path)
        haunted.put(order())
        assert path.with_name("gtm.db-wal").stat().st_size > 0
        path.unlink()
        with Store(path) as fresh:
            assert fresh.active(0.0) == ()
        haunted.close()

    def test_a_folder_that_is_missing(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="no such file or directory"):
            Store(tmp_path / "missing" / "gtm.db")

    def test_a_folder_in_its_place(self, path: Path) -> None:
        path.mkdir()
        with pytest.raises(StoreError, match="is a directory"):
            Store(path)

    def test_an_empty_file(self, path: Path) -> None:
        path.touch()
        with pytest.raises(StoreError, match="is empty; remove it"):
            Store(path)

    def test_something_else_in_its_place(self, path: Path) -> None:
        path.write_text("not a database at all " * 100)
        with pytest.raises(StoreError, match=r"is damaged \(file is not a database\); move it away"):
            Store(path)

    def test_another_database_in_its_place(self, path: Path) -> None:
        raw = sqlite3.connect(path)
        raw.execute("CREATE TABLE mine (a)")
        raw.close()
        with pytest.raises(StoreError, match="is a database, but not a store of gtm"):
            Store(path)

    def test_damage_within(self, store: Store, path: Path) -> None:
        store.save_judgements({target(i): judgement(1000.0) for i in range(2000)}, now_s=1000.0)
        store.close()
        content = bytearray(path.read_bytes())
        content[8192:-4096] = b"\xa5" * (len(content) - 8192 - 4096)
        path.write_bytes(content)
        with pytest.raises(StoreError, match="is damaged"), Store(path) as damaged:
            damaged.load_judgements(now_s=1000.0)

    def test_a_row_that_makes_no_sense(self, store: Store, path: Path) -> None:
        store.put(order())
        with sqlite3.connect(path) as raw:
            raw.execute("UPDATE override SET action = 'explode'")
        raw.close()
        with pytest.raises(StoreError, match="holds something that makes no sense: 'explode'"):
            store.active(0.0)

    def test_a_newer_version_is_left_alone(self, store: Store, path: Path) -> None:
        store.close()
        raw = sqlite3.connect(path)
        raw.execute(f"PRAGMA user_version = {VERSION + 1}")
        raw.close()
        before = path.read_bytes()
        with pytest.raises(StoreError, match=f"written by a newer gtm .version {VERSION + 1} "):
            Store(path)
        assert path.read_bytes() == before

    def test_an_older_version_is_brought_up_to_date(
        self, store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.put(order())
        store.close()
        step = "ALTER TABLE audit ADD COLUMN note TEXT; CREATE TABLE extra (a TEXT) STRICT;"
        monkeypatch.setattr(database_module, "MIGRATIONS", (*MIGRATIONS, step))
        monkeypatch.setattr(database_module, "VERSION", VERSION + 1)
        for _ in range(2):
            with Store(path) as newer:
                assert newer.active(0.0) == (order(),)
        raw = sqlite3.connect(path)
        assert raw.execute("PRAGMA user_version").fetchone() == (VERSION + 1,)
        assert raw.execute("SELECT count(*) FROM extra").fetchone() == (0,)
        raw.close()

    def test_a_migration_that_fails_changes_nothing(
        self, store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.put(order())
        store.close()
        with monkeypatch.context() as patch:
            step = "CREATE TABLE extra (a TEXT) STRICT; nonsense;"
            patch.setattr(database_module, "MIGRATIONS", (*MIGRATIONS, step))
            patch.setattr(database_module, "VERSION", VERSION + 1)
            with pytest.raises(StoreError, match="syntax error"):
                Store(path)
        with Store(path) as same:
            assert same.active(0.0) == (order(),)

    def test_a_lock_that_is_never_released(self, store: Store, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(database_module, "BUSY_S", 0.05)
        raw = sqlite3.connect(path, isolation_level=None)
        raw.execute("BEGIN IMMEDIATE")
        try:
            with Store(path) as impatient, pytest.raises(StoreError, match="another process has held it locked"):
                impatient.put(order())
            assert store.active(0.0) == ()  # readers never wait for a writer
        finally:
            raw.close()

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
    def test_a_user_who_may_not(self, store: Store, path: Path, tmp_path: Path) -> None:
        store.close()
        for folder in (tmp_path, *tmp_path.parents[:3]):
            folder.chmod(folder.stat().st_mode | 0o055)
        os.seteuid(65534)
        try:
            with pytest.raises(StoreError, match="permission denied"):
                Store(path)
            with pytest.raises(StoreError, match="permission denied"):
                Store(tmp_path / "new.db")
        finally:
            os.seteuid(0)

    def test_after_close_every_call_is_refused_in_words(self, store: Store) -> None:
        store.close()
        store.close()
        with pytest.raises(StoreError, match="closed"):
            store.active(0.0)
