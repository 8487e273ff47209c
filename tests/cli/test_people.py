"""Orders on a deployment whose node does not run: kept in the store, guarded, shown before and after."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from gtm.app.people import Done, give, listing, subject_of, subjects, take_back
from gtm.app.people_text import listing_text, order_text
from gtm.cli.main import main
from gtm.cli.orders import owner
from gtm.config.deployment import load
from gtm.model.errors import AskedError, Refused
from gtm.model.override import Action
from tests.cli.small import write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path)


def drain(folder: Path, subject: str, **more: object) -> Done:
    options: dict[str, object] = {
        "subject": subject,
        "action": "drain",
        "owner": "ana",
        "reason": "kernel",
        "for_s": None,
        "force": False,
        "dry_run": False,
    }
    return give(folder, **(options | more))  # type: ignore[arg-type]


def test_a_drain_is_kept_and_shown(folder: Path) -> None:
    done = drain(folder, "region/us-east", for_s=3600)
    assert [(e.pool, e.before, e.after, e.share_moved) for e in done.effects] == [
        ("example.test/web", ("us-east", "eu-west"), ("eu-west",), 0.6)
    ]
    assert done.applied is not None
    assert (done.applied.revision, done.applied.controller) == (None, False)
    assert order_text(done).splitlines()[1:] == [
        "  example.test/web  60 % of traffic moves  us-east, eu-west -> eu-west",
        "no controller runs: it applies when one starts",
    ]
    standing = listing(folder, limit=10).overrides
    assert [(str(o.subject), o.action, o.owner, o.reason) for o in standing] == [
        ("region/us-east", Action.DRAIN, "ana", "kernel")
    ]
    assert standing[0].until_s == pytest.approx(standing[0].since_s + 3600)


def test_an_instance_moves_its_part_of_its_region(folder: Path) -> None:
    done = drain(folder, "instance/us-east/127.0.1.91")
    (effect,) = done.effects
    assert effect.before == effect.after == ("us-east", "eu-west")
    assert effect.share_moved == pytest.approx(0.45)


def test_the_last_region_of_a_pool_is_guarded(folder: Path) -> None:
    with pytest.raises(Refused) as caught:
        drain(folder, "region/eu-west")
    assert caught.value.guard == "last-region"
    assert "example.test/lonely" in caught.value.reason
    assert listing(folder, limit=10).overrides == ()
    done = drain(folder, "region/eu-west", force=True)
    assert {effect.pool: effect.after for effect in done.effects} == {
        "example.test/web": ("us-east",),
        "example.test/lonely": (),
    }


def test_orders_add_up_for_the_guard(folder: Path) -> None:
    drain(folder, "instance/us-east/127.0.1.91")
    drain(folder, "region/eu-west", force=True)
    with pytest.raises(Refused):
        drain(folder, "instance/us-east/127.0.1.92")


def test_taking_back_what_holds_a_pool_up_is_guarded_too(folder: Path) -> None:
    drain(folder, "region/eu-west", force=True)
    drain(folder, "region/us-east", action="force-up")
    drain(folder, "pool/example.test/web", action="force-up", force=True)
    down = drain(folder, "instance/us-east/127.0.1.91", action="force-down")
    assert [effect.pool for effect in down.effects] == ["example.test/web"]


def test_a_dry_run_changes_nothing(folder: Path) -> None:
    done = drain(folder, "region/us-east", dry_run=True)
    assert done.effects
    assert done.applied is None
    assert order_text(done).startswith("would drain region/us-east")
    assert not (folder / "state").exists()


def test_subjects_may_be_spelt_as_people_do(folder: Path) -> None:
    assert str(drain(folder, "pool/EXAMPLE.test./web", dry_run=True, force=True).subject) == "pool/example.test/web"
    drain(folder, "pool/Example.Test/web", force=True)
    taken = take_back(
        folder, subject="pool/example.test./web", actions=("drain",), owner="bob", force=False, dry_run=False
    )
    assert str(taken.subject) == "pool/example.test/web"


def test_a_subject_has_one_order(folder: Path) -> None:
    drain(folder, "region/us-east")
    done = drain(folder, "region/us-east", action="force-up", owner="bob", reason="false alarm")
    assert done.replaced is not None
    assert (done.replaced.action, done.replaced.owner) == (Action.DRAIN, "ana")
    assert "in place of drain by ana: kernel" in order_text(done)
    assert [order.action for order in listing(folder, limit=10).overrides] == [Action.FORCE_UP]


def test_taking_back(folder: Path) -> None:
    drain(folder, "region/us-east")
    with pytest.raises(AskedError, match="gtm undrain takes it back"):
        take_back(folder, subject="region/us-east", actions=("force-up",), owner="bob", force=False, dry_run=False)
    with pytest.raises(AskedError, match="no order for .*did you mean region/us-east"):
        take_back(folder, subject="region/us-eats", actions=("drain",), owner="bob", force=False, dry_run=False)
    done = take_back(folder, subject="region/us-east", actions=("drain",), owner="bob", force=False, dry_run=False)
    assert [(effect.before, effect.after) for effect in done.effects] == [(("eu-west",), ("us-east", "eu-west"))]
    listed = listing(folder, limit=10)
    assert listed.overrides == ()
    assert [(entry.what, entry.who) for entry in listed.audit] == [("remove", "bob"), ("drain", "ana")]
    assert "no orders in force" in listing_text(listed)


def test_only_orders_last(folder: Path) -> None:
    drain(folder, "region/us-east", for_s=600)
    take_back(folder, subject="region/us-east", actions=("drain",), owner="bob", force=False, dry_run=False)
    removed, drained = listing_text(listing(folder, limit=10)).splitlines()[-2:]
    assert "for 10 min" in drained
    assert "for 10 min" not in removed


def test_every_subject_can_be_named(folder: Path) -> None:
    deployment = load(folder)
    known = subjects(deployment)
    assert list(known) == [
        "region/us-east",
        "region/eu-west",
        "pool/example.test/web",
        "pool/example.test/lonely",
        "instance/us-east/127.0.1.91",
        "instance/us-east/127.0.1.92",
        "instance/eu-west/127.0.2.91",
    ]
    assert all(str(subject_of(text, deployment)) == text for text in known)


@pytest.mark.parametrize(
    ("subject", "meant"),
    [
        ("us-east", "region/us-east"),
        ("region/us-eats", "region/us-east"),
        ("pool/web", "pool/example.test/web"),
        ("regions/eu-west", "region/eu-west"),
        ("instance/us-east/127.0.1.93", "instance/us-east/127.0.1.91"),
    ],
)
def test_misspelt_subjects(folder: Path, subject: str, meant: str) -> None:
    with pytest.raises(AskedError) as caught:
        drain(folder, subject)
    assert meant in caught.value.known


@pytest.mark.parametrize("reason", ["", "  \n ", "x" * 501, "a\x00b", "\x1b[31m"])
def test_reasons_are_texts_for_people(folder: Path, reason: str) -> None:
    with pytest.raises(AskedError) as caught:
        drain(folder, "region/us-east", reason=reason)
    assert caught.value.argument == "--reason"


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "carol")
    there = ["-C", str(folder), "--json"]
    assert main(["force", "down", "region/us-east", "--reason", "fibre cut", "--for", "90m", *there]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["what"], done["subject"], done["owner"]) == ("force-down", "region/us-east", "carol")
    assert main(["drain", "region/eu-west", "--reason", "x", *there]) == 3
    assert json.loads(capsys.readouterr().out)["error"]["guard"] == "last-region"
    assert main(["unforce", "region/us-east", "--by", "dave", *there]) == 0
    capsys.readouterr()
    assert main(["overrides", *there]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [entry["who"] for entry in listed["audit"]] == ["dave", "carol"]


def test_the_owner_is_found_without_an_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setenv("USER", "erin")
    assert owner() == "erin"
    monkeypatch.delenv("USER")
    assert owner()


def test_a_damaged_store_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "state").mkdir()
    (folder / "state" / "store.db").write_bytes(b"not a database" * 100)
    assert main(["overrides", "-C", str(folder)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("gtm: ")
    assert "Traceback" not in said


def test_a_locked_store_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drain(folder, "region/us-east")
    other = sqlite3.connect(folder / "state" / "store.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        code = main(["undrain", "region/us-east", "-C", str(folder)])
    finally:
        other.close()
    assert code == 1
    assert capsys.readouterr().err.startswith("gtm: ")
